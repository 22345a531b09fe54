"""Decoding states of models that do not support padding, or that have no usable cache."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Self

import torch

from backtalk.models.local.forward import ForwardState


class RecomputedState:
    """Decoding state of a model without a cache: every step computes all tokens again.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    mask : torch.Tensor
        Mask of the prompts, shape ``(n, length)``, without padding.
    """

    def __init__(self, model: Any, mask: torch.Tensor) -> None:
        self._model = model
        self._keeps_logits = "logits_to_keep" in inspect.signature(model.forward).parameters
        self._tokens = mask.new_empty((len(mask), 0))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the float32 logits after more tokens, shape ``(n, vocabulary)``."""
        return self.logits(tokens, last=1)[:, -1]

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        """Return the logits after the last tokens, shape ``(n, last, vocabulary)``."""
        self._tokens = torch.cat([self._tokens, tokens], dim=1)
        options = {"logits_to_keep": last} if self._keeps_logits else {}
        output = self._model(input_ids=self._tokens, use_cache=False, **options)
        logits: torch.Tensor = output.logits[:, -last:]
        return logits.float()

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        """Keep these rows only; an index may repeat. Return the same rows of ``values``."""
        index = torch.tensor(rows, device=values.device)
        self._tokens = self._tokens[index]
        return values[index]

    def copy(self) -> Self:
        """Return a state of its own for the same sequences."""
        return copy.copy(self)


_RowsState = ForwardState | RecomputedState


class GroupedState:
    """Decoding state of a model that does not support padding: rows of one length go together.

    Parameters
    ----------
    start : Callable
        Makes the decoding state of rows of the same length.
    mask : torch.Tensor
        Mask of the prompts, shape ``(n, length)``: 1 for a token, 0 for padding on the left.
    single : bool, default False
        If true, each row is alone.
    """

    def __init__(
        self, start: Callable[..., _RowsState], mask: torch.Tensor, *, single: bool = False
    ) -> None:
        lengths = mask.sum(dim=1).tolist()
        self._single = single
        self._started = False
        self._groups: list[tuple[_RowsState, int, list[int]]] = []
        for length in sorted(set(lengths)):
            rows = [row for row, other in enumerate(lengths) if other == length]
            for group in [[row] for row in rows] if single else [rows]:
                self._groups.append((start(mask[group, -length:]), length, group))

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the float32 logits after more tokens, shape ``(n, vocabulary)``."""
        return self.logits(tokens, last=1)[:, -1]

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        """Return the logits after the last tokens, shape ``(n, last, vocabulary)``.

        The logits before the first token of a row, where there are such, are 0.
        """
        parts = []
        for state, length, rows in self._groups:
            new = tokens[rows] if self._started else tokens[rows, -length:]
            logits = state.logits(new, last=last)
            parts.append(torch.nn.functional.pad(logits, (0, 0, last - logits.shape[1], 0)))
        self._started = True
        order = [row for _, _, rows in self._groups for row in rows]
        logits = torch.cat(parts)
        result = torch.empty_like(logits)
        result[order] = logits
        return result

    @property
    def can_merge(self) -> bool:
        """True: further groups can always be added."""
        return True

    def merge(self, other: GroupedState) -> None:
        """Append the sequences of another batch that has computed its prompts, too."""
        count = sum(len(rows) for _, _, rows in self._groups)
        self._groups += [
            (state, length, [count + row for row in rows]) for state, length, rows in other._groups
        ]

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        """Keep these rows only; an index may repeat. Return the same rows of ``values``."""
        groups: list[tuple[_RowsState, int, list[int]]] = []
        for state, length, members in self._groups:
            places = {row: place for place, row in enumerate(members)}
            new = [i for i, row in enumerate(rows) if row in places]
            if self._single:
                copies = [state, *(state.copy() for _ in new[1:])]
                groups += [(copied, length, [i]) for copied, i in zip(copies, new, strict=False)]
            elif new:
                state.gather([places[rows[i]] for i in new], values)
                groups.append((state, length, new))
        self._groups = groups
        return values[torch.tensor(rows, device=values.device)]
