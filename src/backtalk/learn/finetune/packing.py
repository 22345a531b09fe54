"""Layout of trees as model input: one packed row without padding, or one padded row a response."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from backtalk.learn.finetune.trees import PromptTree


@dataclass(frozen=True)
class TreeSpan:
    """Lengths of the parts of a tree in a packed row: the prompt, then each response."""

    prompt: int
    """Number of prompt tokens."""
    responses: tuple[int, ...]
    """Number of input tokens of each response: all but the last."""

    @property
    def response_tokens(self) -> int:
        """Total number of input tokens of the responses."""
        return sum(self.responses)

    def mask(self, dtype: torch.dtype, device: torch.device) -> Tensor:
        """Return the additive attention mask of response tokens over the tokens of the tree.

        The mask is 0 for the prompt and for earlier tokens of the same response, and minus infinity
        elsewhere. Shape ``(response_tokens, prompt + response_tokens)``.
        """
        response_index = torch.repeat_interleave(
            torch.arange(len(self.responses), device=device),
            torch.tensor(self.responses, device=device),
        )
        visible = (response_index[:, None] == response_index[None, :]).tril()
        visible = torch.cat([visible.new_ones((self.response_tokens, self.prompt)), visible], dim=1)
        mask = torch.zeros(visible.shape, dtype=dtype, device=device)
        return mask.masked_fill_(~visible, -torch.inf)


@dataclass(frozen=True)
class PackedBatch:
    """Model input of trees, with the positions of the logits that predict response tokens."""

    tokens: Tensor
    """Token ids, shape ``(rows, columns)``; one row if trees are packed."""
    positions: Tensor
    """Position of each token in its conversation, shape ``(rows, columns)``."""
    logit_positions: Tensor
    """Index in the flattened tokens of the logits of each response token, shape ``(N,)``."""
    targets: Tensor
    """Ids of the response tokens, tree by tree and response by response, shape ``(N,)``."""
    tree_spans: tuple[TreeSpan, ...] = ()
    """Spans of the trees of a packed row; empty for padded rows."""
    padding: Tensor | None = None
    """Mask of padded rows, 1 for tokens and 0 for padding, shape ``(rows, columns)``."""

    def to(self, device: torch.device) -> PackedBatch:
        """Return the batch on another device."""
        return PackedBatch(
            self.tokens.to(device),
            self.positions.to(device),
            self.logit_positions.to(device),
            self.targets.to(device),
            self.tree_spans,
            None if self.padding is None else self.padding.to(device),
        )


def pack(trees: Sequence[PromptTree]) -> PackedBatch:
    """Return trees packed into one row, with each prompt once and without padding."""
    tokens: list[int] = []
    positions: list[int] = []
    logit_positions: list[int] = []
    targets: list[int] = []
    spans = []
    for tree in trees:
        begin, length = len(tokens), len(tree.prompt)
        tokens += tree.prompt
        positions += range(length)
        for response in tree.responses:
            start, inputs = len(tokens), len(response.tokens) - 1
            logit_positions += [begin + length - 1, *range(start, start + inputs)]
            targets += response.tokens
            tokens += response.tokens[:-1]
            positions += range(length, length + inputs)
        spans.append(
            TreeSpan(length, tuple(len(response.tokens) - 1 for response in tree.responses))
        )
    return PackedBatch(
        torch.tensor([tokens]),
        torch.tensor([positions]),
        torch.tensor(logit_positions),
        torch.tensor(targets),
        tuple(spans),
    )


def pad(trees: Sequence[PromptTree]) -> PackedBatch:
    """Return each response in its own row after its prompt, padded at the end."""
    rows = [
        (len(tree.prompt), [*tree.prompt, *response.tokens])
        for tree in trees
        for response in tree.responses
    ]
    columns = max(len(row) for _, row in rows) - 1
    tokens = torch.zeros((len(rows), columns), dtype=torch.long)
    padding = torch.zeros_like(tokens)
    logit_positions: list[int] = []
    targets: list[int] = []
    for i, (length, row) in enumerate(rows):
        tokens[i, : len(row) - 1] = torch.tensor(row[:-1])
        padding[i, : len(row) - 1] = 1
        logit_positions += range(i * columns + length - 1, i * columns + len(row) - 1)
        targets += row[length:]
    positions = torch.arange(columns).expand(len(rows), -1)
    return PackedBatch(
        tokens, positions, torch.tensor(logit_positions), torch.tensor(targets), padding=padding
    )
