"""Trees laid out for a model: in one row without padding, or a padded row for each response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backtalk.learn.finetune.trees import PromptTree


@dataclass(frozen=True)
class TreeSpan:
    """Where one tree lies in a packed row: its prompt, then the responses one after the other."""

    prompt: int
    """How many tokens the prompt has."""
    branches: tuple[int, ...]
    """How many tokens of each response are read: all but the last."""

    @property
    def response_tokens(self) -> int:
        """How many tokens the responses have together."""
        return sum(self.branches)

    def mask(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return what is added to the attention of response tokens to those of the tree.

        0 for the prompt and for earlier tokens of the same response, else minus infinity; shape
        ``(grown, prompt + grown)``.
        """
        owner = torch.repeat_interleave(
            torch.arange(len(self.branches), device=device),
            torch.tensor(self.branches, device=device),
        )
        seen = (owner[:, None] == owner[None, :]).tril()
        seen = torch.cat([seen.new_ones((self.response_tokens, self.prompt)), seen], dim=1)
        return torch.zeros(seen.shape, dtype=dtype, device=device).masked_fill_(~seen, -torch.inf)


@dataclass(frozen=True)
class PackedBatch:
    """Trees in a row, or responses in padded rows, and where the response tokens are predicted."""

    tokens: Tensor
    """Shape ``(rows, columns)``; one row where trees are packed."""
    positions: Tensor
    """The position of each token in its own conversation, as ``tokens``."""
    logit_positions: Tensor
    """Where, in the flattened tokens, each response token is predicted, shape ``(N,)``."""
    targets: Tensor
    """The response tokens, tree by tree and response by response, shape ``(N,)``."""
    tree_spans: tuple[TreeSpan, ...] = ()
    """The trees of a packed row; empty for padded rows."""
    padding: Tensor | None = None
    """Where padded rows hold tokens, 1, and where padding, 0."""

    def to(self, device: torch.device) -> PackedBatch:
        """Return the same on another device."""
        return PackedBatch(
            self.tokens.to(device),
            self.positions.to(device),
            self.logit_positions.to(device),
            self.targets.to(device),
            self.tree_spans,
            None if self.padding is None else self.padding.to(device),
        )


def pack(trees: Sequence[PromptTree]) -> PackedBatch:
    """Lay trees out in one row: each prompt once, no padding."""
    tokens: list[int] = []
    positions: list[int] = []
    places: list[int] = []
    targets: list[int] = []
    stretches = []
    for tree in trees:
        begin, length = len(tokens), len(tree.prompt)
        tokens += tree.prompt
        positions += range(length)
        for branch in tree.branches:
            start, read = len(tokens), len(branch.tokens) - 1
            places += [begin + length - 1, *range(start, start + read)]
            targets += branch.tokens
            tokens += branch.tokens[:-1]
            positions += range(length, length + read)
        stretches.append(
            TreeSpan(length, tuple(len(branch.tokens) - 1 for branch in tree.branches))
        )
    return PackedBatch(
        torch.tensor([tokens]),
        torch.tensor([positions]),
        torch.tensor(places),
        torch.tensor(targets),
        tuple(stretches),
    )


def pad(trees: Sequence[PromptTree]) -> PackedBatch:
    """Lay each response out in a row of its own, behind its prompt, padded at the end."""
    rows = [
        (len(tree.prompt), [*tree.prompt, *branch.tokens])
        for tree in trees
        for branch in tree.branches
    ]
    longest = max(len(row) for _, row in rows) - 1
    tokens = torch.zeros((len(rows), longest), dtype=torch.long)
    padding = torch.zeros_like(tokens)
    places: list[int] = []
    targets: list[int] = []
    for i, (length, row) in enumerate(rows):
        tokens[i, : len(row) - 1] = torch.tensor(row[:-1])
        padding[i, : len(row) - 1] = 1
        places += range(i * longest + length - 1, i * longest + len(row) - 1)
        targets += row[length:]
    positions = torch.arange(longest).expand(len(rows), -1)
    return PackedBatch(
        tokens, positions, torch.tensor(places), torch.tensor(targets), padding=padding
    )
