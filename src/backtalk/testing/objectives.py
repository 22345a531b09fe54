"""Properties of objectives, checked on random trees."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypedDict

import numpy as np
import torch
from torch import Tensor

from backtalk.learn.finetune.objective import TOKEN_REWARD, Batch, BoundObjective
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens


class Columns(TypedDict):
    """Values of all columns that a response has a field for."""

    label: bool
    score: float
    win_rate: float
    is_sample: bool
    is_demonstration: bool


def columns(value: float) -> Columns:
    """Return all columns of a response: the value itself, or true if it is above 0 or 1/2."""
    return {
        "label": value > 0.5,
        "score": value,
        "win_rate": value,
        "is_sample": value > 0,
        "is_demonstration": value > 0,
    }


def random_trees(seed: int = 0) -> list[PromptTree]:
    """Return trees of three to five responses with all columns, pairs and masked tokens.

    One response of each tree has columns of value 1 and no pair; the others have the value 0.
    """
    rng = np.random.default_rng(seed)

    def response(value: float) -> ResponseTokens:
        length = int(rng.integers(2, 7))
        weights = rng.choice([0.0, 1.0, 1.0, 0.5], length)
        weights[rng.integers(length)] = 1.0
        return ResponseTokens(
            tuple(rng.integers(0, 50, length).tolist()),
            tuple(weights.tolist()),
            tuple(rng.uniform(-0.5, 0.5, length).tolist()),
            **columns(value),
        )

    trees = []
    for number in range(4):
        count = 2 + number % 3
        responses = (*(response(0.0) for _ in range(count)), response(1.0))
        pairs = [
            PairLabel(a, b, float(rng.uniform(0.5, 2)), {"probability": float(rng.uniform(0, 1))})
            for a in range(count)
            for b in range(a + 1, count)
        ]
        if number == 2:
            pairs.append(PairLabel(count - 1, 0))
        trees.append(PromptTree((1, 2), responses, float(rng.uniform(0.5, 2)), pairs=tuple(pairs)))
    return trees


@dataclass(frozen=True)
class TreeLogProbs:
    """Log-probabilities of the n response tokens of one tree."""

    policy: Tensor
    """Shape ``(n,)``."""
    reference: Tensor
    """Shape ``(n,)``."""
    top_k: Tensor
    """Shape ``(n, k)``."""


def random_logprobs(trees: Sequence[PromptTree], top_k: int, seed: int = 0) -> list[TreeLogProbs]:
    """Return random log-probabilities of the response tokens of each tree.

    Parameters
    ----------
    trees : sequence of PromptTree
        Trees.
    top_k : int
        Number of most probable other tokens; at least one is returned.
    seed : int, default 0
        Seed.
    """
    rng = np.random.default_rng([seed, 1])

    def logprobs(*shape: int) -> Tensor:
        return torch.from_numpy(-rng.exponential(1.0, shape))

    return [
        TreeLogProbs(logprobs(size), logprobs(size), logprobs(size, max(top_k, 1)))
        for tree in trees
        for size in [sum(len(response.tokens) for response in tree.responses)]
    ]


def make_batch(
    objective: BoundObjective, trees: Sequence[PromptTree], logprobs: Sequence[TreeLogProbs]
) -> Batch:
    """Return the batch that the trainer would make for the objective.

    Parameters
    ----------
    objective : BoundObjective
        Objective.
    trees : sequence of PromptTree
        Trees.
    logprobs : sequence of TreeLogProbs
        Log-probabilities of each tree.
    """
    registered = objective.objective
    anchored = any(tree.kl_anchors for tree in trees)
    return Batch.from_trees(
        trees,
        torch.cat([tree.policy for tree in logprobs]),
        torch.cat([tree.reference for tree in logprobs]) if registered.reference else None,
        top_k=torch.cat([tree.top_k for tree in logprobs]) if registered.top_k else None,
        anchor_log_ratio=torch.tensor(0.3, dtype=torch.float64) if anchored else None,
    )


def weighted_losses(objective: BoundObjective, batch: Batch) -> Tensor:
    """Return the losses times the weights of their units, as the trainer sums them."""
    losses = objective(batch).losses
    weights = objective.unit_weights(batch)
    assert losses.shape == weights.shape, "one loss for each unit"
    return losses * weights


def check_objective(
    objective: BoundObjective, trees: Sequence[PromptTree] | None = None, seed: int = 0
) -> None:
    """Check that losses are finite, ignore masked tokens, and do not depend on other trees.

    Parameters
    ----------
    objective : BoundObjective
        Objective with values of its options.
    trees : sequence of PromptTree, optional
        At least two trees with the columns that the objective needs; :func:`random_trees` by
        default.
    seed : int, default 0
        Seed of the log-probabilities.
    """
    trees = random_trees(seed) if trees is None else trees
    objective.check_columns(trees)
    logprobs = random_logprobs(trees, objective.objective.top_k, seed)
    _check_finite(objective, trees, logprobs)
    _check_masks(objective, trees, logprobs)
    _check_order(objective, trees, logprobs)
    _check_additive(objective, trees, logprobs)


def _check_finite(
    objective: BoundObjective, trees: Sequence[PromptTree], logprobs: Sequence[TreeLogProbs]
) -> None:
    for scale in (1e-6, 1.0, 100.0):
        scaled = [
            TreeLogProbs(tree.policy * scale, tree.reference * scale, tree.top_k * scale)
            for tree in logprobs
        ]
        batch = make_batch(objective, trees, scaled)
        policy = batch.policy.requires_grad_()
        output = objective(batch)
        assert output.losses.isfinite().all(), scale
        for name, values in {**output.metrics, **output.ema}.items():
            assert values.isfinite().all(), name
        torch.autograd.backward(weighted_losses(objective, batch).sum())
        assert policy.grad is not None, "the policy has a gradient"
        assert policy.grad.isfinite().all(), scale


def _check_masks(
    objective: BoundObjective, trees: Sequence[PromptTree], logprobs: Sequence[TreeLogProbs]
) -> None:
    batch = make_batch(objective, trees, logprobs)
    masked = batch.token_weight == 0
    inputs = [batch.policy.requires_grad_()]
    if batch.top_k is not None:
        inputs.append(batch.top_k.requires_grad_())
    losses = weighted_losses(objective, batch)
    torch.autograd.backward(losses.sum())
    for values in inputs:
        assert values.grad is not None
        assert (values.grad[masked] == 0).all(), "a masked token has no gradient"

    def changed(values: Tensor) -> Tensor:
        """Return values that differ at masked tokens."""
        copy = values.detach().clone()
        copy[masked] = copy[masked] * 3 - 7
        return copy

    rewards = batch.columns.get(TOKEN_REWARD)
    other = replace(
        batch,
        policy=changed(batch.policy),
        columns=batch.columns
        if rewards is None
        else {**batch.columns, TOKEN_REWARD: changed(rewards)},
        reference=None if batch.reference is None else changed(batch.reference),
        top_k=None if batch.top_k is None else changed(batch.top_k),
    )
    torch.testing.assert_close(
        weighted_losses(objective, other), losses.detach(), rtol=1e-12, atol=1e-12
    )


def _units(objective: BoundObjective, tree: PromptTree) -> int:
    match objective.objective.reduction:
        case "tree":
            return 1
        case "pair":
            return len(tree.pairs)
        case "response":
            return len(tree.responses)
        case "token":
            return sum(len(response.tokens) for response in tree.responses)


def _losses_by_tree(
    objective: BoundObjective, trees: Sequence[PromptTree], logprobs: Sequence[TreeLogProbs]
) -> tuple[Tensor, ...]:
    losses = weighted_losses(objective, make_batch(objective, trees, logprobs))
    return torch.split(losses, [_units(objective, tree) for tree in trees])


def _check_order(
    objective: BoundObjective, trees: Sequence[PromptTree], logprobs: Sequence[TreeLogProbs]
) -> None:
    forwards = _losses_by_tree(objective, trees, logprobs)
    backwards = _losses_by_tree(objective, trees[::-1], logprobs[::-1])
    for first, second in zip(forwards, backwards[::-1], strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)


def _check_additive(
    objective: BoundObjective, trees: Sequence[PromptTree], logprobs: Sequence[TreeLogProbs]
) -> None:
    together = _losses_by_tree(objective, trees, logprobs)
    apart = [
        losses
        for i in range(len(trees))
        for losses in _losses_by_tree(objective, trees[i : i + 1], logprobs[i : i + 1])
    ]
    for first, second in zip(together, apart, strict=True):
        torch.testing.assert_close(first, second, rtol=1e-10, atol=1e-10)
    total = objective.total_weight(trees)
    weights = objective.unit_weights(make_batch(objective, trees, logprobs)).sum().item()
    np.testing.assert_allclose(weights, total, rtol=1e-9)


class ObjectiveLaws:
    """Tests of an objective: subclass it in a test module and implement :meth:`objective`."""

    def objective(self) -> BoundObjective:
        """Return the objective, bound to its options."""
        raise NotImplementedError

    def trees(self) -> Sequence[PromptTree]:
        """Return trees with the columns that the objective needs."""
        return random_trees()

    def test_laws_of_objectives(self) -> None:
        """Check the objective."""
        check_objective(self.objective(), self.trees())
