"""Model behind an OpenAI-compatible endpoint."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from backtalk.models.batching import generate_in_batches
from backtalk.models.endpoint.address import OPENAI, resolve_address
from backtalk.models.endpoint.clients import ClientPool, PooledClient
from backtalk.models.endpoint.dialect import (
    Dialect,
    known_dialect,
    rejected_parameters,
    remember_dialect,
)
from backtalk.models.endpoint.errors import (
    EndpointInfo,
    incomplete_answer,
    reported_error,
    translate_error,
)
from backtalk.models.endpoint.offline import check_online
from backtalk.models.endpoint.response import MALFORMED, as_dict, parse_completion
from backtalk.models.endpoint.stream_assembler import StreamAssembler, delta_text
from backtalk.models.errors import BadRequest, InvalidResponse, UnlimitedAnswer
from backtalk.models.options import LimitField
from backtalk.models.protocol import Completion, Request, Usage

if TYPE_CHECKING:
    from openai import AsyncOpenAI

log = logging.getLogger(__name__)

_RESERVED_OPTIONS = (
    "model", "messages", "n", "stream", "stream_options", "seed", "temperature", "top_p",
    "max_tokens", "max_completion_tokens", "stop", "logprobs",
)  # fmt: skip
_TEMPLATE_TOKENS = 64
_MESSAGE_TOKENS = 16
_PART_TOKENS = 4096
_CHECK_SECONDS = 10.0


class Endpoint:
    """Model behind an endpoint that implements OpenAI's chat-completions protocol.

    The ``openai`` client retries calls after transient failures (429, 5xx, timeouts, connection
    errors). It waits as ``Retry-After`` says, or else 0.5, 1, 2, … and at most 8 seconds, less a
    random share of up to a quarter.

    Of the sampling parameters, those that a request sets are sent, and no others. A parameter that
    the server rejects is replaced or left out, if that does not change the answers' distribution:
    the name of the token limit, the seed, and the usage of streams. The first request to a model
    finds this out, and the rest of the process remembers it.

    Parameters
    ----------
    model : str
        Name of the model at the endpoint.
    base_url : str, optional
        Address of the endpoint. Default: ``OPENAI_BASE_URL``.
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
    send_seed : bool, optional
        If true, send a seed, so that equal requests have equal answers. Default: until the server
        rejects it.
    log_probabilities : bool, default False
        If true, request log-probabilities. Their meaning depends on the server: vLLM reports the
        model's own, without the end-of-sequence token.
    limit_field : LimitField, optional
        Name of the parameter for the maximum number of tokens. Default:
        ``max_completion_tokens`` for OpenAI and ``max_tokens`` for others, or the other one if the
        server rejects it.

    Raises
    ------
    MissingAddress
        If no address is named.

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
        send_seed: bool | None = None,
        log_probabilities: bool = False,
        limit_field: LimitField | None = None,
    ) -> None:
        self.base_url = resolve_address(model, base_url)
        self.name = model
        self.api_key_env = api_key_env
        self.revision = revision
        self.concurrency = concurrency
        self.timeout = timeout
        self.retries = retries
        self.send_seed = send_seed
        self.log_probabilities = log_probabilities
        self.limit_field = limit_field
        self._clients = ClientPool(self._make_client, concurrency=concurrency)

    @property
    def identity(self) -> str:
        """Address, model, revision, and the options that determine the answers."""
        parts = ["endpoint", self.base_url, self.name]
        if self.revision:
            parts.append(f"revision {self.revision}")
        if self.send_seed is False:
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

    async def check(self) -> None:
        """Ask the server for its models, which costs nothing, to see that it accepts calls.

        Raises
        ------
        ConnectionFailed
            If it cannot be reached. A server that is slow, or has no such list, is taken to work.
        AuthenticationError
            If it rejects the key.
        OfflineError
            In offline mode, unless the address is a loopback address.
        """
        import openai  # noqa: PLC0415 - takes half a second to load

        check_online(self.base_url)
        pooled = await self._clients.get()
        client = pooled.client.with_options(
            max_retries=0, timeout=min(self.timeout, _CHECK_SECONDS)
        )
        try:
            await client.models.list()
        except openai.APITimeoutError:
            log.info("%s is slow, or still starts", self.base_url)
        except (openai.APIConnectionError, openai.AuthenticationError) as error:
            raise translate_error(error, replace(self._info(), retries=0)) from None
        except (openai.OpenAIError, *MALFORMED):
            log.info("%s has no list of models", self.base_url)

    async def _answer(self, requests: Sequence[Request]) -> list[Completion]:
        import openai  # noqa: PLC0415 - takes half a second to load

        (request,) = requests
        self._check_options(request)
        check_online(self.base_url)
        pooled = await self._clients.get()
        async with pooled.semaphore:
            started = time.monotonic()
            try:
                response = await self._create(pooled, request)
            except openai.OpenAIError as error:
                raise translate_error(error, self._info()) from None
            except ValueError as error:
                raise self._invalid_response(str(error)) from None
            seconds = time.monotonic() - started
        if failure := reported_error(response, self._info()):
            raise failure
        return [self._completion(request, response, seconds)]

    async def stream(self, request: Request) -> AsyncIterator[str | Completion]:
        """Yield the text in pieces, and finally the complete completion.

        Raises
        ------
        InvalidResponse
            If the stream tells of an error, or ends without a finish reason.
        ModelError
            For the same reasons as :meth:`generate`.
        """
        import openai  # noqa: PLC0415 - takes half a second to load

        self._check_options(request)
        check_online(self.base_url)
        pooled = await self._clients.get()
        async with pooled.semaphore:
            started = time.monotonic()
            assembler = StreamAssembler()
            try:
                async with await self._create(pooled, request, stream=True) as chunks:
                    async for chunk in chunks:
                        fields = as_dict(chunk)
                        assembler.feed(fields)
                        if piece := delta_text(fields):
                            yield piece
                response = assembler.completion()
            except openai.OpenAIError as error:
                raise translate_error(error, self._info()) from None
            except MALFORMED as error:
                raise self._invalid_response(str(error)) from None
        if failure := incomplete_answer(response, self._info()):
            raise failure
        yield self._completion(request, response, time.monotonic() - started)

    def bound(self, request: Request) -> Usage:
        """Return the maximum usage of a request.

        No tokenizer makes more tokens than there are bytes. A chat template may add tokens: 16 per
        message and 64 in all. Each content part that is not text counts 4096 tokens.

        Raises
        ------
        UnlimitedAnswer
            If the request does not limit the tokens of the answer.
        """
        limit = request.sampling.max_tokens
        if limit is None:
            raise UnlimitedAnswer(
                f"A limit of tokens or money needs a limit for each answer, and the policy sets no "
                f"max_tokens for {self.name!r}",
                "Write `max_tokens: 1000`, or another number, under `sampling` in the policy's "
                "decoder; or limit the calls instead",
            )
        return Usage(1, self._prompt_bound(request), limit)

    def _prompt_bound(self, request: Request) -> int:
        prompt = _TEMPLATE_TOKENS
        for message in request.messages:
            prompt += len(message.to_json().encode()) + _MESSAGE_TOKENS
            if message.content is not None and not isinstance(message.content, str):
                prompt += sum(_PART_TOKENS for part in message.content if "text" not in part)
        if request.options:
            prompt += len(json.dumps(request.options, ensure_ascii=False).encode())
        return prompt

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

    async def _create(self, pooled: PooledClient, request: Request, *, stream: bool = False) -> Any:
        """Return the response; the first request to a model goes alone and finds its dialect."""
        if known_dialect(self.base_url, self.name) is not None:
            return await self._create_adaptively(pooled, request, stream=stream)
        async with pooled.first_call:
            try:
                return await self._create_adaptively(pooled, request, stream=stream)
            finally:
                if known_dialect(self.base_url, self.name) is None:
                    remember_dialect(self.base_url, self.name, Dialect())

    async def _create_adaptively(
        self, pooled: PooledClient, request: Request, *, stream: bool
    ) -> Any:
        import openai  # noqa: PLC0415 - takes half a second to load

        while True:
            dialect = known_dialect(self.base_url, self.name) or Dialect()
            parameters = self._parameters(request, dialect, stream=stream)
            try:
                return await pooled.client.chat.completions.create(**parameters)
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                rejected = rejected_parameters(error.body or error.response.text, parameters)
                adapted = dialect.adapted(parameters, rejected)
                if self._parameters(request, adapted, stream=stream) == parameters:
                    raise
                log.info("%s takes no %s for %s", self.base_url, ", ".join(rejected), self.name)
                remember_dialect(self.base_url, self.name, adapted)

    def _check_options(self, request: Request) -> None:
        for option in request.options:
            if option in _RESERVED_OPTIONS:
                raise BadRequest(
                    f"The option {option!r} for {self.name!r} is set by a field of the request",
                    "Leave it out of the options, and set the field of the request or its sampling",
                )

    def _parameters(self, request: Request, dialect: Dialect, *, stream: bool) -> dict[str, Any]:
        sampling = request.sampling
        default: LimitField = "max_completion_tokens" if self.base_url == OPENAI else "max_tokens"
        optional = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            self.limit_field or dialect.limit_field or default: sampling.max_tokens,
            "stop": list(sampling.stop) or None,
            "seed": None if self._drops_seed(dialect) else request.draw_seed,
            "logprobs": self.log_probabilities or "top_logprobs" in request.options or None,
            "extra_body": request.options or None,
            "stream": stream or None,
            "stream_options": (
                {"include_usage": True}
                if stream and "stream_options" not in dialect.dropped
                else None
            ),
        }
        return {
            "model": self.name,
            "messages": [
                message.model_dump(mode="json", exclude={"reasoning"})
                for message in request.messages
            ],
            **{name: value for name, value in optional.items() if value is not None},
        }

    def _drops_seed(self, dialect: Dialect) -> bool:
        if self.send_seed is None:
            return "seed" in dialect.dropped
        return not self.send_seed

    def _completion(self, request: Request, response: Any, seconds: float) -> Completion:
        try:
            completion, usage = parse_completion(response, request, model=self.name)
        except MALFORMED as error:
            raise self._invalid_response(str(error)) from None
        if usage is None:
            log.warning("%s reports no usage; charging the bound", self.base_url)
            usage = self._answer_bound(request, completion)
        billed = Usage(1, usage.prompt_tokens, usage.completion_tokens, seconds)
        return completion.model_copy(update={"usage": billed})

    def _answer_bound(self, request: Request, completion: Completion) -> Usage:
        """Return the maximum usage of an answer: no token has less than one byte."""
        limit = request.sampling.max_tokens
        tokens = len(completion.to_json().encode()) if limit is None else limit
        return Usage(1, self._prompt_bound(request), tokens)

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
