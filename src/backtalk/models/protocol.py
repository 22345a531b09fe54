"""Protocols of models and embedders, with the requests and completions that they exchange.

One asynchronous, batched call serves every kind of model. Callers without an event loop use
:func:`backtalk.models.run_sync.run_sync`.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, JsonValue, model_validator

# Before Python 3.12, isinstance with a protocol of typing reads every property, so that a check of
# a local model would load its weights.
from typing_extensions import Protocol, runtime_checkable

from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.record import OMIT_EMPTY, OptionalField, Probability, Record, content_id
from backtalk.feedback.requests import request_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PromptResponse = tuple[tuple[Message, ...], str]
"""A prompt and the text of one response to it."""


DEFAULT_MAX_TOKENS = 512
"""Maximum number of tokens of a completion of a model in this process, if no other is set."""


class Sampling(Record):
    """Sampling parameters. An endpoint receives those that are set, and no others."""

    temperature: OptionalField[Annotated[float, Field(ge=0)]] = None
    """Divisor of the logits, from 0; 0 selects the most probable token. Default: the server's for
    an endpoint, 1 for a model in this process."""
    top_p: OptionalField[Annotated[Probability, Field(gt=0)]] = None
    """Nucleus size, in (0, 1]: sample from the smallest set of tokens whose probabilities sum to
    this. Default: the server's for an endpoint, 1 for a model in this process."""
    max_tokens: OptionalField[Annotated[int, Field(gt=0)]] = None
    """Maximum number of tokens of a completion. Default: the server's for an endpoint, 512 for a
    model in this process. Required for an endpoint in a run that limits tokens or money."""
    stop: tuple[str, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Texts that end a completion; they are not part of it."""

    @property
    def local_temperature(self) -> float:
        """Temperature for a model in this process."""
        return 1.0 if self.temperature is None else self.temperature

    @property
    def local_top_p(self) -> float:
        """Nucleus size for a model in this process."""
        return 1.0 if self.top_p is None else self.top_p

    @property
    def local_max_tokens(self) -> int:
        """Maximum number of tokens of a completion of a model in this process."""
        return DEFAULT_MAX_TOKENS if self.max_tokens is None else self.max_tokens


class Request(Record):
    """Request for one completion."""

    messages: Prompt
    sampling: Sampling = Sampling()
    sample_index: Annotated[int, Field(ge=0)] = 0
    """Index among several completions of the same prompt. Part of the seed and of the cache key,
    so that a further sample is never a copy from the cache."""
    seed: int = 0
    """Random seed: equal seeds give equal completions, if the model supports it."""
    options: dict[str, JsonValue] = Field(default_factory=dict, exclude_if=OMIT_EMPTY)
    """Further parameters of the model's protocol, such as ``tools`` or ``response_format``. The
    settings of the prompt's own request, see :mod:`backtalk.feedback.requests`, are among them."""

    @model_validator(mode="before")
    @classmethod
    def _add_settings(cls, data: Any) -> Any:
        messages = data.get("messages") if isinstance(data, dict) else None
        if not isinstance(messages, tuple | list):
            return data
        settings = request_of([one for one in messages if isinstance(one, Message)])
        if not settings:
            return data
        return {**data, "options": {**settings, **(data.get("options") or {})}}

    @property
    def sample_seed(self) -> int:
        """Seed of this sample index, in [0, 2**31).

        It is the same for all prompts, for use as common random numbers; see :attr:`draw_seed`.
        """
        return _seed("sample", str(self.seed), str(self.sample_index))

    @property
    def draw_seed(self) -> int:
        """Seed of this sample index and prompt, in [0, 2**31).

        Models sample with it, so that completions of different prompts are independent.
        """
        return _seed("draw", str(self.seed), str(self.sample_index), prompt_key(self.messages))

    @property
    def key(self) -> str:
        """Content id of all fields: equal for equal requests only."""
        fields = self.to_dict()
        # Caches and recordings of earlier versions have keys with the field's earlier name.
        fields["sample"] = fields.pop("sample_index")
        return content_id("request", json.dumps(fields, sort_keys=True, separators=(",", ":")))


def _seed(*parts: str) -> int:
    return int(content_id(*parts)[:8], 16) >> 1


@dataclass(frozen=True, slots=True)
class Usage:
    """Calls, tokens and seconds used by requests."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    seconds: float = 0.0

    @property
    def tokens(self) -> int:
        """Number of prompt and completion tokens."""
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.calls + other.calls,
            self.prompt_tokens + other.prompt_tokens,
            self.completion_tokens + other.completion_tokens,
            self.seconds + other.seconds,
        )


FinishReason = Literal["stop", "length", "tool_calls", "content_filter"]
"""Reason for the end of a completion, as in the OpenAI protocol."""


class TokenAlternatives(Record):
    """Token of a completion, and the most likely tokens in its place."""

    text: str
    alternatives: dict[str, float]
    """Log-probability, in nats, of each of the most likely tokens."""


class Completion(Record):
    """Answer of a model to one request."""

    text: str
    finish_reason: FinishReason = "stop"
    usage: Usage = Usage()
    model: str | None = None
    """Name of the model that answered, as it reports it."""
    log_probability: Annotated[float, Field(le=0)] | None = None
    """Sum over the sampled tokens, in nats, by the model's own distribution, before temperature and
    top-p; ``None`` if it was not reported."""
    message: Message | None = None
    """Complete message, if it is more than text: tool calls."""
    reasoning: OptionalField[str] = None
    """Reasoning before the answer, apart from the text; ``None`` if the server reports none."""
    tokens: OptionalField[tuple[TokenAlternatives, ...]] = None
    """Tokens with their alternatives, if the request has the option ``top_logprobs``, and the
    endpoint reports them."""
    cached: bool = False
    """True if the completion came from a cache; its usage is then zero."""
    original_usage: OptionalField[Usage] = None
    """Usage of the call that a cached completion came from."""

    @property
    def messages(self) -> tuple[Message, ...]:
        """Messages of the answer; empty if it is its text."""
        return () if self.message is None else (self.message,)

    @property
    def generation_usage(self) -> Usage:
        """Usage of the call that generated the completion, now or before it was cached."""
        return self.original_usage or self.usage


@runtime_checkable
class Model(Protocol):
    """Model that generates completions."""

    @property
    def name(self) -> str:
        """Name of the model, stored as the ``model`` of its responses."""
        ...

    @property
    def identity(self) -> str:
        """Everything that determines the answers: address, model, revision. Part of cache keys."""
        ...

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion per request, in order.

        Raises
        ------
        ModelError
            If a request fails permanently. Requests in flight, and those that would not fail for
            the same reason, are answered first. The error's ``completions`` holds the answers, so
            that a cache around the model can store them.
        """
        ...

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request, which a budget reserves before the call.

        Raises
        ------
        UnlimitedAnswer
            If the number of tokens of the answer has no limit.
        """
        ...


@runtime_checkable
class Checkable(Protocol):
    """Model that can tell, before a call that costs, that it cannot answer."""

    async def check(self) -> None:
        """Raise an error if the model cannot answer any request, without a call that costs.

        Raises
        ------
        ModelError, MissingExtra
            If packages, a key, the server or the model are missing.
        """
        ...


@runtime_checkable
class Scorer(Protocol):
    """Model that computes log-probabilities of completions."""

    async def score(self, texts: Sequence[PromptResponse]) -> list[NDArray[np.float64]]:
        """Return the log-probability, in nats, of each token of each completion.

        Parameters
        ----------
        texts : sequence of PromptResponse
            Prompts and their completions. The end-of-sequence token counts as the last token of a
            completion.
        """
        ...


@runtime_checkable
class Streamer(Protocol):
    """Model that streams a completion while generating it."""

    def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yield the text in pieces, and finally the complete completion.

        Raises
        ------
        ModelError
            For the same reasons as ``generate``.
        """
        ...


@runtime_checkable
class Embedder(Protocol):
    """Model that maps texts to vectors."""

    @property
    def identity(self) -> str:
        """Everything that determines the vectors."""
        ...

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, shape ``(len(texts), dimension)``."""
        ...
