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
_STEPS = 2
"""Lengths of the prompts of the trial, and number of further tokens."""
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
    """Difference of log-probabilities from plain forward passes in the trial, in nats: the largest
    one, or the mean over tokens in a number format shorter than float32."""


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
        ("with a recurrent state", True, partial(ForwardState, model, masks_past=False)),
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
        self._exact = model.dtype in {torch.float32, torch.float64}
        lengths = [max(_PROMPT_LENGTHS) + _STEPS] * len(_PROMPT_LENGTHS)
        self._rows = torch.tensor(trial_rows(model, lengths), device=model.device)
        # The first row alone and without its end must predict the same as the batch of whole rows.
        alone = _plain(model, self._rows[:1, : _PROMPT_LENGTHS[0]])
        self._expected = _plain(model, self._rows)
        self.lookahead = self._distance(alone, self._expected[:1, : _PROMPT_LENGTHS[0]])
        # Other devices than a CPU may multiply in shorter formats inside float32.
        on_cpu = model.device.type == "cpu"
        self.limit = 1.0 if not self._exact else 5e-3 if on_cpu else 2e-2
        if self.lookahead > self.limit:  # perhaps it is the batch, which the model does not support
            self._expected = torch.cat([_plain(model, row[None]) for row in self._rows])
            self.lookahead = self._distance(alone, self._expected[:1, : _PROMPT_LENGTHS[0]])
        self._tolerance = max(1e-3 if self._exact else 0.2, 4 * self.lookahead)

    @torch.inference_mode()
    def run(self, start: StartDecoding) -> tuple[str | None, float]:
        """Return what is wrong, ``None`` if nothing is, and the difference.

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
        compared: list[tuple[Tensor, Tensor]] = []
        state, logits = self._prompts(start, [0, 1, 2], compared)
        rows = [1, 2, 0, 2]
        state.gather(rows, logits)
        positions = [_PROMPT_LENGTHS[row] for row in rows]
        for step in range(_STEPS):
            if step and state.can_merge:
                state.merge(self._prompts(start, [3], compared)[0])
                rows, positions = [*rows, 3], [*positions, _PROMPT_LENGTHS[3]]
            if step:
                remaining = [i for i in range(len(rows)) if i != 1]
                state.gather(remaining, self._rows[rows])
                rows, positions = ([part[i] for i in remaining] for part in (rows, positions))
            logits = state.step(self._rows[rows, positions][:, None])
            compared.append((logits, self._expected[rows, positions]))
            positions = [position + 1 for position in positions]
        logits = torch.cat([logits for logits, _ in compared]).log_softmax(dim=-1)
        return self._distance(logits, torch.cat([expected for _, expected in compared]))

    def _prompts(
        self, start: StartDecoding, rows: Sequence[int], compared: list[tuple[Tensor, Tensor]]
    ) -> tuple[DecodeState, Tensor]:
        """Compute prompts, and note the logits after their last two tokens."""
        prompts = [self._rows[row, : _PROMPT_LENGTHS[row]].tolist() for row in rows]
        tokens, mask = pad_left(prompts, self._rows.device)
        state = start(mask)
        logits = state.logits(tokens, last=2)
        for back in (2, 1):
            positions = [_PROMPT_LENGTHS[row] - back for row in rows]
            compared.append((logits[:, -back], self._expected[rows, positions]))
        return state, logits

    def _distance(self, values: Tensor, expected: Tensor) -> float:
        """Return the largest difference; in short number formats, the mean difference.

        There, rounding alone changes log-probabilities of improbable tokens by whole nats.
        """
        difference = (values - expected).abs()
        difference[(values == expected) | (values.isnan() & expected.isnan())] = 0
        difference = difference.nan_to_num(nan=torch.inf)
        if self._exact:
            return float(difference.max())
        weighted = torch.where(difference > 0, difference * expected.exp(), 0.0)
        return float(weighted.sum(dim=-1).mean())


def _plain(model: Any, rows: Tensor) -> Tensor:
    """Return the log-probabilities of a forward pass of rows of one length."""
    logits: Tensor = model(input_ids=rows, use_cache=False).logits
    return logits.float().log_softmax(dim=-1)


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


def _one_line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"
