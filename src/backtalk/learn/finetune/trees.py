"""Training data of the trainer: prompt trees, each a prompt with the responses that follow it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from hashlib import blake2b

from backtalk.errors import BacktalkError
from backtalk.learn.lazy_modules import np


@dataclass(frozen=True, kw_only=True)
class ResponseColumns:
    """Columns of a response that objectives can read. ``None`` where a column is missing."""

    label: bool | None = None
    """True for a good response, false for a bad one."""
    score: float | None = None
    """Score: a rating, or the fraction of the other responses that a ranking places below."""
    win_rate: float | None = None
    """Probability, in [0, 1], of beating a response of the current policy."""
    is_sample: bool | None = None
    """True for a sample of the policy or the reference, false for a response of the feedback."""
    is_demonstration: bool | None = None
    """True for a demonstration, false for a response that it is contrasted with."""
    features: Mapping[str, float] = field(default_factory=dict)
    """Further columns, by name, of objectives outside this package."""

    def column(self, name: str) -> float | None:
        """Return the value of a column, ``None`` if it is missing."""
        value = getattr(self, name) if name in RESPONSE_COLUMNS else self.features.get(name)
        return None if value is None else float(value)

    def columns(self) -> dict[str, float]:
        """Return the values of all columns that are not missing, by name."""
        values = {name: self.column(name) for name in (*RESPONSE_COLUMNS, *self.features)}
        return {name: value for name, value in values.items() if value is not None}


RESPONSE_COLUMNS = tuple(
    column.name for column in fields(ResponseColumns) if column.name != "features"
)
"""Names of the columns that every response has a field for."""


@dataclass(frozen=True)
class ResponseTokens(ResponseColumns):
    """A response as tokens, its end-of-sequence token included, with its columns."""

    tokens: tuple[int, ...]
    weights: tuple[float, ...] | None = None
    """Loss weight of each token, 0 to mask it. Default: 1 for each token."""
    token_rewards: tuple[float, ...] | None = None
    """Reward of each token; the column ``token.reward``. ``None`` if it is missing."""

    def __post_init__(self) -> None:
        if not self.tokens:
            raise BacktalkError(
                "A response has no tokens", "Add at least its end-of-sequence token"
            )
        for name, values in (("weights", self.weights), ("token_rewards", self.token_rewards)):
            if values is not None and len(values) != len(self.tokens):
                raise BacktalkError(
                    f"A response of {len(self.tokens)} tokens has {len(values)} {name}",
                    "Give one number for each token",
                )


@dataclass(frozen=True)
class PairLabel:
    """Preference for one response of a tree over another."""

    chosen: int
    """Index of the better response among the tree's responses."""
    rejected: int
    """Index of the worse response."""
    weight: float = 1.0
    """Loss weight of the pair, multiplied by the weight of its tree."""
    features: Mapping[str, float] = field(default_factory=dict)
    """Columns of the pair, such as ``probability`` and ``strength``."""


@dataclass(frozen=True)
class PromptTree:
    """A prompt with its responses and the pairs among them. The prompt is computed once.

    >>> tree = PromptTree(
    ...     (7, 8), (ResponseTokens((1, 2)), ResponseTokens((3, 2))), pairs=(PairLabel(0, 1),)
    ... )
    >>> tree.size
    4
    """

    prompt: tuple[int, ...]
    """Token ids of the prompt."""
    responses: tuple[ResponseTokens, ...]
    """Responses to the prompt, at least one."""
    weight: float = 1.0
    """Loss weight of the tree."""
    features: Mapping[str, float] = field(default_factory=dict)
    """Columns of the tree, such as ``log_normaliser``."""
    pairs: tuple[PairLabel, ...] = ()
    """Preferences between responses."""
    kl_anchors: tuple[ResponseTokens, ...] = ()
    """Responses without a gradient, whose mean log-ratio is :attr:`Batch.anchor_log_ratio`."""

    def __post_init__(self) -> None:
        if not self.prompt or not self.responses:
            raise BacktalkError(
                f"A tree has {len(self.prompt)} prompt tokens and {len(self.responses)} responses",
                "Give it at least one of each: the first token of a response is predicted from "
                "the prompt",
            )
        count = len(self.responses)
        for pair in self.pairs:
            if not (0 <= pair.chosen < count and 0 <= pair.rejected < count):
                raise BacktalkError(
                    f"A tree of {count} responses compares {pair.chosen} with {pair.rejected}",
                    "Give indices of its own responses, from 0",
                )

    @cached_property
    def size(self) -> int:
        """Number of input tokens: the prompt, and all but the last token of each response."""
        return len(self.prompt) + sum(len(response.tokens) - 1 for response in self.responses)

    @cached_property
    def token_weight(self) -> float:
        """Total loss weight of the response tokens."""
        return float(
            sum(
                len(response.tokens) if response.weights is None else sum(response.weights)
                for response in self.responses
            )
        )

    def with_responses(self, responses: Sequence[ResponseTokens]) -> PromptTree:
        """Return a tree with the same prompt and other responses, without pairs."""
        return PromptTree(self.prompt, tuple(responses), self.weight, self.features)

    def key(self, response: ResponseTokens) -> bytes:
        """Return a digest, 16 bytes, of the tokens of the prompt and of one response."""
        digest = blake2b(len(self.prompt).to_bytes(8), digest_size=16)
        digest.update(np.asarray(self.prompt, dtype=np.int64).tobytes())
        digest.update(np.asarray(response.tokens, dtype=np.int64).tobytes())
        return digest.digest()


def micro_batches(
    trees: Sequence[PromptTree], budget: int, *, shared: bool
) -> list[list[PromptTree]]:
    """Return trees in micro-batches of at most ``budget`` tokens, or of one tree that is larger.

    Trees of similar size are put together; the order within an optimiser step does not matter.

    Parameters
    ----------
    trees : sequence of PromptTree
        Trees of one step.
    budget : int
        Maximum number of input tokens of a micro-batch, padding included.
    shared : bool
        If true, each prompt is computed once, without padding; otherwise each response is a
        padded row.
    """

    def row_length(tree: PromptTree) -> int:
        return len(tree.prompt) + max(len(response.tokens) for response in tree.responses) - 1

    batches: list[list[PromptTree]] = []
    width = rows = size = 0
    for tree in sorted(trees, key=lambda tree: -(tree.size if shared else row_length(tree))):
        fits = (
            size + tree.size <= budget if shared else (rows + len(tree.responses)) * width <= budget
        )
        if not batches or not fits:
            batches.append([])
            width, rows, size = row_length(tree), 0, 0
        batches[-1].append(tree)
        rows += len(tree.responses)
        size += tree.size
    return batches
