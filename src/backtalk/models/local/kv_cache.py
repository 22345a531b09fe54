"""Key-value cache of a batch of sequences, in preallocated memory."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_SPARE_TOKENS = 64
"""Number of further tokens that fit before the memory is reallocated."""


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """Keys and values of one layer; new tokens are written in place, behind the others.

    The layer of transformers copies all keys and values for each new token.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)  # type: ignore[no-untyped-call]
        self._buffers: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Append the keys and values of further tokens, and return those of all tokens.

        Parameters
        ----------
        key_states : torch.Tensor
            Keys, shape ``(n, heads, new tokens, width)``.
        value_states : torch.Tensor
            Values, of the same shape.
        _, __
            Further arguments of the overridden method, which are ignored.
        """
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        length = self.get_seq_length()
        total = length + key_states.shape[-2]
        if not self._buffers or total > self._buffers[0].shape[-2]:
            self._reallocate(key_states, value_states, length, total + _SPARE_TOKENS)
        for buffer, states in zip(self._buffers, (key_states, value_states), strict=True):
            buffer[..., length:total, :] = states
        keys, values = (buffer[..., :total, :] for buffer in self._buffers)
        self.keys, self.values = keys, values
        return keys, values

    def _reallocate(
        self, key_states: torch.Tensor, value_states: torch.Tensor, length: int, capacity: int
    ) -> None:
        old, self._buffers = self._filled(), []
        for index, states in enumerate((key_states, value_states)):
            rows, heads, _, width = states.shape
            buffer = states.new_empty((rows, heads, capacity, width))
            if length:
                buffer[..., :length, :] = old[index]
            self._buffers.append(buffer)

    def _filled(self) -> list[torch.Tensor]:
        """Return the filled part of the buffers."""
        length = self.get_seq_length()
        return [buffer[..., :length, :] for buffer in self._buffers]

    def merge(self, other: PreallocatedLayer, length: int) -> None:
        """Append the rows of another layer, both aligned at their ends.

        Parameters
        ----------
        other : PreallocatedLayer
            Layer to append.
        length : int
            Number of tokens of each row to keep.
        """
        lengths = [min(layer.get_seq_length(), length) for layer in (self, other)]
        merged = []
        for a, b in zip(self._filled(), other._filled(), strict=True):
            rows, heads, _, width = a.shape
            buffer = a.new_zeros((rows + b.shape[0], heads, length + _SPARE_TOKENS, width))
            buffer[:rows, :, length - lengths[0] : length] = a[:, :, -lengths[0] :]
            buffer[rows:, :, length - lengths[1] : length] = b[:, :, -lengths[1] :]
            merged.append(buffer)
        self._buffers = merged
        self.keys, self.values = (buffer[..., :length, :] for buffer in merged)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Keep these rows only; an index may repeat."""
        if self._buffers:
            length = self.get_seq_length()
            self._buffers = [buffer.index_select(0, beam_idx) for buffer in self._buffers]
            self.keys, self.values = (buffer[..., :length, :] for buffer in self._buffers)


class AttentionCache(DynamicCache):
    """Key-value cache of a batch of sequences.

    Layers with full attention use preallocated memory. Others, such as those with a sliding window,
    are the ones of transformers.

    Parameters
    ----------
    config : Any
        Configuration of the model.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self.layers = [
            PreallocatedLayer() if type(layer) is DynamicLayer else layer for layer in self.layers
        ]

    @property
    def is_preallocated(self) -> bool:
        """True if every layer is preallocated, so that another batch can be merged in."""
        return all(isinstance(layer, PreallocatedLayer) for layer in self.layers)

    def merge(self, other: AttentionCache, length: int) -> None:
        """Append the sequences of another batch.

        Parameters
        ----------
        other : AttentionCache
            Cache to append.
        length : int
            Number of tokens of each sequence to keep, from its end.
        """
        for a, b in zip(self.layers, other.layers, strict=True):
            if isinstance(a, PreallocatedLayer) and isinstance(b, PreallocatedLayer):
                a.merge(b, length)
