"""A model behind an OpenAI-compatible address."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from backtalk.errors import BacktalkError
from backtalk.models.batching import answer_in_units
from backtalk.models.endpoint.clients import Clients
from backtalk.models.endpoint.errors import Where, explain_failure
from backtalk.models.endpoint.offline import check_allowed
from backtalk.models.endpoint.response import MALFORMED, as_completion, piece_of
from backtalk.models.errors import BadRequest, InvalidResponse
from backtalk.models.protocol import Completion, Request, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

LimitField = Literal["max_tokens", "max_completion_tokens"]

_OPENAI = "https://api.openai.com/v1"
_OWN = (
    "model", "messages", "n", "stream", "stream_options", "seed", "temperature", "top_p",
    "max_tokens", "max_completion_tokens", "stop", "logprobs",
)  # fmt: skip
_TEMPLATE_TOKENS = 64
_MESSAGE_TOKENS = 16
_PART_TOKENS = 4096


class Endpoint:
    """A model behind any address that speaks OpenAI's protocol.

    Calls that fail for a passing reason (429, 5xx, time-outs, connections) are tried again by the
    ``openai`` client, after what ``Retry-After`` says or else after 0.5, 1, 2, … at most 8 seconds,
    a random quarter less.

    Parameters
    ----------
    model : str
        Its name there.
    base_url : str, optional
        The address; without one, what ``OPENAI_BASE_URL`` says, or else OpenAI itself.
    api_key_env : str, default "OPENAI_API_KEY"
        The environment variable that holds the key. Only its name is ever kept.
    revision : str, optional
        Which version of the model is served, where the name does not say; part of cache keys.
    concurrency : int, default 8
        How many calls are in flight at most, in one event loop.
    timeout : float, default 60.0
        Seconds for one try.
    retries : int, default 4
        How often a call is tried again.
    send_seed : bool, default True
        Whether to send a seed; some servers refuse it.
    log_probabilities : bool, default False
        Whether to ask for log-probabilities. What they are is the server's say: vLLM gives the
        model's own, without the end-of-sequence token.
    limit_field : LimitField, optional
        What the server calls the most tokens of a completion. Without one,
        ``max_completion_tokens`` for OpenAI itself and ``max_tokens`` for all others.

    Examples
    --------
    >>> Endpoint("small", base_url="http://localhost:8000/v1").identity
    'endpoint http://localhost:8000/v1 small'
    """

    def __init__(
        self,
        model: str,
        *,
        base_url: str | None = None,
        api_key_env: str = "OPENAI_API_KEY",
        revision: str | None = None,
        concurrency: int = 8,
        timeout: float = 60.0,
        retries: int = 4,
        send_seed: bool = True,
        log_probabilities: bool = False,
        limit_field: LimitField | None = None,
    ) -> None:
        self.base_url = plain_address(base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI)
        self.name = model
        self.api_key_env = api_key_env
        self.revision = revision
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.send_seed = send_seed
        self.log_probabilities = log_probabilities
        self._limit_field = limit_field or (
            "max_completion_tokens" if self.base_url == _OPENAI else "max_tokens"
        )
        self._clients = Clients(self._make_client, concurrency=concurrency)

    @property
    def identity(self) -> str:
        """Address, model, revision, and what else decides the answers."""
        parts = ["endpoint", self.base_url, self.name]
        if self.revision:
            parts.append(f"revision {self.revision}")
        if not self.send_seed:
            parts.append("without seed")
        if self.log_probabilities:
            parts.append("with log-probabilities")
        return " ".join(parts)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion a request, in order.

        Usage is what the server reports, or else the bound.

        Raises
        ------
        Unauthorised, UnknownModel, RateLimited, Unreachable, TimedOut
            After what is in flight has been answered; the rest is not sent.
        ContextTooLong, RequestRefused, BadReply
            After all others have been answered.
        EndpointForbidden
            While real endpoints are forbidden.
        """
        return await answer_in_units(requests, self._answer, model=self)

    async def _answer(self, requests: Sequence[Request]) -> list[Completion]:
        import openai  # noqa: PLC0415 - takes half a second to load

        (request,) = requests
        parameters = self._parameters(request)
        check_allowed(self.base_url)
        connection = await self._clients.get()
        async with connection.places:
            started = time.monotonic()
            try:
                reply = await connection.client.chat.completions.create(**parameters)
            except openai.OpenAIError as error:
                raise explain_failure(error, self._where()) from None
            except ValueError as error:
                raise self._bad_reply(str(error)) from None
        return [self._completion(request, reply, time.monotonic() - started)]

    async def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yield the text as it is written, and in the end the whole completion."""
        import openai  # noqa: PLC0415 - takes half a second to load
        from openai.lib.streaming.chat import ChatCompletionStreamState  # noqa: PLC0415 - likewise

        parameters = self._parameters(request)
        parameters |= {"stream": True, "stream_options": {"include_usage": True}}
        check_allowed(self.base_url)
        connection = await self._clients.get()
        async with connection.places:
            started = time.monotonic()
            whole = ChatCompletionStreamState()
            try:
                async with await connection.client.chat.completions.create(**parameters) as chunks:
                    async for chunk in chunks:
                        whole.handle_chunk(chunk)
                        if piece := piece_of(chunk):
                            yield piece
                reply = whole.current_completion_snapshot
            except openai.OpenAIError as error:
                raise explain_failure(error, self._where()) from None
            except MALFORMED as error:
                raise self._bad_reply(str(error)) from None
        yield self._completion(request, reply, time.monotonic() - started)

    def bound(self, request: Request) -> Usage:
        """Return the most that a request can use.

        No tokenizer makes more tokens than there are bytes. Added are 16 tokens a message and 64
        for what a chat template may write itself, and 4096 for each part that is not text.
        """
        prompt = _TEMPLATE_TOKENS
        for message in request.messages:
            prompt += len(message.to_json().encode()) + _MESSAGE_TOKENS
            if message.content is not None and not isinstance(message.content, str):
                prompt += sum(_PART_TOKENS for part in message.content if "text" not in part)
        if request.options:
            prompt += len(json.dumps(request.options, ensure_ascii=False).encode())
        return Usage(1, prompt, request.sampling.max_tokens)

    async def close(self) -> None:
        """Close the connections of the running event loop; it does so itself when it ends."""
        await self._clients.close()

    def _make_client(self) -> AsyncOpenAI:
        from openai import AsyncOpenAI  # noqa: PLC0415 - takes half a second to load

        return AsyncOpenAI(
            api_key=os.environ.get(self.api_key_env) or "none",
            base_url=self.base_url,
            timeout=self.timeout,
            max_retries=self.retries,
        )

    def _parameters(self, request: Request) -> dict[str, Any]:
        for option in request.options:
            if option in _OWN:
                raise BadRequest(
                    f"The option {option!r} for {self.name!r} is set by the request itself",
                    "Leave it out of the options, and set the field of the request or its sampling",
                )
        sampling = request.sampling
        parameters: dict[str, Any] = {
            "model": self.name,
            "messages": [message.to_dict() for message in request.messages],
            "n": 1,
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self._limit_field: sampling.max_tokens,
        }
        if self.send_seed:
            parameters["seed"] = request.draw_seed
        if sampling.stop:
            parameters["stop"] = list(sampling.stop)
        if self.log_probabilities:
            parameters["logprobs"] = True
        if request.options:
            parameters["extra_body"] = request.options
        return parameters

    def _completion(self, request: Request, reply: Any, seconds: float) -> Completion:
        try:
            completion, usage = as_completion(reply, model=self.name)
        except MALFORMED as error:
            raise self._bad_reply(str(error)) from None
        if usage is None:
            log.warning("%s reports no usage; the bound is charged", self.base_url)
            usage = self.bound(request)
        counted = Usage(1, usage.prompt_tokens, usage.completion_tokens, seconds)
        return completion.model_copy(update={"usage": counted})

    def _bad_reply(self, what: str) -> InvalidResponse:
        return InvalidResponse(
            f"{self.base_url} gave an answer for {self.name!r} that does not keep to the protocol: "
            f"{what[:120]}",
            "Check that the address is that of an OpenAI-compatible server; it often ends in /v1",
            may_have_cost=True,
        )

    def _where(self) -> Where:
        return Where(
            model=self.name,
            address=self.base_url,
            key_variable=self.api_key_env,
            key=os.environ.get(self.api_key_env),
            timeout=self.timeout,
            retries=self.retries,
        )


def plain_address(address: str) -> str:
    """Return an address without a slash at its end.

    Raises
    ------
    BacktalkError
        If it is none, or holds a secret: a user, a password, a query.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BacktalkError(
            f"{address!r} is not the address of a server", "Give one like http://localhost:8000/v1"
        )
    if parts.username or parts.password or parts.query:
        raise BacktalkError(
            f"The address of {parts.hostname} holds more than a place: a user, password or query",
            "Put the key into an environment variable and name that as api_key_env",
        )
    return address.rstrip("/")
