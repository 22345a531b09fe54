"""Choice of the way in which a model decodes, by a trial of each against plain forward passes."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import torch
from torch import Tensor

from backtalk.models.errors import UnsupportedModel
from backtalk.models.local.forward import DecodeState, ForwardState, StartDecoding, pad_left
from backtalk.models.local.row_groups import GroupedState, RecomputedState

log = logging.getLogger(__name__)

_PROMPT_LENGTHS = (7, 4, 7, 5)
_STEPS = 3
_STRIDE = 7919
"""Prime number between the tokens of the trial, so that they come from the whole vocabulary."""


@dataclass(frozen=True)
class Decoding:
    """Way of decoding of a model."""

    name: str
    """Description, such as ``"with a cache"``."""
    start: StartDecoding
    """Makes the decoding state of a batch."""
    padded: bool
    """True if rows of different length are padded to one batch."""
    difference: float
    """Largest difference of log-probabilities from plain forward passes in the trial, in nats."""


def choose_decoding(model: Any) -> Decoding:
    """Return the fastest way of decoding that gives the log-probabilities of plain forward passes.

    A few sequences are computed by forward passes of one row without cache and padding, which is
    what transformers computes for a text, and then prompt first and token by token, in a batch of
    which rows are repeated, removed and added. The ways are, in this order: with a cache and
    padding; with a cache, rows of different length apart; without a cache, all tokens at each step.

    Parameters
    ----------
    model : Any
        Causal model of transformers.

    Raises
    ------
    UnsupportedModel
        If the predictions for a token depend on later ones, or if no way agrees.
    """
    training = model.training
    model.eval()
    try:
        return _choose(model)
    finally:
        model.train(training)


def _choose(model: Any) -> Decoding:
    name = type(model).__name__
    try:
        trial = _Trial(model)
    except Exception as error:
        raise UnsupportedModel(
            f"{name} cannot answer: a forward pass of tokens fails with {_one_line(error)}",
            "Use a causal language model that transformers runs on token ids alone",
        ) from error
    if trial.lookahead > trial.limit:
        raise UnsupportedModel(
            f"{name} cannot answer: its predictions depend on later tokens (log-probabilities "
            f"differ by {trial.lookahead:.2g} nats), so that it is not a causal language model",
            "Use a causal language model; for an encoder, is_decoder of its configuration is true",
        )
    failures: list[str] = []
    for way, padded, start in _ways(model):
        failure, difference = trial.run(start)
        if failure is None:
            if failures:
                log.warning("%s decodes %s. Tried first: %s", name, way, failures[0])
            else:
                log.info("%s decodes %s", name, way)
            return Decoding(way, start, padded, difference)
        failures.append(f"{way}, {failure}")
    raise UnsupportedModel(
        f"{name} cannot answer: no way of decoding gives the log-probabilities of its own forward "
        f"pass ({'; '.join(failures)})",
        "Use another model, or another version of transformers",
    )


def _ways(model: Any) -> list[tuple[str, bool, StartDecoding]]:
    """Return the ways of decoding, with true for those that pad."""
    cached = {
        "with a cache": partial(ForwardState, model),
        "with the model's own cache": partial(ForwardState, model, own_cache=True),
    }
    unpadded = {name: partial(start, padded=False) for name, start in cached.items()}
    return [
        *((name, True, start) for name, start in cached.items()),
        *(
            (f"{name}, without padding", False, partial(GroupedState, start))
            for name, start in unpadded.items()
        ),
        *(
            (f"{name}, one row at a time", False, partial(GroupedState, start, single=True))
            for name, start in unpadded.items()
        ),
        ("without a cache", False, partial(GroupedState, partial(RecomputedState, model))),
    ]


class _Trial:
    """Sequences, and their log-probabilities by plain forward passes."""

    @torch.inference_mode()
    def __init__(self, model: Any) -> None:
        self._device = model.device
        self._rows = trial_rows(model, [length + _STEPS for length in _PROMPT_LENGTHS])
        self._exact = model.dtype in {torch.float32, torch.float64}
        self._expected = [self._plain(model, row) for row in self._rows]
        # How far rounding alone goes: a text of another length is computed by other kernels.
        shorter = self._plain(model, self._rows[0][: _PROMPT_LENGTHS[0]])
        longer = self._expected[0][: _PROMPT_LENGTHS[0]]
        self.lookahead = _difference(shorter, longer, exact=self._exact)
        self.limit = 1e-3 if self._exact else 1.0
        self._tolerance = 1e-3 if self._exact else max(0.1, 4 * self.lookahead)

    def _plain(self, model: Any, row: Sequence[int]) -> Tensor:
        ids = torch.tensor([row], device=self._device)
        logits: Tensor = model(input_ids=ids, use_cache=False).logits[0]
        return logits.float().log_softmax(dim=-1)

    @torch.inference_mode()
    def run(self, start: StartDecoding) -> tuple[str | None, float]:
        """Return what is wrong, ``None`` if nothing is, and the largest difference.

        Parameters
        ----------
        start : StartDecoding
            Way of decoding.
        """
        try:
            difference = self._differ(start)
        except Exception as error:  # noqa: BLE001 - models fail in many ways
            return f"it fails: {_one_line(error)}", torch.inf
        if difference <= self._tolerance:
            return None, difference
        return f"log-probabilities differ by {difference:.2g} nats", difference

    def _differ(self, start: StartDecoding) -> float:
        differences: list[float] = []
        rows = [1, 2, 0, 2]
        state, logits = self._prompts(start, [0, 1, 2])
        logits = state.gather(rows, logits)
        positions = [_PROMPT_LENGTHS[row] for row in rows]
        for step in range(_STEPS):
            for values, row, position in zip(logits, rows, positions, strict=True):
                expected = self._expected[row][position - 1]
                differences.append(self._distance(values, expected))
            if step == 1:
                remaining = [i for i in range(len(rows)) if i != 1]
                state.gather(remaining, logits)
                rows, positions = ([part[i] for i in remaining] for part in (rows, positions))
            next_tokens = [
                self._rows[row][position] for row, position in zip(rows, positions, strict=True)
            ]
            logits = state.step(torch.tensor(next_tokens, device=self._device)[:, None])
            positions = [position + 1 for position in positions]
            if step == 0 and state.can_merge:
                other, further = self._prompts(start, [3])
                state.merge(other)
                logits = torch.cat([logits, further])
                rows, positions = [*rows, 3], [*positions, _PROMPT_LENGTHS[3]]
        several = start(pad_left(self._rows[:2], self._device)[1])
        values = several.logits(pad_left(self._rows[:2], self._device)[0], last=_STEPS)
        for row in (0, 1):
            expected = self._expected[row][-_STEPS:]
            differences.append(self._distance(values[row], expected))
        return max(differences)

    def _distance(self, logits: Tensor, expected: Tensor) -> float:
        return _difference(logits.log_softmax(dim=-1), expected, exact=self._exact)

    def _prompts(self, start: StartDecoding, rows: Sequence[int]) -> tuple[DecodeState, Tensor]:
        prompts = [self._rows[row][: _PROMPT_LENGTHS[row]] for row in rows]
        tokens, mask = pad_left(prompts, self._device)
        state = start(mask)
        return state, state.step(tokens)


def trial_rows(model: Any, lengths: Sequence[int]) -> list[list[int]]:
    """Return rows of ordinary tokens, none of them special, for trials of a model.

    Parameters
    ----------
    model : Any
        Causal model of transformers.
    lengths : sequence of int
        Number of tokens of each row.
    """
    size = int(model.config.get_text_config().vocab_size)
    generation = getattr(model, "generation_config", None)
    special = {0, *_token_ids(model.config), *_token_ids(generation)}
    ordinary = [i for i in range(size) if i not in special] or [0]
    indices = count(1)
    return [
        [ordinary[next(indices) * _STRIDE % len(ordinary)] for _ in range(length)]
        for length in lengths
    ]


def _token_ids(config: Any) -> set[int]:
    """Return the ids of special tokens that a configuration names."""
    values = {} if config is None else config.to_dict()
    named = [value for name, value in values.items() if re.search(r"token_(id|index)$", name)]
    return {i for value in named for i in (value if isinstance(value, list) else [value]) if i}


def _differences(values: Tensor, expected: Tensor) -> Tensor:
    """Return the absolute differences; values that are no numbers in both are equal."""
    difference = (values - expected).abs()
    difference[(values == expected) | (values.isnan() & expected.isnan())] = 0
    return difference.nan_to_num(nan=torch.inf)


def _difference(values: Tensor, expected: Tensor, *, exact: bool) -> float:
    """Return the largest difference of log-probabilities; of the mean over tokens unless exact.

    In short number formats, rounding changes those of very improbable tokens by whole nats.
    """
    difference = _differences(values, expected)
    if exact:
        return float(difference.max())
    weighted = torch.where(difference > 0, difference * expected.exp(), 0.0)
    return float(weighted.sum(dim=-1).max())


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
