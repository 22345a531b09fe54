"""Drawing tokens from a causal language model: a batch of prompts, each with luck of its own."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from backtalk.models.errors import ModelError
from backtalk.models.local.forward import Begin, DecodeState, pad_left
from backtalk.models.protocol import Sampling


@dataclass
class Row:
    """One completion that is being drawn."""

    prompt: tuple[int, ...]
    sampling: Sampling
    max_new_tokens: int
    """The most tokens that may be drawn: ``max_tokens``, or what the context window has left."""
    seed: int
    tokens: list[int] = field(default_factory=list)
    """What was drawn, the end-of-sequence token included."""
    log_probability: float = 0.0
    """The sum over the drawn tokens, in nats, by the model's own distribution."""
    finish: Literal["stop", "length"] | None = None
    """Why no more is drawn; ``None`` while more is."""

    @property
    def length(self) -> int:
        """How many tokens it can come to, the prompt's included."""
        return len(self.prompt) + self.max_new_tokens

    def __post_init__(self) -> None:
        self.rng = np.random.Generator(np.random.Philox(key=self.seed))


_WORTH_MOVING = 0.75
"""Rows that are finished are carried along until no more than this share is left: to leave one out
costs about as much as to compute several."""


@torch.inference_mode()
def sample(
    begin: Begin,
    rows: Sequence[Row],
    *,
    device: torch.device,
    batch_tokens: int,
    end: frozenset[int],
    complete: Callable[[Row], bool],
    cancelled: Callable[[], bool],
) -> None:
    """Draw tokens for all rows until each is finished.

    One uniform number a row and step chooses the token, by the inverse of the cumulative
    distribution. It comes from the row's own counter-based generator (Philox), so that what is
    drawn depends on the row alone and not on what else is in the batch, up to rounding in the
    model's arithmetic. Rows with the same prompt share its computation. Rows that wait take the
    places of those that are finished, where the model's cache allows it (Yu et al. 2022, "Orca: a
    distributed serving system for transformer-based generative models", section 3.1).

    Parameters
    ----------
    begin : Begin
        Makes the computation that predicts each next token.
    rows : sequence of Row
        What is to be drawn; they are filled in.
    device : torch.device
        Where it computes.
    batch_tokens : int
        How many tokens, padding included, are worked on at once.
    end : frozenset[int]
        The tokens that end a completion.
    complete : Callable[[Row], bool]
        Whether a row holds a stop text; asked after each of its tokens.
    cancelled : Callable[[], bool]
        Whether to give up; asked before each step.
    """
    waiting = deque(sorted(rows, key=lambda row: -row.length))
    batch = _Batch(begin, device)
    while not cancelled():
        if waiting and batch.takes:
            longest = max(row.length for row in (waiting[0], *batch.rows))
            width = max(batch_tokens // longest, 1)
            if len(batch.rows) <= _WORTH_MOVING * width:
                free = min(width - len(batch.rows), len(waiting))
                batch.take([waiting.popleft() for _ in range(free)])
        if not batch.rows:
            return
        batch.step(end, complete)


class _Batch:
    """The rows that are worked on, and the logits after the last token of each."""

    def __init__(self, begin: Begin, device: torch.device) -> None:
        self._begin = begin
        self._device = device
        self._forward: DecodeState | None = None
        self._logits = torch.empty(0)
        self.rows: list[Row] = []

    @property
    def takes(self) -> bool:
        """Whether further rows can be taken in."""
        return self._forward is None or self._forward.can_merge

    def take(self, rows: Sequence[Row]) -> None:
        """Take in rows: their prompts are read, each once."""
        place = {prompt: i for i, prompt in enumerate(dict.fromkeys(row.prompt for row in rows))}
        tokens, mask = pad_left(list(place), self._device)
        begun = self._begin(mask)
        logits = begun.step(tokens)
        if len(place) < len(rows):
            logits = begun.gather([place[row.prompt] for row in rows], logits)
        if self._forward is None:
            self._forward, self._logits = begun, logits
        else:
            self._forward.merge(begun)
            self._logits = torch.cat([self._logits, logits])
        self.rows = [*self.rows, *rows]

    def step(self, end: frozenset[int], complete: Callable[[Row], bool]) -> None:
        """Draw a token for each row, and leave out rows that are finished once they are many."""
        drawn = _draw_step(self.rows, self._logits)
        for row, token in zip(self.rows, drawn.tolist(), strict=True):
            if row.finish is None:
                _add(row, token, end, complete)
        going = [i for i, row in enumerate(self.rows) if row.finish is None]
        if not going or self._forward is None:
            self._forward, self.rows = None, []
            return
        if len(going) <= _WORTH_MOVING * len(self.rows):
            drawn = self._forward.gather(going, drawn)
            self.rows = [self.rows[i] for i in going]
        self._logits = self._forward.step(drawn[:, None])


def _add(row: Row, token: int, end: frozenset[int], complete: Callable[[Row], bool]) -> None:
    row.tokens.append(token)
    if token in end or complete(row):
        row.finish = "stop"
    elif len(row.tokens) >= row.max_new_tokens:
        row.finish = "length"


def _draw_step(rows: Sequence[Row], logits: torch.Tensor) -> torch.Tensor:
    lucky = [i for i, row in enumerate(rows) if row.sampling.temperature > 0]
    if len(lucky) < len(rows):
        chosen = logits.argmax(dim=-1)
    if lucky:
        drawn = sample_from_logits(
            logits if len(lucky) == len(rows) else logits[lucky],
            temperature=[rows[i].sampling.temperature for i in lucky],
            top_p=[rows[i].sampling.top_p for i in lucky],
            uniform=[rows[i].rng.random() for i in lucky],
        )
        if len(lucky) == len(rows):
            chosen = drawn
        else:
            chosen[lucky] = drawn
    of_chosen = logits.gather(1, chosen[:, None])[:, 0] - logits.logsumexp(dim=-1)
    for row, value in zip(rows, of_chosen.tolist(), strict=True):
        if row.finish is None:
            row.log_probability += value
    return chosen


def sample_from_logits(
    logits: torch.Tensor,
    *,
    temperature: Sequence[float],
    top_p: Sequence[float],
    uniform: Sequence[float],
) -> torch.Tensor:
    """Return the token that each row's uniform number points at.

    Parameters
    ----------
    logits : torch.Tensor
        Shape ``(rows, vocabulary)``.
    temperature : sequence of float
        What each row's logits are divided by, above 0.
    top_p : sequence of float
        Each row is drawn from its smallest set of tokens whose probabilities sum to this: Holtzman
        et al. (2020), "The curious case of neural text degeneration", section 3.1.
    uniform : sequence of float
        A number in [0, 1) a row.

    Raises
    ------
    ModelError
        If the logits are not numbers.
    """
    precise = torch.float32 if logits.device.type == "mps" else torch.float64

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=precise, device=logits.device)[:, None]

    weights = torch.softmax(logits.to(precise) / column(temperature), dim=-1)
    if min(top_p) < 1:
        ordered, tokens = weights.sort(dim=-1, descending=True, stable=True)
        left_out = ordered.cumsum(dim=-1) - ordered >= column(top_p)
        left_out[:, 0] = False
        weights = weights.scatter(1, tokens, ordered.masked_fill(left_out, 0.0))
    cumulative = weights.cumsum(dim=-1)
    total = cumulative[:, -1:]
    if not bool(torch.isfinite(total).all()):
        raise ModelError(
            "The model's logits are not numbers",
            "Load it with dtype='float32', or check its weights",
        )
    below = torch.nextafter(total, torch.zeros_like(total))
    target = torch.minimum(column(uniform) * total, below)
    return torch.searchsorted(cumulative, target, right=True)[:, 0]
