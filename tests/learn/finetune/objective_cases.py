"""Trees of all shapes, tabular policies and TRL's losses for tests of objectives."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backtalk.learn.finetune.objective import Batch, BoundObjective
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens
from backtalk.testing.objectives import columns

Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Case:
    """Trees with log-probabilities of their tokens in double precision."""

    trees: tuple[PromptTree, ...]
    policy: Tensor
    reference: Tensor
    rivals: Tensor
    pooled: Tensor | None = None
    memory: dict[str, float] | None = None

    def batch(self, policy: Tensor | None = None) -> Batch:
        return Batch.from_trees(
            self.trees,
            self.policy if policy is None else policy,
            self.reference,
            top_k=self.rivals,
            anchor_log_ratio=self.pooled,
            ema=self.memory,
        )

    def at_start(self) -> Case:
        """Return the case where the policy is the reference."""
        zero = None if self.pooled is None else torch.zeros_like(self.pooled)
        return replace(self, policy=self.reference.clone(), pooled=zero)

    def responses(self) -> list[list[tuple[float, Numbers, Numbers, Numbers]]]:
        """Return value, weights, policy and reference of each response, in a list a tree."""
        result, at = [], 0
        for tree in self.trees:
            row = []
            for branch in tree.responses:
                place = slice(at, at + len(branch.tokens))
                weights = np.array(branch.weights or [1.0] * len(branch.tokens))
                row.append(
                    (
                        branch.score,
                        weights,
                        self.policy[place].numpy(),
                        self.reference[place].numpy(),
                    )
                )
                at = place.stop
            result.append(row)
        return result

    def log_ratios(self) -> list[Numbers]:
        """Return the log-ratio of each response, in an array a tree."""
        return [np.array([w @ (p - q) for _, w, p, q in row]) for row in self.responses()]

    def values(self) -> list[Numbers]:
        """Return the value of each response, in an array a tree."""
        return [np.array([value for value, *_ in row]) for row in self.responses()]


def ragged(seed: int, draw: Callable[[np.random.Generator, int], Sequence[float]]) -> Case:
    """Return trees of 1 to 6 responses of 1 to 5 tokens, some masked, with drawn values."""
    rng = np.random.default_rng(seed)
    trees = []
    for count in (2, 1, 4, 6, 3):
        branches = []
        for value in draw(rng, count):
            length = int(rng.integers(1, 6))
            weights = rng.choice([0.0, 0.5, 1.0], size=length)
            weights[-1] = 1.0
            branches.append(
                ResponseTokens((1,) * length, tuple(weights.tolist()), **columns(float(value)))
            )
        trees.append(PromptTree((7,), tuple(branches), weight=float(rng.uniform(0.5, 2))))
    tokens = sum(len(branch.tokens) for tree in trees for branch in tree.responses)

    def logs(*shape: int) -> Tensor:
        return torch.from_numpy(-rng.gamma(1.0, 1.0, size=shape) - 0.05)

    return Case(tuple(trees), logs(tokens), logs(tokens), logs(tokens, 1))


def judged(rng: np.random.Generator, count: int) -> Sequence[float]:
    """Draw values 0 and 1, both where there is room for both."""
    return [float(value) for value in rng.permutation(np.arange(count) % 2)]


def scored(rng: np.random.Generator, count: int) -> Sequence[float]:
    """Draw scores from 0 to 1."""
    return rng.uniform(size=count).tolist()


def coarse(rng: np.random.Generator, count: int) -> Sequence[float]:
    """Draw scores of which many are equal."""
    return (rng.integers(0, 3, size=count) / 2).tolist()


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def mean_loss(bound: BoundObjective, batch: Batch) -> Tensor:
    """Return the mean loss as a training step has it."""
    weights = bound.unit_weights(batch)
    return (bound(batch).losses * weights).sum() / weights.sum()


def gradient(bound: BoundObjective, case: Case) -> Tensor:
    policy = case.policy.clone().requires_grad_()
    (result,) = torch.autograd.grad(mean_loss(bound, case.batch(policy)), policy)
    return result


def check_gradient(bound: BoundObjective, case: Case) -> None:
    """The gradient is that of central finite differences."""
    step = 1e-6
    slopes = []
    for token in range(len(case.policy)):
        sides = []
        for side in (step, -step):
            policy = case.policy.clone()
            policy[token] += side
            sides.append(float(mean_loss(bound, case.batch(policy))))
        slopes.append((sides[0] - sides[1]) / (2 * step))
    np.testing.assert_allclose(gradient(bound, case).numpy(), slopes, atol=1e-8, rtol=1e-6)


def check_alone(bound: BoundObjective, case: Case) -> None:
    """The losses of a tree are the same whatever other trees stand beside it."""
    together = bound(case.batch()).losses
    apart, at = [], 0
    for tree in case.trees:
        end = at + sum(len(branch.tokens) for branch in tree.responses)
        alone = replace(
            case,
            trees=(tree,),
            policy=case.policy[at:end],
            reference=case.reference[at:end],
            rivals=case.rivals[at:end],
        )
        apart.append(bound(alone.batch()).losses)
        at = end
    torch.testing.assert_close(torch.cat(apart), together)


def arms(*values: float, weight: float = 1.0, tokens: Sequence[int] | None = None) -> PromptTree:
    """Return a tree whose responses are single tokens: the arms of a bandit."""
    places = range(len(values)) if tokens is None else tokens
    branches = [
        ResponseTokens((token,), **columns(value))
        for token, value in zip(places, values, strict=True)
    ]
    return PromptTree((0,), tuple(branches), weight=weight)


def bandit(
    bound: BoundObjective, trees: Sequence[PromptTree], reference: Tensor, *, pooled: bool = False
) -> Callable[[Tensor], Tensor]:
    """Return the mean loss as a function of the logits of the arms."""
    tokens = torch.tensor([t for tree in trees for branch in tree.responses for t in branch.tokens])

    def loss(logits: Tensor) -> Tensor:
        policy = torch.log_softmax(logits, dim=0)
        divergence = (policy.exp() * (policy - reference)).sum().detach() if pooled else None
        rivals = policy.flip(0)[tokens][:, None] if len(logits) == 2 else None
        batch = Batch.from_trees(
            trees, policy[tokens], reference[tokens], top_k=rivals, anchor_log_ratio=divergence
        )
        return mean_loss(bound, batch)

    return loss


def minimum(loss: Callable[[Tensor], Tensor], start: Tensor) -> Numbers:
    """Return the arms' probabilities where the loss is least."""
    logits = start.clone().requires_grad_()
    optimiser = torch.optim.LBFGS(
        [logits],
        max_iter=2000,
        tolerance_grad=1e-12,
        tolerance_change=1e-16,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimiser.zero_grad()
        value = loss(logits)
        value.backward()
        return value

    optimiser.step(closure)
    return torch.softmax(logits.detach(), dim=0).numpy()


def good_arm_gains(loss: Callable[[Tensor], Tensor]) -> bool:
    """Return whether a step down the gradient makes the first of two arms more probable."""
    logits = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(logits), logits)
    return bool(slope[0] < -1e-6 and slope[1] > 1e-6)


class _Alone:
    """Stub of an accelerator with one process."""

    device = torch.device("cpu")

    def gather_for_metrics(self, value: Tensor) -> Tensor:
        return value

    gather = gather_for_metrics


def trl_inputs(case: Case) -> tuple[Tensor, Tensor, list[float]]:
    """Return log-probabilities and masks in TRL's padded rows, and the reference's sums."""
    rows = [row for tree in case.responses() for row in tree]
    width = max(len(w) for _, w, _, _ in rows) + 1
    logs = torch.zeros(len(rows), width - 1, dtype=torch.float64)
    mask = torch.zeros(len(rows), width, dtype=torch.long)
    for i, (_, w, p, _) in enumerate(rows):
        logs[i, : len(w)] = torch.from_numpy(w * p)
        mask[i, 1 : len(w) + 1] = 1
    return logs, mask, [float(w @ q) for _, w, _, q in rows]


def trl_loss(trainer: Any, logs: Tensor, inputs: dict[str, Tensor], **settings: Any) -> float:
    """Return the loss that a TRL trainer computes from log-probabilities."""
    outputs = SimpleNamespace(
        log_probs=logs,
        entropy=torch.zeros_like(logs),
        mean_logits=torch.zeros_like(logs),
        is_top1=torch.zeros_like(logs, dtype=torch.bool),
    )
    trainer_stub = SimpleNamespace(
        model=SimpleNamespace(training=False),
        accelerator=_Alone(),
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        use_weighting=False,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        loss_weights=[1.0],
        _metrics=defaultdict(lambda: defaultdict(list)),
        _total_train_tokens=0,
        **settings,
    )
    return float(trainer._compute_loss(trainer_stub, lambda **_: outputs, inputs, False))
