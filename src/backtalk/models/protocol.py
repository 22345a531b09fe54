"""What a model is: something that generates and, where it can, scores log-probabilities.

One asynchronous, batched call serves every kind of model. Callers without an event loop wrap it in
:func:`backtalk.models.run_sync.run_sync`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, JsonValue

from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.record import OMIT_EMPTY, Probability, Record, content_id


class Sampling(Record):
    """How tokens are drawn."""

    temperature: Annotated[float, Field(ge=0)] = 1.0
    """0 takes the most probable token."""
    top_p: Annotated[Probability, Field(gt=0)] = 1.0
    """Draw from the smallest set of tokens whose probabilities sum to this."""
    max_tokens: Annotated[int, Field(gt=0)] = 512
    """The most tokens of a completion. Always set, so that a budget can be kept."""
    stop: tuple[str, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Texts at which a completion ends; they are not part of it."""


class Request(Record):
    """One completion wanted."""

    messages: Prompt
    sampling: Sampling = Sampling()
    sample_index: Annotated[int, Field(ge=0)] = 0
    """Which of several completions for the same prompt this is. Part of the seed and of the cache
    key, so that sampling again is never served a copy."""
    seed: int = 0
    """Equal seeds give equal completions, where the model can."""
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """What else the model's protocol takes: ``tools``, ``response_format``."""

    @property
    def sample_seed(self) -> int:
        """The seed of this sample, in [0, 2**31): differs between samples and between seeds.

        The same for all prompts, for who wants common random numbers; see :attr:`draw_seed`.
        """
        return _seed("sample", str(self.seed), str(self.sample_index))

    @property
    def draw_seed(self) -> int:
        """The seed of this very draw, in [0, 2**31): differs between prompts too.

        What models draw tokens with, so that the luck of one prompt is not that of all others.
        """
        return _seed("draw", str(self.seed), str(self.sample_index), prompt_key(self.messages))

    @property
    def key(self) -> str:
        """The id of all that the request says: equal for equal requests only."""
        fields = json.dumps(self.to_dict(), sort_keys=True, separators=(",", ":"))
        return content_id("request", fields)


def _seed(*parts: str) -> int:
    return int(content_id(*parts)[:8], 16) >> 1


@dataclass(frozen=True, slots=True)
class Usage:
    """What generating cost, apart from money: calls, tokens and seconds."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Prompt and completion tokens together."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]


class Completion(Record):
    """What a model answered to one request."""

    text: str
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    model: str | None = None
    """The model that answered, as it calls itself."""
    log_probability: Annotated[float, Field(le=0)] | None = None
    """The summed log-probability, in nats, of the tokens that were drawn, where it was reported:
    by the model's own distribution, before temperature and top-p."""
    message: Message | None = None
    """The whole message where it is more than text: tool calls."""
    cached: bool = False
    """Whether it came from a cache; its usage is then zero."""


@runtime_checkable
class Model(Protocol):
    """Something that generates."""

    @property
    def name(self) -> str:
        """What to call it; kept as the ``model`` of the responses it wrote."""
        ...

    @property
    def identity(self) -> str:
        """Everything that decides what it answers: address, model, revision. Part of cache keys."""
        ...

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion a request, in order.

        Raises
        ------
        ModelError
            If a request fails for good. The requests in flight are answered first, and so are
            those that would not fail for the same reason; the error's ``completions`` holds the
            answers, so that a cache around the model can keep them.
        """
        ...

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use, so that a budget can reserve it."""
        ...


@runtime_checkable
class Scorer(Protocol):
    """A model that can say how probable it finds a given completion."""

    async def score(
        self, texts: Sequence[tuple[tuple[Message, ...], str]]
    ) -> list[NDArray[np.float64]]:
        """Return the log-probability, in nats, of each token of each completion.

        Parameters
        ----------
        texts : Sequence[tuple[tuple[Message, ...], str]]
            Prompts and their completions. The end-of-sequence token counts as the completion's
            last token.
        """
        ...


@runtime_checkable
class Streamer(Protocol):
    """A model that can hand over a completion while it is being written."""

    def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yield the text piece by piece, and in the end the whole completion.

        Raises
        ------
        ModelError
            As ``generate``.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """Something that turns texts into vectors."""

    @property
    def identity(self) -> str:
        """Everything that decides the vectors."""
        ...

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, of shape ``(len(texts), dimension)``."""
        ...
