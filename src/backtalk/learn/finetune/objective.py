"""What an objective is: a pure function of log-probabilities, masks and what the feedback says."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from backtalk.errors import BacktalkError, UnknownName
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.method import Paper
from backtalk.learn.options import read_options

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["tree", "pair", "branch", "token"]
"""What a loss is a mean over: trees, compared pairs, responses, or response tokens."""


@dataclass(frozen=True)
class Batch:
    """Trees with what the policy and the reference say of their responses.

    T trees have B responses of N tokens together, and P pairs of the responses are compared; the
    responses of a tree stand one behind the other, and so do the tokens of a response.
    """

    policy: Tensor
    """The policy's log-probability of each token, in nats, shape ``(N,)``."""
    reference: Tensor | None
    """The reference's, where the objective wants one."""
    weight: Tensor
    """How much each token is learned from, shape ``(N,)``: 0 where it is masked."""
    token_rewards: Tensor
    """What is known of each token beside, such as a reward, shape ``(N,)``."""
    branch: Tensor
    """The response that each token belongs to, shape ``(N,)``."""
    tree: Tensor
    """The tree that each response belongs to, shape ``(B,)``."""
    value: Tensor
    """What the feedback says of each response, shape ``(B,)``."""
    tree_weight: Tensor
    """How much each tree counts, shape ``(T,)``."""
    chosen: Tensor
    """The better response of each pair, among the B, shape ``(P,)``."""
    rejected: Tensor
    """The worse one, shape ``(P,)``."""
    pair_weight: Tensor
    """How much each pair counts, its tree's weight included, shape ``(P,)``."""
    tree_features: Mapping[str, Tensor] = field(default_factory=dict)
    """What the feedback says of each tree, shape ``(T,)`` each; see :meth:`fact`."""
    pair_features: Mapping[str, Tensor] = field(default_factory=dict)
    """What it says of each pair, shape ``(P,)`` each; see :meth:`pair_fact`."""
    top_k: Tensor | None = None
    """The policy's log-probabilities of the most probable other tokens, shape ``(N, rivals)``."""
    anchor_log_ratio: Tensor | None = None
    """The mean over the whole step of the log-ratio of anchors, policy to reference; no gradient
    flows through it. ``None`` where the trees have no anchors."""
    ema: Mapping[str, float] = field(default_factory=dict)
    """Running means of what was in :attr:`LossOutput.ema` in earlier steps."""
    progress: float = 0.0
    """The share of the training that is over."""

    @classmethod
    def of(
        cls,
        trees: Sequence[PromptTree],
        policy: Tensor,
        reference: Tensor | None = None,
        *,
        top_k: Tensor | None = None,
        anchor_log_ratio: Tensor | None = None,
        ema: Mapping[str, float] | None = None,
        progress: float = 0.0,
    ) -> Batch:
        """Return the batch of these trees, with the log-probabilities of their tokens in order."""
        device = policy.device
        branches = [branch for tree in trees for branch in tree.branches]
        lengths = torch.tensor([len(branch.tokens) for branch in branches], device=device)
        weights = [w for one in branches for w in one.weights or (1.0,) * len(one.tokens)]
        credit = [c for one in branches for c in one.credit or (0.0,) * len(one.tokens)]
        counts = torch.tensor([len(tree.branches) for tree in trees], device=device)

        def numbers(values: Iterable[float]) -> Tensor:
            return torch.tensor(list(values), dtype=policy.dtype, device=device)

        compared = [
            (first, tree.weight, pair)
            for first, tree in zip((counts.cumsum(0) - counts).tolist(), trees, strict=True)
            for pair in tree.pairs
        ]

        def places(values: Iterable[int]) -> Tensor:
            return torch.tensor(list(values), dtype=torch.long, device=device)

        def columns(items: Sequence[Mapping[str, float]]) -> dict[str, Tensor]:
            names = {name for item in items for name in item}
            return {name: numbers(item.get(name, math.nan) for item in items) for name in names}

        return cls(
            policy=policy,
            reference=reference,
            weight=numbers(weights),
            token_rewards=numbers(credit),
            branch=torch.repeat_interleave(torch.arange(len(branches), device=device), lengths),
            tree=torch.repeat_interleave(torch.arange(len(trees), device=device), counts),
            value=numbers(branch.value for branch in branches),
            tree_weight=numbers(tree.weight for tree in trees),
            chosen=places(first + pair.chosen for first, _, pair in compared),
            rejected=places(first + pair.rejected for first, _, pair in compared),
            pair_weight=numbers(weight * pair.weight for _, weight, pair in compared),
            tree_features=columns([tree.facts for tree in trees]),
            pair_features=columns([pair.facts for _, _, pair in compared]),
            top_k=top_k,
            anchor_log_ratio=anchor_log_ratio,
            ema=ema or {},
            progress=progress,
        )

    def sum(self, tokens: Tensor) -> Tensor:
        """Return the weighted sum over the tokens of each response, shape ``(B,)``."""
        return tokens.new_zeros(len(self.tree)).index_add(0, self.branch, tokens * self.weight)

    def mean(self, tokens: Tensor) -> Tensor:
        """Return the weighted mean over the tokens of each response, shape ``(B,)``."""
        return self.sum(tokens) / self.length.clamp(min=1e-9)

    @cached_property
    def length(self) -> Tensor:
        """The weight of the tokens of each response, their number where all count 1, ``(B,)``."""
        return self.sum(torch.ones_like(self.weight))

    @cached_property
    def log_ratio(self) -> Tensor:
        """``log pi(y|x) - log pi_ref(y|x)`` of each response, in nats, shape ``(B,)``."""
        return self.sum(self.policy - self.reference_or_error)

    @property
    def reference_or_error(self) -> Tensor:
        """The reference's log-probabilities; raise ``BacktalkError`` where there are none."""
        if self.reference is None:
            raise BacktalkError(
                "The objective needs a reference's log-probabilities",
                "Register it with reference=True",
            )
        return self.reference

    def fact(self, name: str, default: float) -> Tensor:
        """Return what the feedback says of each tree, or what is usual, shape ``(T,)``."""
        if name not in self.tree_features:
            return torch.full_like(self.tree_weight, default)
        return self.tree_features[name].nan_to_num(nan=default)

    def pair_fact(self, name: str, default: float) -> Tensor:
        """Return what the feedback says of each pair, or what is usual, shape ``(P,)``."""
        if name not in self.pair_features:
            return torch.full_like(self.pair_weight, default)
        return self.pair_features[name].nan_to_num(nan=default)

    def pairs(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return the responses' values of the chosen and of the rejected, shape ``(P,)`` each."""
        return values[self.chosen], values[self.rejected]

    def lists(self, values: Tensor, fill: float) -> Tensor:
        """Return the responses' values in a row a tree, filled up at the end, ``(T, K)``."""
        counts = torch.bincount(self.tree, minlength=len(self.tree_weight))
        first = counts.cumsum(0) - counts
        place = torch.arange(len(self.tree), device=values.device) - first[self.tree]
        rows = values.new_full((len(counts), int(counts.max())), fill)
        return rows.index_put((self.tree, place), values)

    @cached_property
    def present(self) -> Tensor:
        """Where :meth:`lists` has values and no filling, booleans of shape ``(T, K)``."""
        return self.lists(torch.ones_like(self.value), 0.0) > 0


@dataclass(frozen=True)
class LossOutput:
    """What an objective finds."""

    losses: Tensor
    """One a unit: shape ``(T,)``, ``(P,)``, ``(B,)`` or ``(N,)``. The trainer weights them."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """What else to report: values of any shape, of which the mean is shown."""
    ema: Mapping[str, Tensor] = field(default_factory=dict)
    """Values whose running mean the next steps find in :attr:`Batch.ema`."""


@dataclass(frozen=True)
class Objective:
    """A loss by name, and what it needs."""

    name: str
    paper: Paper
    function: Callable[..., LossOutput]
    reduction: Reduction
    reference: bool
    top_k: int
    initial_loss: Callable[..., float | None] | None
    """The loss where the policy is the reference, from the options; ``None`` where that depends
    on the model."""
    options: Mapping[str, Any]

    @property
    def summary(self) -> str:
        """What it is, in one sentence."""
        return (inspect.getdoc(self.function) or "").split("\n", maxsplit=1)[0]

    def bind(self, **options: Any) -> BoundObjective:
        """Return the objective with options that are checked, defaults filled in."""
        hints = get_type_hints(self.function, include_extras=True)
        return BoundObjective(self, read_options(self.name, self.options, hints, options))


@dataclass(frozen=True)
class BoundObjective:
    """An objective with its options."""

    objective: Objective
    options: Mapping[str, Any]

    def __call__(self, batch: Batch) -> LossOutput:
        """Return the losses and metrics of a batch."""
        return self.objective.function(batch, **self.options)

    @property
    def initial_loss(self) -> float | None:
        """The loss where the policy is the reference, where that is known."""
        known = self.objective.initial_loss
        return None if known is None else known(**self.options)

    def units(self, trees: Sequence[PromptTree]) -> float:
        """Return the weight of the units of these trees: what the sum of losses is divided by."""
        match self.objective.reduction:
            case "tree":
                return sum(tree.weight for tree in trees)
            case "pair":
                return sum(tree.weight * pair.weight for tree in trees for pair in tree.pairs)
            case "branch":
                return sum(tree.weight * len(tree.branches) for tree in trees)
            case "token":
                return sum(tree.weight * tree.learned for tree in trees)

    def unit_weights(self, batch: Batch) -> Tensor:
        """Return the weight of each of the units of a batch."""
        match self.objective.reduction:
            case "tree":
                return batch.tree_weight
            case "pair":
                return batch.pair_weight
            case "branch":
                return batch.tree_weight[batch.tree]
            case "token":
                return batch.weight * batch.tree_weight[batch.tree[batch.branch]]


@dataclass(frozen=True)
class TrainingTask:
    """Trees, and the objective that they are learned by."""

    name: str
    """What to call it in reports: a kind of feedback."""
    objective: BoundObjective
    trees: Sequence[PromptTree]
    weight: float = 1.0
    """How much each of its trees counts against one of another part."""


BuildTasks = Callable[[Encoder], Sequence[TrainingTask]]
"""Makes what is learned from, of feedback that it knows."""

OBJECTIVES: dict[str, Objective] = {}
"""Every objective by name."""


def objective(
    name: str,
    *,
    paper: Paper,
    reduction: Reduction = "tree",
    reference: bool = False,
    top_k: int = 0,
    initial_loss: Callable[..., float | None] | None = None,
) -> Callable[[Callable[..., LossOutput]], Callable[..., LossOutput]]:
    """Register a function ``(batch, *, options) -> term`` as an objective.

    Parameters
    ----------
    name : str
        What to call it.
    paper : Paper
        Where it comes from.
    unit
        What its losses are a mean over.
    reference : bool, default False
        Whether it needs a reference's log-probabilities.
    rivals
        Of how many of the most probable other tokens it needs the log-probabilities.
    start
        From its options, the loss where the policy is the reference. Checked before training.
    """

    def register(function: Callable[..., LossOutput]) -> Callable[..., LossOutput]:
        options = {
            option.name: option.default
            for option in inspect.signature(function).parameters.values()
            if option.kind is option.KEYWORD_ONLY
        }
        OBJECTIVES[name] = Objective(
            name, paper, function, reduction, reference, top_k, initial_loss, options
        )
        return function

    return register


def find_objective(name: str) -> Objective:
    """Return an objective by name, or raise ``UnknownName``."""
    if name not in OBJECTIVES:
        raise UnknownName.among("objective", name, list(OBJECTIVES))
    return OBJECTIVES[name]
