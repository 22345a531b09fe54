"""Batched sampling from a causal language model, with one random generator per sequence."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

from backtalk.models.errors import ModelError
from backtalk.models.local.forward import DecodeState, StartDecoding, pad_left
from backtalk.models.protocol import Sampling


@dataclass
class SequenceState:
    """Completion that is being sampled."""

    prompt: tuple[int, ...]
    """Tokens of the prompt."""
    sampling: Sampling
    max_new_tokens: int
    """Maximum number of tokens to sample: ``max_tokens``, or the rest of the context window."""
    seed: int
    tokens: list[int] = field(default_factory=list)
    """Tokens sampled so far, with the end-of-sequence token."""
    log_probability: float = 0.0
    """Sum over the sampled tokens, in nats, by the model's own distribution."""
    finish_reason: Literal["stop", "length"] | None = None
    """Reason for the end of sampling; ``None`` while it goes on."""
    on_token: Callable[[SequenceState], bool] | None = None
    """Called after each token; returns false if nobody wants further ones."""

    @property
    def max_length(self) -> int:
        """Maximum number of tokens, with the prompt's."""
        return len(self.prompt) + self.max_new_tokens

    def __post_init__(self) -> None:
        self.rng = np.random.Generator(np.random.Philox(key=self.seed))


_COMPACTION_SHARE = 0.75
"""Share of unfinished sequences at which finished ones are removed from the batch. Removing one
costs about as much as computing several further steps for it."""


@torch.inference_mode()
def sample(
    start: StartDecoding,
    sequences: Sequence[SequenceState],
    *,
    device: torch.device,
    batch_tokens: int,
    eos_token_ids: frozenset[int],
    contains_stop: Callable[[SequenceState], bool],
    cancelled: Callable[[], bool],
) -> None:
    """Sample tokens for all sequences until each is finished.

    One uniform number per sequence and step selects the token, by the inverse of the cumulative
    distribution. It comes from the sequence's own counter-based generator (Philox), so that the
    tokens depend on the sequence alone and not on the rest of the batch, up to rounding in the
    model's arithmetic. Sequences with the same prompt share its computation. Waiting sequences take
    the places of finished ones if the model's cache allows it (Yu et al. 2022, "Orca: a distributed
    serving system for transformer-based generative models", section 3.1).

    Parameters
    ----------
    start : StartDecoding
        Makes the decoding state.
    sequences : sequence of SequenceState
        Sequences to sample; they are modified in place.
    device : torch.device
        Device of the model.
    batch_tokens : int
        Maximum number of tokens in a batch, with padding.
    eos_token_ids : frozenset[int]
        Tokens that end a completion.
    contains_stop : Callable[[SequenceState], bool]
        Returns true if a sequence contains a stop text; called after each of its tokens.
    cancelled : Callable[[], bool]
        Returns true to stop early; called before each step.
    """
    waiting = deque(sorted(sequences, key=lambda sequence: -sequence.max_length))
    batch = _DecodingBatch(start, device)
    while not cancelled():
        if waiting and batch.can_add:
            longest = max(sequence.max_length for sequence in (waiting[0], *batch.sequences))
            width = max(batch_tokens // longest, 1)
            if len(batch.sequences) <= _COMPACTION_SHARE * width:
                free = min(width - len(batch.sequences), len(waiting))
                batch.add([waiting.popleft() for _ in range(free)])
        if not batch.sequences:
            return
        batch.step(eos_token_ids, contains_stop)


class _DecodingBatch:
    """Sequences in progress, and the logits after the last token of each."""

    def __init__(self, start: StartDecoding, device: torch.device) -> None:
        self._start = start
        self._device = device
        self._state: DecodeState | None = None
        self._logits = torch.empty(0)
        self.sequences: list[SequenceState] = []

    @property
    def can_add(self) -> bool:
        """True if further sequences can be added."""
        return self._state is None or self._state.can_merge

    def add(self, sequences: Sequence[SequenceState]) -> None:
        """Add sequences; each distinct prompt is computed once."""
        prompts = dict.fromkeys(sequence.prompt for sequence in sequences)
        rows = {prompt: row for row, prompt in enumerate(prompts)}
        tokens, mask = pad_left(list(rows), self._device)
        state = self._start(mask)
        logits = state.step(tokens)
        if len(rows) < len(sequences):
            logits = state.gather([rows[sequence.prompt] for sequence in sequences], logits)
        if self._state is None:
            self._state, self._logits = state, logits
        else:
            self._state.merge(state)
            self._logits = torch.cat([self._logits, logits])
        self.sequences = [*self.sequences, *sequences]

    def step(
        self, eos_token_ids: frozenset[int], contains_stop: Callable[[SequenceState], bool]
    ) -> None:
        """Sample a token for each sequence, and remove finished sequences once they are many."""
        tokens = _sample_step(self.sequences, self._logits)
        for sequence, token in zip(self.sequences, tokens.tolist(), strict=True):
            if sequence.finish_reason is None:
                _append(sequence, token, eos_token_ids, contains_stop)
        unfinished = [i for i, seq in enumerate(self.sequences) if seq.finish_reason is None]
        if not unfinished or self._state is None:
            self._state, self.sequences = None, []
            return
        if len(unfinished) <= _COMPACTION_SHARE * len(self.sequences):
            tokens = self._state.gather(unfinished, tokens)
            self.sequences = [self.sequences[i] for i in unfinished]
        self._logits = self._state.step(tokens[:, None])


def _append(
    sequence: SequenceState,
    token: int,
    eos_token_ids: frozenset[int],
    contains_stop: Callable[[SequenceState], bool],
) -> None:
    sequence.tokens.append(token)
    if token in eos_token_ids or contains_stop(sequence):
        sequence.finish_reason = "stop"
    elif len(sequence.tokens) >= sequence.max_new_tokens:
        sequence.finish_reason = "length"
    if sequence.on_token is not None and not sequence.on_token(sequence):
        sequence.finish_reason = sequence.finish_reason or "length"


def _sample_step(sequences: Sequence[SequenceState], logits: torch.Tensor) -> torch.Tensor:
    random = [i for i, sequence in enumerate(sequences) if sequence.sampling.local_temperature > 0]
    if len(random) < len(sequences):
        tokens = logits.argmax(dim=-1)
    if random:
        sampled = sample_from_logits(
            logits if len(random) == len(sequences) else logits[random],
            temperature=[sequences[i].sampling.local_temperature for i in random],
            top_p=[sequences[i].sampling.local_top_p for i in random],
            uniform=[sequences[i].rng.random() for i in random],
        )
        if len(random) == len(sequences):
            tokens = sampled
        else:
            tokens[random] = sampled
    log_probs = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(dim=-1)
    for sequence, value in zip(sequences, log_probs.tolist(), strict=True):
        if sequence.finish_reason is None:
            sequence.log_probability += value
    return tokens


def sample_from_logits(
    logits: torch.Tensor,
    *,
    temperature: Sequence[float],
    top_p: Sequence[float],
    uniform: Sequence[float],
) -> torch.Tensor:
    """Return the token that each row's uniform number selects, shape ``(rows,)``.

    Parameters
    ----------
    logits : torch.Tensor
        Shape ``(rows, vocabulary)``.
    temperature : sequence of float
        Divisor of each row's logits, above 0.
    top_p : sequence of float
        Nucleus size of each row: the token comes from the smallest set of tokens whose
        probabilities sum to this. Holtzman et al. (2020), "The curious case of neural text
        degeneration", section 3.1.
    uniform : sequence of float
        Uniform random number of each row, in [0, 1).

    Raises
    ------
    ModelError
        If the logits are not finite numbers.
    """
    dtype = torch.float32 if logits.device.type == "mps" else torch.float64

    def column(values: Sequence[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=dtype, device=logits.device)[:, None]

    probabilities = torch.softmax(logits.to(dtype) / column(temperature), dim=-1)
    if min(top_p) < 1:
        ordered, tokens = probabilities.sort(dim=-1, descending=True, stable=True)
        excluded = ordered.cumsum(dim=-1) - ordered >= column(top_p)
        excluded[:, 0] = False
        probabilities = probabilities.scatter(1, tokens, ordered.masked_fill(excluded, 0.0))
    cumulative = probabilities.cumsum(dim=-1)
    total = cumulative[:, -1:]
    if not bool(torch.isfinite(total).all()):
        raise ModelError(
            "The model's logits are not numbers",
            "Load the model with dtype='float32', or check its weights",
        )
    below_total = torch.nextafter(total, torch.zeros_like(total))
    target = torch.minimum(column(uniform) * total, below_total)
    return torch.searchsorted(cumulative, target, right=True)[:, 0]
