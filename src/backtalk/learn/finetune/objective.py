"""Objectives: loss functions of token log-probabilities and of columns of the feedback.

An objective is a pure function of a :class:`Batch`. It declares the columns that it reads::

    @objective("kto", paper=KTO, reduction="response", reference=True, needs=("label",))
    def kto(batch: Batch, *, beta: Positive = 0.1) -> LossOutput: ...

Columns of responses have plain names (``label``, ``score``); those of pairs, trees and tokens are
``pair.NAME``, ``tree.NAME`` and ``token.reward``.
"""

from __future__ import annotations

import inspect
import math
import re
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from backtalk.errors import BacktalkError, UnknownName
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.lazy_modules import torch
from backtalk.learn.method import Paper
from backtalk.learn.options import (
    OptionDescription,
    describe_options,
    keyword_options,
    parameter_descriptions,
    read_options,
)
from backtalk.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

Reduction = Literal["tree", "pair", "response", "token"]
"""Unit that a loss is averaged over: trees, pairs, responses or response tokens."""

TOKEN_REWARD = "token.reward"  # noqa: S105 - the name of a column
"""Column of token rewards, the only one of tokens."""


class MissingColumn(BacktalkError):
    """A column that an objective reads and that the feedback does not have."""


@dataclass(frozen=True)
class Batch:
    """Trees with the log-probabilities of their response tokens.

    T trees have B responses with N tokens in total; P pairs of the responses are compared. The
    responses of a tree are contiguous, and so are the tokens of a response.
    """

    policy: Tensor
    """Log-probability of each token under the policy, in nats, shape ``(N,)``."""
    reference: Tensor | None
    """Log-probability of each token under the reference, in nats, shape ``(N,)``; ``None`` if the
    objective has no reference."""
    token_weight: Tensor
    """Loss weight of each token, 0 where it is masked, shape ``(N,)``."""
    response_index: Tensor
    """Index of the response of each token, shape ``(N,)``."""
    tree_index: Tensor
    """Index of the tree of each response, shape ``(B,)``."""
    tree_weight: Tensor
    """Loss weight of each tree, shape ``(T,)``."""
    chosen: Tensor
    """Index of the better response of each pair, shape ``(P,)``."""
    rejected: Tensor
    """Index of the worse response of each pair, shape ``(P,)``."""
    pair_weight: Tensor
    """Loss weight of each pair, multiplied by that of its tree, shape ``(P,)``."""
    columns: Mapping[str, Tensor] = field(default_factory=dict)
    """Columns by name; NaN where a value is missing. See :meth:`column`."""
    top_k: Tensor | None = None
    """Log-probabilities of the k most probable tokens other than the target, in descending order,
    shape ``(N, k)``."""
    anchor_log_ratio: Tensor | None = None
    """Mean log-ratio of policy to reference over the KL anchors of the whole step, shape ``()``,
    without a gradient; ``None`` if the trees have no anchors."""
    ema: Mapping[str, float] = field(default_factory=dict)
    """Exponential moving averages of the values in :attr:`LossOutput.ema` over earlier steps."""
    progress: float = 0.0
    """Fraction of the training that is done, in [0, 1)."""

    @classmethod
    def from_trees(
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
        """Return the batch of trees, with all of their columns.

        Parameters
        ----------
        trees : sequence of PromptTree
            T trees with N response tokens.
        policy : Tensor
            Log-probabilities of the policy, tree by tree and response by response, shape ``(N,)``.
        reference : Tensor, optional
            Log-probabilities of the reference, shape ``(N,)``.
        top_k : Tensor, optional
            Log-probabilities of the most probable other tokens, shape ``(N, k)``.
        anchor_log_ratio : Tensor, optional
            Mean log-ratio of the KL anchors, shape ``()``.
        ema : Mapping[str, float], optional
            Moving averages of earlier steps.
        progress : float, default 0.0
            Fraction of the training that is done.
        """
        device = policy.device
        responses = [response for tree in trees for response in tree.responses]
        lengths = torch.tensor([len(response.tokens) for response in responses], device=device)
        counts = torch.tensor([len(tree.responses) for tree in trees], device=device)
        first_responses = (counts.cumsum(0) - counts).tolist()

        def floats(values: Iterable[float]) -> Tensor:
            return torch.tensor(list(values), dtype=policy.dtype, device=device)

        def indices(values: Iterable[int]) -> Tensor:
            return torch.tensor(list(values), dtype=torch.long, device=device)

        pairs = [
            (first, tree.weight, pair)
            for first, tree in zip(first_responses, trees, strict=True)
            for pair in tree.pairs
        ]
        return cls(
            policy=policy,
            reference=reference,
            token_weight=floats(
                weight
                for response in responses
                for weight in response.weights or (1.0,) * len(response.tokens)
            ),
            response_index=torch.repeat_interleave(
                torch.arange(len(responses), device=device), lengths
            ),
            tree_index=torch.repeat_interleave(torch.arange(len(trees), device=device), counts),
            tree_weight=floats(tree.weight for tree in trees),
            chosen=indices(first + pair.chosen for first, _, pair in pairs),
            rejected=indices(first + pair.rejected for first, _, pair in pairs),
            pair_weight=floats(weight * pair.weight for _, weight, pair in pairs),
            columns={name: floats(values) for name, values in _columns(trees).items()},
            top_k=top_k,
            anchor_log_ratio=anchor_log_ratio,
            ema=ema or {},
            progress=progress,
        )

    def column(self, name: str) -> Tensor:
        """Return a column: ``(B,)`` of responses, ``(P,)`` of pairs, ``(T,)`` of trees.

        The column ``token.reward`` has shape ``(N,)``.

        Raises
        ------
        UnknownName
            If the objective does not declare the column.
        """
        if name not in self.columns:
            raise UnknownName.among("declared column", name, sorted(self.columns))
        return self.columns[name]

    def mask(self, name: str) -> Tensor:
        """Return a column of true and false, such as ``label``, as booleans."""
        return self.column(name) > 0.5

    def select(self, needs: Iterable[str], optional: Mapping[str, float]) -> Batch:
        """Return the batch with the declared columns only, defaults filled in.

        Parameters
        ----------
        needs : iterable of str
            Required columns.
        optional : Mapping[str, float]
            Defaults of the optional columns.

        Raises
        ------
        MissingColumn
            If a required column is missing, or has missing values.
        """
        columns = {}
        for name in needs:
            values = self.columns.get(name, self._missing(name))
            if bool(values.isnan().any()):
                raise MissingColumn(f"The column {name} is missing", _how_to_set(name))
            columns[name] = values
        for name, default in optional.items():
            values = self.columns.get(name, self._missing(name))
            columns[name] = torch.where(values.isnan(), default, values)
        return replace(self, columns=columns)

    def _missing(self, name: str) -> Tensor:
        """Return a column of NaN."""
        levels = {
            "pair": self.pair_weight,
            "tree": self.tree_weight,
            "token": self.token_weight,
            "response": self.tree_index.to(self.policy.dtype),
        }
        return torch.full_like(levels[_level(name)], math.nan)

    def sum(self, tokens: Tensor) -> Tensor:
        """Return the weighted sum of token values, ``(N,)``, over each response, ``(B,)``."""
        return tokens.new_zeros(len(self.tree_index)).index_add(
            0, self.response_index, tokens * self.token_weight
        )

    def mean(self, tokens: Tensor) -> Tensor:
        """Return the weighted mean of token values, ``(N,)``, over each response, ``(B,)``."""
        return self.sum(tokens) / self.token_count.clamp(min=1e-9)

    @cached_property
    def token_count(self) -> Tensor:
        """Total token weight of each response, its length if no token is masked, ``(B,)``."""
        return self.sum(torch.ones_like(self.token_weight))

    @cached_property
    def log_ratio(self) -> Tensor:
        """``log pi(y|x) - log pi_ref(y|x)`` of each response, in nats, shape ``(B,)``."""
        return self.sum(self.policy - self.reference_or_error)

    @property
    def reference_or_error(self) -> Tensor:
        """Log-probabilities of the reference, shape ``(N,)``.

        Raises
        ------
        BacktalkError
            If the batch has none.
        """
        if self.reference is None:
            raise BacktalkError(
                "The objective reads log-probabilities of a reference and declares none",
                "Register it with reference=True",
            )
        return self.reference

    def pairs(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Return response values, ``(B,)``, of the chosen and the rejected, ``(P,)`` each."""
        return values[self.chosen], values[self.rejected]

    def by_tree(self, values: Tensor, fill: float) -> Tensor:
        """Return response values, ``(B,)``, as rows, one for each tree, padded at the end.

        Parameters
        ----------
        values : Tensor
            Value of each response, shape ``(B,)``.
        fill : float
            Padding value.

        Returns
        -------
        Tensor
            Shape ``(T, K)``, with K the largest number of responses of a tree.
        """
        counts = torch.bincount(self.tree_index, minlength=len(self.tree_weight))
        first = counts.cumsum(0) - counts
        position = torch.arange(len(self.tree_index), device=values.device) - first[self.tree_index]
        rows = values.new_full((len(counts), int(counts.max())), fill)
        return rows.index_put((self.tree_index, position), values)

    @cached_property
    def tree_mask(self) -> Tensor:
        """Mask of the entries of :meth:`by_tree` that are no padding, booleans, ``(T, K)``."""
        return self.by_tree(torch.ones_like(self.tree_index), 0) > 0


def _columns(trees: Sequence[PromptTree]) -> dict[str, list[float]]:
    """Return the values of every column that occurs, NaN where it is missing."""
    responses = [response for tree in trees for response in tree.responses]
    rows = [response.columns() for response in responses]
    columns = _by_name("", rows)
    columns |= _by_name("pair.", [pair.features for tree in trees for pair in tree.pairs])
    columns |= _by_name("tree.", [tree.features for tree in trees])
    if any(response.token_rewards is not None for response in responses):
        columns[TOKEN_REWARD] = [
            reward
            for response in responses
            for reward in response.token_rewards or (math.nan,) * len(response.tokens)
        ]
    return columns


def _by_name(prefix: str, rows: Sequence[Mapping[str, float]]) -> dict[str, list[float]]:
    names = {name for row in rows for name in row}
    return {prefix + name: [row.get(name, math.nan) for row in rows] for name in sorted(names)}


def _level(column: str) -> str:
    """Return the level of a column: response, pair, tree or token."""
    return column.split(".", maxsplit=1)[0] if "." in column else "response"


def _how_to_set(column: str) -> str:
    name = column.rsplit(".", maxsplit=1)[-1]
    match _level(column):
        case "pair":
            return f"Give {name!r} among the features of each PairLabel"
        case "tree":
            return f"Give {name!r} among the features of each PromptTree"
        case "token":
            return "Set token_rewards of each ResponseText or ResponseTokens"
        case _:
            return f"Set {name!r} of each ResponseText or ResponseTokens"


def _units_without(column: str, trees: Iterable[PromptTree]) -> Iterator[bool]:
    """Yield for each unit of a column's level whether it lacks the column."""
    name = column.rsplit(".", maxsplit=1)[-1]
    for tree in trees:
        match _level(column):
            case "pair":
                yield from (name not in pair.features for pair in tree.pairs)
            case "tree":
                yield name not in tree.features
            case "token":
                yield from (response.token_rewards is None for response in tree.responses)
            case _:
                yield from (response.column(name) is None for response in tree.responses)


@dataclass(frozen=True)
class LossOutput:
    """Losses and metrics of an objective on one batch."""

    losses: Tensor
    """Loss of each unit of the reduction: shape ``(T,)``, ``(P,)``, ``(B,)`` or ``(N,)``, without
    the units' weights."""
    metrics: Mapping[str, Tensor] = field(default_factory=dict)
    """Metrics to log; each tensor, of any shape, is averaged."""
    ema: Mapping[str, Tensor] = field(default_factory=dict)
    """Values whose exponential moving averages later steps find in :attr:`Batch.ema`."""


@dataclass(frozen=True)
class Objective:
    """Registered loss function with its requirements."""

    name: str
    paper: Paper
    function: Callable[..., LossOutput]
    reduction: Reduction
    reference: bool
    """True if it reads log-probabilities of a reference."""
    top_k: int
    """Number of most probable other tokens whose log-probabilities it reads."""
    initial_loss: Callable[..., float | None] | None
    """Loss where the policy equals the reference, as a function of the options; ``None`` if it
    depends on the model."""
    options: Mapping[str, Any]
    """Default of every option."""
    needs: tuple[str, ...] = ()
    """Columns that it reads and that every unit must have."""
    optional: Mapping[str, float] = field(default_factory=dict)
    """Columns that it reads where they exist, with their defaults."""

    @property
    def documentation(self) -> str:
        """Docstring, in numpydoc format."""
        return inspect.getdoc(self.function) or ""

    @property
    def summary(self) -> str:
        """Description in one sentence."""
        return self.documentation.split("\n", maxsplit=1)[0]

    @property
    def formula(self) -> str:
        """Loss in plain text: the first literal block of the docstring; empty without one."""
        block = re.search(r"::\n\n((?: {4}.*\n|\n)+)", self.documentation + "\n")
        return "" if block is None else textwrap.dedent(block.group(1)).strip()

    @property
    def types(self) -> dict[str, Any]:
        """Type of every option."""
        hints = get_type_hints(self.function, include_extras=True)
        return {name: hints[name] for name in self.options}

    @property
    def option_meanings(self) -> dict[str, str]:
        """Description of every option, from the Parameters section of the docstring."""
        meanings = parameter_descriptions(self.function)
        return {name: meanings.get(name, "") for name in self.options}

    def describe_options(self) -> tuple[OptionDescription, ...]:
        """Return type, default and meaning of every option."""
        return describe_options(self.options, self.types, self.option_meanings)

    def bind(self, **options: Any) -> BoundObjective:
        """Return the objective with validated options, defaults filled in.

        Raises
        ------
        UnknownName
            If there is no such option; the message lists the known ones.
        BacktalkError
            If a value does not fit its type.
        """
        values = read_options(self.name, self.options, self.types, options)
        return BoundObjective(self, values)


@dataclass(frozen=True)
class BoundObjective:
    """Objective with values of its options."""

    objective: Objective
    options: Mapping[str, Any]

    def __call__(self, batch: Batch) -> LossOutput:
        """Return the losses and metrics of a batch.

        The function sees the columns that the objective declares, and no others.

        Raises
        ------
        MissingColumn
            If the batch lacks a column that the objective needs.
        UnknownName
            If the function reads a column that the objective does not declare.
        """
        declared = batch.select(self.objective.needs, self.objective.optional)
        return self.objective.function(declared, **self.options)

    def check_columns(self, trees: Sequence[PromptTree], *, name: str = "the feedback") -> None:
        """Raise ``MissingColumn`` if trees lack a column that the objective needs.

        Parameters
        ----------
        trees : sequence of PromptTree
            Training data.
        name : str, default "the feedback"
            Name of the data in the error message.
        """
        for column in self.objective.needs:
            missing = list(_units_without(column, trees))
            if any(missing):
                level = _level(column)
                units = f"{level}s" if level != "token" else "responses"
                raise MissingColumn(
                    f"The objective {self.objective.name} needs the column {column}, which "
                    f"{sum(missing):,} of {len(missing):,} {units} of {name} do not have",
                    _how_to_set(column),
                )

    @property
    def initial_loss(self) -> float | None:
        """Loss where the policy equals the reference; ``None`` if it depends on the model."""
        function = self.objective.initial_loss
        return None if function is None else function(**self.options)

    def total_weight(self, trees: Sequence[PromptTree]) -> float:
        """Return the total weight of the units of trees: the divisor of the summed losses."""
        match self.objective.reduction:
            case "tree":
                return sum(tree.weight for tree in trees)
            case "pair":
                return sum(tree.weight * pair.weight for tree in trees for pair in tree.pairs)
            case "response":
                return sum(tree.weight * len(tree.responses) for tree in trees)
            case "token":
                return sum(tree.weight * tree.token_weight for tree in trees)

    def unit_weights(self, batch: Batch) -> Tensor:
        """Return the weight of each unit of a batch: ``(T,)``, ``(P,)``, ``(B,)`` or ``(N,)``."""
        match self.objective.reduction:
            case "tree":
                return batch.tree_weight
            case "pair":
                return batch.pair_weight
            case "response":
                return batch.tree_weight[batch.tree_index]
            case "token":
                trees = batch.tree_index[batch.response_index]
                return batch.token_weight * batch.tree_weight[trees]


@dataclass(frozen=True)
class TrainingTask:
    """Trees and the objective to train on them.

    Raises
    ------
    MissingColumn
        If the trees lack a column that the objective needs.
    """

    name: str
    """Name in reports, such as a kind of feedback."""
    objective: BoundObjective
    trees: Sequence[PromptTree]
    weight: float = 1.0
    """Weight of each of its trees relative to those of other tasks."""

    def __post_init__(self) -> None:
        self.objective.check_columns(self.trees, name=f"{self.name!r}")


BuildTasks = Callable[[Encoder], Sequence[TrainingTask]]
"""Function from an encoder to training tasks; it holds the feedback."""

OBJECTIVES = Registry[Objective](
    "objective",
    entry_points="backtalk.objectives",
    modules=("backtalk.learn.finetune.objectives",),
    item_type=Objective,
)
"""All objectives by name, those of installed packages included."""


def objective(
    name: str,
    *,
    paper: Paper,
    reduction: Reduction = "tree",
    reference: bool = False,
    top_k: int = 0,
    initial_loss: Callable[..., float | None] | None = None,
    needs: Sequence[str] = (),
    optional: Mapping[str, float] | None = None,
) -> Callable[[Callable[..., LossOutput]], Callable[..., LossOutput]]:
    """Register a function ``(batch, *, options) -> LossOutput`` as an objective.

    Its docstring holds the formula as its first literal block, and a Parameters section that
    describes the options.

    Parameters
    ----------
    name : str
        Name of the objective.
    paper : Paper
        Publication.
    reduction : {"tree", "pair", "response", "token"}, default "tree"
        Unit that the loss is averaged over.
    reference : bool, default False
        If true, the batch has log-probabilities of a reference.
    top_k : int, default 0
        Number of most probable other tokens whose log-probabilities the batch has.
    initial_loss : Callable[..., float | None], optional
        Loss where the policy equals the reference, as a function of the options. Checked before
        training.
    needs : sequence of str, default ()
        Columns that every unit must have, such as ``label`` or ``pair.probability``.
    optional : Mapping[str, float], optional
        Columns that units may have, with their defaults.

    Raises
    ------
    BacktalkError
        If a column is of an unknown level.
    """
    for column in (*needs, *(optional or {})):
        if _level(column) not in {"response", "pair", "tree"} and column != TOKEN_REWARD:
            raise BacktalkError(
                f"The objective {name} declares the column {column!r} of an unknown level",
                f"Name it NAME, pair.NAME, tree.NAME or {TOKEN_REWARD}",
            )

    def register(function: Callable[..., LossOutput]) -> Callable[..., LossOutput]:
        registered = Objective(
            name,
            paper,
            function,
            reduction,
            reference,
            top_k,
            initial_loss,
            keyword_options(function),
            tuple(needs),
            dict(optional or {}),
        )
        OBJECTIVES.register(name, registered, origin=function)
        return function

    return register


def get_objective(name: str) -> Objective:
    """Return the objective of that name.

    Raises
    ------
    UnknownName
        If there is none; the message lists the known names.
    """
    return OBJECTIVES.get(name)
