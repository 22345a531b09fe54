"""Running a causal language model on a left-padded batch, and keeping its state."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import torch

from backtalk.models.local.kv_cache import AttentionCache


class DecodeState(Protocol):
    """What predicts the next tokens of a batch of sequences, and remembers them."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after more tokens, shape ``(n, vocabulary)``, in float32."""
        ...

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        """Return the logits after each of the last of these tokens, ``(n, last, vocabulary)``."""
        ...

    @property
    def can_merge(self) -> bool:
        """Whether another batch can be taken in."""
        ...

    def merge(self, other: Self) -> None:
        """Take in the sequences of another batch, behind those there are."""
        ...

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        """Go on with these rows, which may repeat; return ``values`` of the same rows."""
        ...


Begin = Callable[[torch.Tensor], DecodeState]
"""Makes a computation of where the first sequences are, 1, and where padding, 0."""


class Forward:
    """A model and what it remembers of a batch of sequences.

    Parameters
    ----------
    model : Any
        A causal model of transformers.
    mask : torch.Tensor
        Where the first sequences are, 1, and where padding, 0; shape ``(n, longest)``.
    """

    def __init__(self, model: Any, mask: torch.Tensor) -> None:
        self._model = model
        self._mask = mask
        self.cache = AttentionCache(model.config)
        self._seen = 0
        self._takes = inspect.signature(model.forward).parameters

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits after more tokens, shape ``(n, vocabulary)``, in float32."""
        return self.logits(tokens, last=1)[:, -1]

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        """Return the logits after each of the last of these tokens, ``(n, last, vocabulary)``."""
        new = self._seen + tokens.shape[1] - self._mask.shape[1]
        if new:
            self._mask = torch.nn.functional.pad(self._mask, (0, new), value=1)
        self._seen = self._mask.shape[1]
        given: dict[str, Any] = {"logits_to_keep": last} if "logits_to_keep" in self._takes else {}
        if "position_ids" in self._takes:
            positions = (self._mask.cumsum(dim=-1) - 1).clamp(min=0)
            given["position_ids"] = positions[:, -tokens.shape[1] :]
        output = self._model(
            input_ids=tokens,
            attention_mask=self._mask,
            past_key_values=self.cache,
            use_cache=True,
            **given,
        )
        kept: torch.Tensor = output.logits[:, -last:]
        return kept.float()

    @property
    def can_merge(self) -> bool:
        """Whether another batch can be taken in."""
        return self.cache.roomy

    def merge(self, other: Forward) -> None:
        """Take in the sequences of another batch, behind those there are; both keep their ends."""
        longest = max(self.span, other.span)
        self.cache.join(other.cache, longest)
        self._mask = torch.cat([self.recent(longest), other.recent(longest)])
        self._seen = longest

    @property
    def span(self) -> int:
        """How many columns hold anything."""
        return self._mask.shape[1] - int(self._mask.any(dim=0).int().argmax())

    def recent(self, length: int) -> torch.Tensor:
        """Return where the sequences are in the last ``length`` columns, ``(n, length)``."""
        kept = self._mask[:, -length:]
        return torch.nn.functional.pad(kept, (length - kept.shape[1], 0), value=0)

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        """Go on with these rows, which may repeat; return ``values`` of the same rows."""
        index: Any = torch.tensor(rows, device=self._mask.device)
        self.cache.reorder_cache(index)
        self._mask = self._mask[index]
        return values[index]


def pad_left(
    sequences: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return sequences aligned at their ends, and where they are: two tensors ``(n, longest)``."""
    longest = max(map(len, sequences))
    tokens = torch.zeros((len(sequences), longest), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for i, sequence in enumerate(sequences):
        tokens[i, longest - len(sequence) :] = torch.tensor(sequence)
        mask[i, longest - len(sequence) :] = 1
    return tokens.to(device), mask.to(device)


@torch.inference_mode()
def log_probabilities(
    begin: Begin,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    device: torch.device,
) -> list[torch.Tensor]:
    """Return the log-probability, in nats, of each token of each completion.

    Parameters
    ----------
    begin : Begin
        Makes the computation.
    pairs : Sequence[tuple[Sequence[int], Sequence[int]]]
        The tokens of prompts and completions.
    device : torch.device
        Where it computes.
    """
    tokens, mask = pad_left([[*prompt, *rest] for prompt, rest in pairs], device)
    longest = max(len(rest) for _, rest in pairs)
    logits = begin(mask).logits(tokens, last=longest + 1)[:, :-1]
    drawn = tokens[:, -longest:]
    values = logits.gather(2, drawn[:, :, None])[:, :, 0] - logits.logsumexp(dim=-1)
    values = values.double().cpu()
    return [values[i, longest - len(rest) :] for i, (_, rest) in enumerate(pairs)]
