"""Forward passes of a causal language model over a batch of prompts and their next tokens."""

from __future__ import annotations

import copy
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

CACHE_NAMES = ("past_key_values", "cache_params", "state")
"""Names by which models of transformers take and return what they computed of earlier tokens."""


class ForwardState:
    """Decoding state of one model, with padding on the left and a cache.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    mask : torch.Tensor
        Mask of the prompts, shape ``(n, length)``: 1 for a token, 0 for padding.
    own_cache : bool, default False
        If true, the model makes its cache, which need not be one of attention.
    padded : bool, default True
        If false, all rows have the same length and the model gets tokens only, without mask and
        positions.
    masks_past : bool, default True
        If false, the mask is that of the new tokens only, as Mamba takes it, whose state holds no
        padding.
    """

    def __init__(
        self,
        model: Any,
        mask: torch.Tensor,
        *,
        own_cache: bool = False,
        padded: bool = True,
        masks_past: bool = True,
    ) -> None:
        self._model = model
        self._mask = mask
        self._padded = padded
        self._masks_past = masks_past
        accepted = inspect.signature(model.forward).parameters
        self._accepts = accepted
        self._cache_name = next((name for name in CACHE_NAMES if name in accepted), CACHE_NAMES[0])
        self._own_cache = own_cache
        self.cache: Any = None if own_cache else AttentionCache(model.config)
        self._length = 0

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
        if self._padded:
            options["attention_mask"] = (
                self._mask if self._masks_past else self._mask[:, -tokens.shape[1] :]
            )
            if "position_ids" in self._accepts:
                positions = (self._mask.cumsum(dim=-1) - 1).clamp(min=0)
                options["position_ids"] = positions[:, -tokens.shape[1] :]
        if self.cache is not None:
            options[self._cache_name] = self.cache
        output = self._model(input_ids=tokens, use_cache=True, **options)
        if self._own_cache:
            self.cache = getattr(output, self._cache_name)
        logits: torch.Tensor = output.logits[:, -last:]
        return logits.float()

    @property
    def can_merge(self) -> bool:
        """True if another batch can be merged in."""
        return isinstance(self.cache, AttentionCache) and self.cache.is_preallocated

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
        if isinstance(self.cache, AttentionCache):
            self.cache.reorder_cache(index)
        else:
            self.cache = select_rows(self.cache, index)
        self._mask = self._mask[index]
        return values[index]

    def copy(self) -> Self:
        """Return a state of its own for the same sequences."""
        other = copy.copy(self)
        other.cache = copy.deepcopy(self.cache)
        return other


def select_rows(cache: Any, index: torch.Tensor) -> Any:
    """Return a cache that a model made, with these rows only; it may be changed in place.

    Parameters
    ----------
    cache : Any
        Cache of transformers, or a list of tensors, with the sequences in their first dimension.
    index : torch.Tensor
        Rows; an index may repeat.
    """
    if isinstance(cache, list | tuple):
        return _select(cache, index)
    if hasattr(cache, "reorder_cache"):
        cache.reorder_cache(index)
    # MiniMax and xLSTM hold tensors in attributes of which the method does not know.
    for name, part in vars(cache).items():
        if name != "layers":
            setattr(cache, name, _select(part, index))
    return cache


def _select(cache: Any, index: torch.Tensor) -> Any:
    if isinstance(cache, torch.Tensor):
        # xLSTM counts the tokens in a tensor of one element, which belongs to no row.
        return cache.index_select(0, index) if cache.ndim > 1 else cache
    if isinstance(cache, list | tuple):
        return type(cache)(_select(part, index) for part in cache)
    if isinstance(cache, dict):
        return {name: _select(part, index) for name, part in cache.items()}
    return cache


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
