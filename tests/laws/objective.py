"""What holds for every objective: check a new one by calling this with it and some trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from backtalk.learn.finetune.objective import Batch, BoundObjective
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens


def some_trees(seed: int = 0) -> list[PromptTree]:
    """Return trees of two to four responses, some compared, with masked tokens and credit.

    Each has one response of value 1, of which it has no comparison, and its other values are 0.
    """
    rng = np.random.default_rng(seed)

    def branch(value: float) -> ResponseTokens:
        length = int(rng.integers(2, 7))
        weights = rng.choice([0.0, 1.0, 1.0, 0.5], length)
        weights[rng.integers(length)] = 1.0
        return ResponseTokens(
            tuple(rng.integers(0, 50, length).tolist()),
            value,
            tuple(weights.tolist()),
            tuple(rng.uniform(-0.5, 0.5, length).tolist()),
        )

    trees = []
    for number in range(4):
        count = 2 + number % 3
        branches = (*(branch(0.0) for _ in range(count)), branch(1.0))
        pairs = [
            PairLabel(a, b, float(rng.uniform(0.5, 2)), {"probability": float(rng.uniform(0, 1))})
            for a in range(count)
            for b in range(a + 1, count)
        ]
        if number == 2:
            pairs.append(PairLabel(count - 1, 0))
        trees.append(PromptTree((1, 2), branches, float(rng.uniform(0.5, 2)), pairs=tuple(pairs)))
    return trees


@dataclass(frozen=True)
class Said:
    """What models say of the response tokens of one tree, shape ``(n,)`` or ``(n, rivals)``."""

    policy: Tensor
    reference: Tensor
    rivals: Tensor


def something_said(trees: Sequence[PromptTree], rivals: int, seed: int = 0) -> list[Said]:
    """Return random log-probabilities of the response tokens of each tree."""
    rng = np.random.default_rng([seed, 1])

    def some(*shape: int) -> Tensor:
        return torch.from_numpy(-rng.exponential(1.0, shape))

    return [
        Said(some(size), some(size), some(size, max(rivals, 1)))
        for tree in trees
        for size in [sum(len(branch.tokens) for branch in tree.branches)]
    ]


def batch_of(objective: BoundObjective, trees: Sequence[PromptTree], said: Sequence[Said]) -> Batch:
    """Return the batch that the trainer would make for the objective."""
    registered = objective.objective
    anchored = any(tree.kl_anchors for tree in trees)
    return Batch.of(
        trees,
        torch.cat([one.policy for one in said]),
        torch.cat([one.reference for one in said]) if registered.reference else None,
        top_k=torch.cat([one.rivals for one in said]) if registered.top_k else None,
        anchor_log_ratio=torch.tensor(0.3, dtype=torch.float64) if anchored else None,
    )


def counted(objective: BoundObjective, batch: Batch) -> Tensor:
    """Return the losses times the weights of their units, as the trainer sums them."""
    losses = objective(batch).losses
    weights = objective.unit_weights(batch)
    assert losses.shape == weights.shape, "one loss a unit"
    return losses * weights


def check_objective(
    objective: BoundObjective, trees: Sequence[PromptTree] | None = None, seed: int = 0
) -> None:
    """Check finiteness, masks, order, and that batches apart give what they give together.

    Parameters
    ----------
    objective
        With its options.
    trees
        At least two, with what the objective needs of feedback. :func:`some_trees` by default.
    seed
        Decides what the models say.
    """
    trees = some_trees(seed) if trees is None else trees
    said = something_said(trees, objective.objective.top_k, seed)
    _check_finite(objective, trees, said)
    _check_masks(objective, trees, said)
    _check_order(objective, trees, said)
    _check_additive(objective, trees, said)


def _check_finite(
    objective: BoundObjective, trees: Sequence[PromptTree], said: Sequence[Said]
) -> None:
    for scale in (1e-6, 1.0, 100.0):
        grown = [
            Said(one.policy * scale, one.reference * scale, one.rivals * scale) for one in said
        ]
        batch = batch_of(objective, trees, grown)
        policy = batch.policy.requires_grad_()
        term = objective(batch)
        assert term.losses.isfinite().all(), scale
        for name, values in {**term.metrics, **term.ema}.items():
            assert values.isfinite().all(), name
        counted(objective, batch).sum().backward()
        assert policy.grad is not None, "the policy has a gradient"
        assert policy.grad.isfinite().all(), scale


def _check_masks(
    objective: BoundObjective, trees: Sequence[PromptTree], said: Sequence[Said]
) -> None:
    batch = batch_of(objective, trees, said)
    masked = batch.weight == 0
    learned = [batch.policy.requires_grad_()]
    if batch.top_k is not None:
        learned.append(batch.top_k.requires_grad_())
    losses = counted(objective, batch)
    losses.sum().backward()
    for values in learned:
        assert values.grad is not None
        assert (values.grad[masked] == 0).all(), "a masked token has no gradient"

    def elsewhere(values: Tensor) -> Tensor:
        other = values.detach().clone()
        other[masked] = other[masked] * 3 - 7
        return other

    other = replace(
        batch,
        policy=elsewhere(batch.policy),
        credit=elsewhere(batch.token_rewards),
        reference=None if batch.reference is None else elsewhere(batch.reference),
        rivals=None if batch.top_k is None else elsewhere(batch.top_k),
    )
    torch.testing.assert_close(counted(objective, other), losses.detach(), rtol=1e-12, atol=1e-12)


def _units(objective: BoundObjective, tree: PromptTree) -> int:
    match objective.objective.reduction:
        case "tree":
            return 1
        case "pair":
            return len(tree.pairs)
        case "branch":
            return len(tree.branches)
        case "token":
            return sum(len(branch.tokens) for branch in tree.branches)


def _by_tree(
    objective: BoundObjective, trees: Sequence[PromptTree], said: Sequence[Said]
) -> tuple[Tensor, ...]:
    losses = counted(objective, batch_of(objective, trees, said))
    return losses.split([_units(objective, tree) for tree in trees])


def _check_order(
    objective: BoundObjective, trees: Sequence[PromptTree], said: Sequence[Said]
) -> None:
    forwards = _by_tree(objective, trees, said)
    backwards = _by_tree(objective, trees[::-1], said[::-1])
    for here, there in zip(forwards, backwards[::-1], strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)


def _check_additive(
    objective: BoundObjective, trees: Sequence[PromptTree], said: Sequence[Said]
) -> None:
    together = _by_tree(objective, trees, said)
    apart = [
        part
        for place in range(len(trees))
        for part in _by_tree(objective, trees[place : place + 1], said[place : place + 1])
    ]
    for here, there in zip(together, apart, strict=True):
        torch.testing.assert_close(here, there, rtol=1e-10, atol=1e-10)
    normal = objective.units(trees)
    weights = objective.unit_weights(batch_of(objective, trees, said)).sum().item()
    np.testing.assert_allclose(weights, normal, rtol=1e-9)
