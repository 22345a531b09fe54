"""Forward passes of a causal language model over a left-padded batch, with its key-value cache."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol, Self

import torch

from backtalk.models.local.kv_cache import AttentionCache


class DecodeState(Protocol):
    """State of decoding a batch of ``n`` sequences; predicts their next tokens."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the float32 logits after more tokens, shape ``(n, vocabulary)``."""
        ...

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        """Return the logits after the last tokens, shape ``(n, last, vocabulary)``."""
        ...

    @property
    def can_merge(self) -> bool:
        """True if another batch can be merged in."""
        ...

    def merge(self, other: Self) -> None:
        """Append the sequences of another batch."""
        ...

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        """Keep these rows only; an index may repeat. Return the same rows of ``values``."""
        ...


StartDecoding = Callable[[torch.Tensor], DecodeState]
"""Makes a decoding state from the mask of the prompts: 1 for a token, 0 for padding."""


class ForwardState:
    """Decoding state of one model.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    mask : torch.Tensor
        Mask of the prompts, shape ``(n, length)``: 1 for a token, 0 for padding.
    """

    def __init__(self, model: Any, mask: torch.Tensor) -> None:
        self._model = model
        self._mask = mask
        self.cache = AttentionCache(model.config)
        self._length = 0
        self._accepts = inspect.signature(model.forward).parameters

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the float32 logits after more tokens, shape ``(n, vocabulary)``."""
        return self.logits(tokens, last=1)[:, -1]

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        """Return the logits after the last tokens, shape ``(n, last, vocabulary)``."""
        new = self._length + tokens.shape[1] - self._mask.shape[1]
        if new:
            self._mask = torch.nn.functional.pad(self._mask, (0, new), value=1)
        self._length = self._mask.shape[1]
        options: dict[str, Any] = (
            {"logits_to_keep": last} if "logits_to_keep" in self._accepts else {}
        )
        if "position_ids" in self._accepts:
            positions = (self._mask.cumsum(dim=-1) - 1).clamp(min=0)
            options["position_ids"] = positions[:, -tokens.shape[1] :]
        output = self._model(
            input_ids=tokens,
            attention_mask=self._mask,
            past_key_values=self.cache,
            use_cache=True,
            **options,
        )
        logits: torch.Tensor = output.logits[:, -last:]
        return logits.float()

    @property
    def can_merge(self) -> bool:
        """True if another batch can be merged in."""
        return self.cache.is_preallocated

    def merge(self, other: ForwardState) -> None:
        """Append the sequences of another batch; both stay aligned at their ends."""
        length = max(self.span, other.span)
        self.cache.merge(other.cache, length)
        self._mask = torch.cat([self.recent_mask(length), other.recent_mask(length)])
        self._length = length

    @property
    def span(self) -> int:
        """Number of columns from the first one that holds a token."""
        return self._mask.shape[1] - int(self._mask.any(dim=0).int().argmax())

    def recent_mask(self, length: int) -> torch.Tensor:
        """Return the mask of the last ``length`` columns, shape ``(n, length)``."""
        recent = self._mask[:, -length:]
        return torch.nn.functional.pad(recent, (length - recent.shape[1], 0), value=0)

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        """Keep these rows only; an index may repeat. Return the same rows of ``values``."""
        index: Any = torch.tensor(rows, device=self._mask.device)
        self.cache.reorder_cache(index)
        self._mask = self._mask[index]
        return values[index]


def pad_left(
    sequences: Sequence[Sequence[int]], device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return left-padded tokens and their mask, both of shape ``(n, longest)``."""
    longest = max(map(len, sequences))
    tokens = torch.zeros((len(sequences), longest), dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for i, sequence in enumerate(sequences):
        tokens[i, longest - len(sequence) :] = torch.tensor(sequence)
        mask[i, longest - len(sequence) :] = 1
    return tokens.to(device), mask.to(device)


@torch.inference_mode()
def log_probabilities(
    start: StartDecoding,
    pairs: Sequence[tuple[Sequence[int], Sequence[int]]],
    *,
    device: torch.device,
) -> list[torch.Tensor]:
    """Return the log-probability, in nats, of each token of each completion.

    Parameters
    ----------
    start : StartDecoding
        Makes the decoding state.
    pairs : Sequence[tuple[Sequence[int], Sequence[int]]]
        Tokens of prompts and of their completions.
    device : torch.device
        Device of the model.
    """
    tokens, mask = pad_left([[*prompt, *completion] for prompt, completion in pairs], device)
    longest = max(len(completion) for _, completion in pairs)
    logits = start(mask).logits(tokens, last=longest + 1)[:, :-1]
    targets = tokens[:, -longest:]
    values = logits.gather(2, targets[:, :, None])[:, :, 0] - logits.logsumexp(dim=-1)
    values = values.double().cpu()
    return [values[i, longest - len(completion) :] for i, (_, completion) in enumerate(pairs)]


@torch.inference_mode()
def next_token_log_probabilities(
    start: StartDecoding, prompts: Sequence[Sequence[int]], *, device: torch.device
) -> torch.Tensor:
    """Return the log-probability, in nats, of each token after each prompt.

    Parameters
    ----------
    start : StartDecoding
        Makes the decoding state.
    prompts : sequence of sequence of int
        Tokens of n prompts.
    device : torch.device
        Device of the model.

    Returns
    -------
    torch.Tensor
        Shape ``(n, vocabulary)``.
    """
    tokens, mask = pad_left(prompts, device)
    return start(mask).step(tokens).log_softmax(dim=-1).cpu()
