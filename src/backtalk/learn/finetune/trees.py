"""What the trainer reads: trees, each a prompt and the responses that grow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import blake2b

import numpy as np

from backtalk.errors import BacktalkError


@dataclass(frozen=True)
class ResponseTokens:
    """A response as tokens, the one that ends it among them."""

    tokens: tuple[int, ...]
    value: float = 0.0
    """What the feedback says of the response, in the objective's terms: a score, a rank, 1 for
    good."""
    weights: tuple[float, ...] | None = None
    """How much each token is learned from; 1 for each where it is left out, 0 to leave one out."""
    credit: tuple[float, ...] | None = None
    """What is known of each token beside, such as a reward; 0 for each where it is left out."""

    def __post_init__(self) -> None:
        if not self.tokens:
            raise BacktalkError(
                "A response has no tokens", "Its end-of-sequence token is one; add it"
            )
        for name, given in (("weights", self.weights), ("credit", self.credit)):
            if given is not None and len(given) != len(self.tokens):
                raise BacktalkError(
                    f"A response of {len(self.tokens)} tokens has {name} for {len(given)}",
                    "Give one number a token",
                )


@dataclass(frozen=True)
class PairLabel:
    """That one response of a tree is better than another."""

    chosen: int
    """The place of the better one among the tree's branches."""
    rejected: int
    weight: float = 1.0
    """How much the comparison counts, times the tree's weight."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """What else the feedback says, such as the strength of the preference."""


@dataclass(frozen=True)
class PromptTree:
    """A prompt and its responses, of which some may be compared. What they share is computed once.

    >>> tree = PromptTree((7, 8), (ResponseTokens((1, 2)), ResponseTokens((3, 2))), pairs=(PairLabel(0, 1),))
    >>> tree.size
    4
    """

    prompt: tuple[int, ...]
    branches: tuple[ResponseTokens, ...]
    weight: float = 1.0
    """How much the tree counts."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """What the feedback says of the tree as a whole."""
    pairs: tuple[PairLabel, ...] = ()
    """Which responses are better than which."""
    kl_anchors: tuple[ResponseTokens, ...] = ()
    """Responses that no gradient flows through; an objective's :attr:`Batch.anchor_log_ratio` is their
    mean."""

    def __post_init__(self) -> None:
        if not self.prompt or not self.branches:
            raise BacktalkError(
                f"A tree has {len(self.prompt)} prompt tokens and {len(self.branches)} responses",
                "It needs at least one of each: the first token of a response is predicted from "
                "the prompt",
            )
        count = len(self.branches)
        for pair in self.pairs:
            if not (0 <= pair.chosen < count and 0 <= pair.rejected < count):
                raise BacktalkError(
                    f"A tree of {count} responses compares {pair.chosen} with {pair.rejected}",
                    "Give the places of its own responses, from 0",
                )

    @cached_property
    def size(self) -> int:
        """How many tokens are read: of each response, all but the last."""
        return len(self.prompt) + sum(len(branch.tokens) - 1 for branch in self.branches)

    @cached_property
    def learned(self) -> float:
        """How much weight its response tokens have together."""
        return float(
            sum(
                len(branch.tokens) if branch.weights is None else sum(branch.weights)
                for branch in self.branches
            )
        )

    def only(self, branches: Sequence[ResponseTokens]) -> PromptTree:
        """Return a tree of the same prompt with other responses, of which none are compared."""
        return PromptTree(self.prompt, tuple(branches), self.weight, self.facts)

    def key(self, branch: ResponseTokens) -> bytes:
        """Return what the exact tokens of the prompt and one response determine, 16 bytes."""
        digest = blake2b(len(self.prompt).to_bytes(8), digest_size=16)
        digest.update(np.asarray(self.prompt, dtype=np.int64).tobytes())
        digest.update(np.asarray(branch.tokens, dtype=np.int64).tobytes())
        return digest.digest()


def micro_batches(
    trees: Sequence[PromptTree], budget: int, *, shared: bool
) -> list[list[PromptTree]]:
    """Return trees in stretches that read at most ``budget`` tokens, or one tree alone.

    Trees of about the same size come together; within a step their order does not matter.

    Parameters
    ----------
    trees : sequence of PromptTree
        What is to be read.
    budget : int
        The most tokens of a stretch.
    shared : bool
        Whether each prompt is read once, without padding, or each response in a padded row.
    """

    def longest(tree: PromptTree) -> int:
        return len(tree.prompt) + max(len(branch.tokens) for branch in tree.branches) - 1

    batches: list[list[PromptTree]] = []
    width = rows = read = 0
    for tree in sorted(trees, key=lambda tree: -(tree.size if shared else longest(tree))):
        fits = (
            read + tree.size <= budget if shared else (rows + len(tree.branches)) * width <= budget
        )
        if not batches or not fits:
            batches.append([])
            width, rows, read = longest(tree), 0, 0
        batches[-1].append(tree)
        rows += len(tree.branches)
        read += tree.size
    return batches
