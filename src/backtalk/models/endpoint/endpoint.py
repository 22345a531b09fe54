"""Model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from backtalk.models.batching import generate_in_batches
from backtalk.models.endpoint.clients import ClientPool
from backtalk.models.endpoint.errors import EndpointInfo, translate_error
from backtalk.models.endpoint.offline import check_online
from backtalk.models.endpoint.response import MALFORMED, chunk_text, parse_completion
from backtalk.models.errors import BadRequest, InvalidResponse
from backtalk.models.options import LimitField, normalise_url
from backtalk.models.protocol import Completion, Request, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

_OPENAI = "https://api.openai.com/v1"
_RESERVED_OPTIONS = (
    "model", "messages", "n", "stream", "stream_options", "seed", "temperature", "top_p",
    "max_tokens", "max_completion_tokens", "stop", "logprobs",
)  # fmt: skip
_TEMPLATE_TOKENS = 64
_MESSAGE_TOKENS = 16
_PART_TOKENS = 4096


class Endpoint:
    """Model behind an endpoint that implements OpenAI's chat-completions protocol.

    The ``openai`` client retries calls after transient failures (429, 5xx, timeouts, connection
    errors). It waits as ``Retry-After`` says, or else 0.5, 1, 2, … and at most 8 seconds, less a
    random share of up to a quarter.

    Parameters
    ----------
    model : str
        Name of the model at the endpoint.
    base_url : str, optional
        Address of the endpoint. Default: ``OPENAI_BASE_URL``, or OpenAI.
    api_key_env : str, default "OPENAI_API_KEY"
        Environment variable that holds the key. Only its name is ever stored.
    revision : str, optional
        Version of the model, if the name does not contain it; part of cache keys.
    concurrency : int, default 8
        Maximum number of calls in flight in one event loop.
    timeout : float, default 60.0
        Timeout of an attempt, in seconds.
    retries : int, default 4
        Number of retries.
    send_seed : bool, default True
        If true, send a seed; some servers reject it.
    log_probabilities : bool, default False
        If true, request log-probabilities. Their meaning depends on the server: vLLM reports the
        model's own, without the end-of-sequence token.
    limit_field : LimitField, optional
        Name of the parameter for the maximum number of tokens. Default:
        ``max_completion_tokens`` for OpenAI and ``max_tokens`` for others.

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
        self.base_url = normalise_url(base_url or os.environ.get("OPENAI_BASE_URL") or _OPENAI)
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
        self._clients = ClientPool(self._make_client, concurrency=concurrency)

    @property
    def identity(self) -> str:
        """Address, model, revision, and the options that determine the answers."""
        parts = ["endpoint", self.base_url, self.name]
        if self.revision:
            parts.append(f"revision {self.revision}")
        if not self.send_seed:
            parts.append("without seed")
        if self.log_probabilities:
            parts.append("with log-probabilities")
        return " ".join(parts)

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Return one completion per request, in order.

        The usage is that reported by the server, or else the bound.

        Raises
        ------
        AuthenticationError, UnknownModel, RateLimited, ConnectionFailed, RequestTimeout
            After requests in flight have been answered; the rest is not sent.
        ContextTooLong, BadRequest, InvalidResponse
            After all other requests have been answered.
        OfflineError
            In offline mode, unless the address is a loopback address.
        """
        return await generate_in_batches(requests, self._answer, model=self)

    async def _answer(self, requests: Sequence[Request]) -> list[Completion]:
        import openai  # noqa: PLC0415 - takes half a second to load

        (request,) = requests
        parameters = self._parameters(request)
        check_online(self.base_url)
        pooled = await self._clients.get()
        async with pooled.semaphore:
            started = time.monotonic()
            try:
                response = await pooled.client.chat.completions.create(**parameters)
            except openai.OpenAIError as error:
                raise translate_error(error, self._info()) from None
            except ValueError as error:
                raise self._invalid_response(str(error)) from None
        return [self._completion(request, response, time.monotonic() - started)]

    async def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yield the text in pieces, and finally the complete completion."""
        import openai  # noqa: PLC0415 - takes half a second to load
        from openai.lib.streaming.chat import ChatCompletionStreamState  # noqa: PLC0415 - likewise

        parameters = self._parameters(request)
        parameters |= {"stream": True, "stream_options": {"include_usage": True}}
        check_online(self.base_url)
        pooled = await self._clients.get()
        async with pooled.semaphore:
            started = time.monotonic()
            state = ChatCompletionStreamState()
            try:
                async with await pooled.client.chat.completions.create(**parameters) as chunks:
                    async for chunk in chunks:
                        state.handle_chunk(chunk)
                        if piece := chunk_text(chunk):
                            yield piece
                response = state.current_completion_snapshot
            except openai.OpenAIError as error:
                raise translate_error(error, self._info()) from None
            except MALFORMED as error:
                raise self._invalid_response(str(error)) from None
        yield self._completion(request, response, time.monotonic() - started)

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request.

        No tokenizer makes more tokens than there are bytes. A chat template may add tokens: 16 per
        message and 64 in all. Each content part that is not text counts 4096 tokens.
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
        """Close the connections of the running event loop before it shuts down."""
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
            if option in _RESERVED_OPTIONS:
                raise BadRequest(
                    f"The option {option!r} for {self.name!r} is set by a field of the request",
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

    def _completion(self, request: Request, response: Any, seconds: float) -> Completion:
        try:
            completion, usage = parse_completion(response, model=self.name)
        except MALFORMED as error:
            raise self._invalid_response(str(error)) from None
        if usage is None:
            log.warning("%s reports no usage; charging the bound", self.base_url)
            usage = self.bound(request)
        billed = Usage(1, usage.prompt_tokens, usage.completion_tokens, seconds)
        return completion.model_copy(update={"usage": billed})

    def _invalid_response(self, what: str) -> InvalidResponse:
        return InvalidResponse(
            f"The response of {self.base_url} for {self.name!r} violates the protocol: "
            f"{what[:120]}",
            "Check that the address is that of an OpenAI-compatible server; it often ends in /v1",
            may_have_cost=True,
        )

    def _info(self) -> EndpointInfo:
        return EndpointInfo(
            model=self.name,
            address=self.base_url,
            key_variable=self.api_key_env,
            key=os.environ.get(self.api_key_env),
            timeout=self.timeout,
            retries=self.retries,
        )
