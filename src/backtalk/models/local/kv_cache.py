"""What a model remembers of a batch of sequences, kept in memory that has room to grow."""

from __future__ import annotations

from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

_ROOM = 64
"""How many more tokens fit before the memory is moved."""


class PreallocatedLayer(DynamicLayer):  # type: ignore[no-untyped-call]
    """The keys and values of one layer: a new token is written behind the others, in place.

    The layer of transformers copies all of them for each token.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)  # type: ignore[no-untyped-call]
        self._kept: list[torch.Tensor] = []

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *_: Any, **__: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Add the keys and values of further tokens, and return those of all."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        seen = self.get_seq_length()
        total = seen + key_states.shape[-2]
        if not self._kept or total > self._kept[0].shape[-2]:
            self._move(key_states, value_states, seen, total + _ROOM)
        for memory, states in zip(self._kept, (key_states, value_states), strict=True):
            memory[..., seen:total, :] = states
        keys, values = (memory[..., :total, :] for memory in self._kept)
        self.keys, self.values = keys, values
        return keys, values

    def _move(
        self, key_states: torch.Tensor, value_states: torch.Tensor, seen: int, room: int
    ) -> None:
        old, self._kept = self._held(), []
        for index, states in enumerate((key_states, value_states)):
            rows, heads, _, width = states.shape
            memory = states.new_empty((rows, heads, room, width))
            if seen:
                memory[..., :seen, :] = old[index]
            self._kept.append(memory)

    def _held(self) -> list[torch.Tensor]:
        """Return the keys and values of the tokens seen."""
        seen = self.get_seq_length()
        return [memory[..., :seen, :] for memory in self._kept]

    def join(self, other: PreallocatedLayer, length: int) -> None:
        """Take in the rows of another layer, both aligned at their ends."""
        seen = [min(layer.get_seq_length(), length) for layer in (self, other)]
        joined = []
        for mine, theirs in zip(self._held(), other._held(), strict=True):
            rows, heads, _, width = mine.shape
            memory = mine.new_zeros((rows + theirs.shape[0], heads, length + _ROOM, width))
            memory[:rows, :, length - seen[0] : length] = mine[:, :, -seen[0] :]
            memory[rows:, :, length - seen[1] : length] = theirs[:, :, -seen[1] :]
            joined.append(memory)
        self._kept = joined
        self.keys, self.values = (memory[..., :length, :] for memory in joined)

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Go on with these rows, which may repeat."""
        if self._kept:
            seen = self.get_seq_length()
            self._kept = [memory.index_select(0, beam_idx) for memory in self._kept]
            self.keys, self.values = (memory[..., :seen, :] for memory in self._kept)


class AttentionCache(DynamicCache):
    """What a model remembers of a batch of sequences.

    Layers that attend to all that came before are kept with room to grow; those of any other sort,
    such as a sliding window, as transformers keeps them.

    Parameters
    ----------
    config : Any
        The model's configuration.
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config=config)
        self.layers = [
            PreallocatedLayer() if type(layer) is DynamicLayer else layer for layer in self.layers
        ]

    @property
    def roomy(self) -> bool:
        """Whether every layer is kept with room, so that another batch can be taken in."""
        return all(isinstance(layer, PreallocatedLayer) for layer in self.layers)

    def join(self, other: AttentionCache, length: int) -> None:
        """Take in the sequences of another batch, of each the last ``length`` tokens."""
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            if isinstance(mine, PreallocatedLayer) and isinstance(theirs, PreallocatedLayer):
                mine.join(theirs, length)
