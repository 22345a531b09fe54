"""Predicting tokens with several causal models at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from backtalk.errors import BacktalkError
from backtalk.models.local.engine import Engine
from backtalk.models.local.forward import DecodeState


class MixtureEngine(Engine):
    """Engines with one tokenizer that predict together; see :class:`~backtalk.models.Mixture`.

    Parameters
    ----------
    engines : sequence of Engine
        What is mixed.
    weights : sequence of float
        The power of each one's probabilities.
    name : str
        What to call them in errors.

    Raises
    ------
    BacktalkError
        If their tokenizers differ.
    """

    def __init__(self, engines: Sequence[Engine], weights: Sequence[float], *, name: str) -> None:
        first = engines[0]
        if any(not _same_tokens(first, engine) for engine in engines[1:]):
            raise BacktalkError(
                f"The models of the mixture {name!r} do not have the same tokenizer",
                "Mix policies that were trained from one model: tokens can only be drawn from "
                "models that know the same ones",
            )
        super().__init__(first.model, first.tokenizer, identity=name)
        windows = [engine.context_length for engine in engines if engine.context_length is not None]
        self.context_length = min(windows, default=None)
        self._engines = tuple(engines)
        self._weights = tuple(weights)

    def begin(self, mask: torch.Tensor) -> DecodeState:
        """Return what predicts the tokens of a batch of sequences, by all models."""
        return _MixtureState([engine.begin(mask) for engine in self._engines], self._weights)


def _same_tokens(one: Engine, other: Engine) -> bool:
    return (
        one.eos_token_ids == other.eos_token_ids
        and one.model.config.get_text_config().vocab_size
        == other.model.config.get_text_config().vocab_size
        and one.tokenizer.get_vocab() == other.tokenizer.get_vocab()
    )


class _MixtureState:
    """The computations of several models, whose logits are mixed."""

    def __init__(self, parts: Sequence[DecodeState], weights: Sequence[float]) -> None:
        self._parts = tuple(parts)
        self._weights = tuple(weights)

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        return self._mixed([part.step(tokens) for part in self._parts])

    def logits(self, tokens: torch.Tensor, *, last: int) -> torch.Tensor:
        return self._mixed([part.logits(tokens, last=last) for part in self._parts])

    @property
    def can_merge(self) -> bool:
        return all(part.can_merge for part in self._parts)

    def merge(self, other: _MixtureState) -> None:
        for mine, theirs in zip(self._parts, other._parts, strict=True):
            mine.merge(theirs)

    def gather(self, rows: Sequence[int], values: torch.Tensor) -> torch.Tensor:
        for part in self._parts:
            selected = part.gather(rows, values)
        return selected

    def _mixed(self, logits: Sequence[torch.Tensor]) -> torch.Tensor:
        known = [each.log_softmax(dim=-1) for each in logits]
        mixed = sum(
            (each * weight for each, weight in zip(known, self._weights, strict=True)),
            torch.zeros_like(known[0]),
        )
        excluded = torch.stack([each.isneginf() for each in known]).any(dim=0)
        return mixed.masked_fill(excluded, -torch.inf)
