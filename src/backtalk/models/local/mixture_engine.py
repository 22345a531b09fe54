"""Decoding with several causal models at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch

from backtalk.errors import BacktalkError
from backtalk.models.local.decoding import Decoding
from backtalk.models.local.engine import Engine
from backtalk.models.local.forward import DecodeState


class MixtureEngine(Engine):
    """Geometric mixture of engines with one tokenizer; see :class:`~backtalk.models.Mixture`.

    Parameters
    ----------
    engines : sequence of Engine
        Engines to mix.
    weights : sequence of float
        Exponent of each engine's probabilities.
    name : str
        Name of the mixture, for error messages.

    Raises
    ------
    BacktalkError
        If the tokenizers differ.
    """

    def __init__(self, engines: Sequence[Engine], weights: Sequence[float], *, name: str) -> None:
        first = engines[0]
        if any(not _same_tokens(first, engine) for engine in engines[1:]):
            raise BacktalkError(
                f"The models of the mixture {name!r} do not have the same tokenizer",
                "Mix policies that were trained from the same model",
            )
        super().__init__(first.model, first.tokenizer, identity=name)
        lengths = [engine.context_length for engine in engines if engine.context_length is not None]
        self.context_length = min(lengths, default=None)
        self._engines = tuple(engines)
        self._weights = tuple(weights)

    @cached_property
    def decoding(self) -> Decoding:
        """Ways of decoding of all models."""
        ways = [engine.decoding for engine in self._engines]
        return Decoding(
            ", ".join(dict.fromkeys(way.name for way in ways)),
            lambda mask: _MixtureState([way.start(mask) for way in ways], self._weights),
            padded=all(way.padded for way in ways),
            difference=max(way.difference for way in ways),
        )


def _same_tokens(a: Engine, b: Engine) -> bool:
    return (
        a.eos_token_ids == b.eos_token_ids
        and a.model.config.get_text_config().vocab_size
        == b.model.config.get_text_config().vocab_size
        and a.tokenizer.get_vocab() == b.tokenizer.get_vocab()
    )


class _MixtureState:
    """Decoding states of several models, whose logits are mixed."""

    def __init__(self, states: Sequence[DecodeState], weights: Sequence[float]) -> None:
        self._states = tuple(states)
        self._weights = tuple(weights)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._mix([state.step(tokens) for state in self._states])

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        return self._mix([state.logits(tokens, last=last) for state in self._states])

    @property
    def can_merge(self) -> bool:
        return all(state.can_merge for state in self._states)

    def merge(self, other: _MixtureState) -> None:
        for a, b in zip(self._states, other._states, strict=True):
            a.merge(b)

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        for state in self._states:
            selected = state.gather(rows, values)
        return selected

    def _mix(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        log_probs = [values.log_softmax(dim=-1) for values in logits]
        mixed = sum(
            (values * weight for values, weight in zip(log_probs, self._weights, strict=True)),
            torch.zeros_like(log_probs[0]),
        )
        excluded = torch.stack([values.isneginf() for values in log_probs]).any(dim=0)
        return mixed.masked_fill(excluded, -torch.inf)
