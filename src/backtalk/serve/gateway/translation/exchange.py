"""Answering of an API by upstreams that have it, or by its translation to chat completions."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from backtalk.serve.backends.failover import RETRYABLE
from backtalk.serve.backends.policy_resolver import parse_model_name
from backtalk.serve.backends.upstream import Upstream, UpstreamRequest, dump_json
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import (
    CHAT,
    CompletionRequest,
    upstream_request,
)
from backtalk.serve.gateway.disconnect import cancel_on_disconnect
from backtalk.serve.gateway.endpoints import complete
from backtalk.serve.gateway.proxy import proxy_and_log
from backtalk.serve.gateway.sse import EventSplitter, iterate, split_data
from backtalk.serve.gateway.stream_proxy import BROKEN
from backtalk.serve.gateway.translation.chunks import as_chunk
from backtalk.serve.gateway.translation.failures import error_of_stream, no_finish_reason
from backtalk.serve.gateway.translation.support import Api, first_group, learn_api

_ANTHROPIC_HEADERS = frozenset({b"anthropic-version", b"anthropic-beta"})


class EventTranslator(Protocol):
    """Translation of the chunks of one chat completion to the events of another API."""

    @property
    def is_finished(self) -> bool:
        """If true, a chunk has named the reason of the answer's end."""

    def start(self) -> Iterator[dict[str, Any]]:
        """Yield the events before the first chunk."""

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Yield the events of a chunk."""

    def finish(self) -> Iterator[dict[str, Any]]:
        """Yield the events after the last chunk."""

    def fail(self, error: APIError) -> Iterator[dict[str, Any]]:
        """Yield the events that end the stream with an error."""


@dataclass(frozen=True)
class TranslatedRequest(CompletionRequest):
    """Request for a chat completion whose record has the caller's metadata, which is not sent."""

    @property
    def body(self) -> Mapping[str, Any]:
        """Body without the metadata."""
        return {name: value for name, value in self.record.body.items() if name != "metadata"}


@dataclass(frozen=True)
class Exchange(ABC):
    """Request of an API that can be translated to chat completions, and its answer."""

    request: CompletionRequest
    """Request with its record, of the kind of this API."""
    original: Mapping[str, Any]
    """Body as received."""

    @property
    @abstractmethod
    def api(self) -> Api:
        """Name of the API in the settings of an upstream."""

    @abstractmethod
    def chat_body(self) -> dict[str, Any]:
        """Return the body of the chat completion; raise ``APIError`` if it cannot express it."""

    @abstractmethod
    def translate(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """Return a chat completion as an answer of this API."""

    @abstractmethod
    def translator(self) -> EventTranslator:
        """Return a translator of a stream."""

    def translate_error(self, status: int, content: bytes) -> bytes:
        """Return the body of an error in the shape of this API."""
        del status
        return content

    async def respond_natively(self, upstreams: Sequence[Upstream]) -> Response:
        """Respond by upstreams that have this API."""
        return await proxy_and_log(self.request, self.native_request(), upstreams)

    def native_request(self, body: Mapping[str, Any] | None = None) -> UpstreamRequest:
        """Return the request for upstreams that have this API.

        Parameters
        ----------
        body : Mapping[str, Any], optional
            Body that replaces the one received.
        """
        raw_body = self.request.raw_body if body is None else dump_json(body)
        request, services = self.request, self.request.services
        json_body = self.original if body is None else body
        return upstream_request(services, request.request, request.kind.path, raw_body, json_body)

    def whole_request(self) -> UpstreamRequest:
        """Return the request for upstreams that have this API, with the conversation so far."""
        return self.native_request()

    def as_chat(self, **changes: Any) -> TranslatedRequest:
        """Return the request as one for a chat completion, with the same record.

        Parameters
        ----------
        **changes : Any
            Fields of the body that differ.
        """
        body = {**self.chat_body(), **changes}
        record = self.request.record
        metadata = {name: record.body[name] for name in ("metadata",) if name in record.body}
        return TranslatedRequest(
            services=self.request.services,
            request=_chat_http_request(self.request.request),
            kind=CHAT,
            record=replace(record, body={**body, **metadata}),
            raw_body=dump_json(body),
        )


async def respond(exchange: Exchange) -> Response:
    """Respond to a request: by a policy, by upstreams with its API, or by chat completions.

    Raises
    ------
    APIError
        If nothing responds, or the request cannot be translated where that is necessary.
    """
    request = exchange.request
    upstreams = request.services.upstreams.configured
    model_name = parse_model_name(exchange.original["model"], request.services.settings)
    if model_name is not None or not upstreams:
        return await translated(exchange, await complete(exchange.as_chat()))
    with cancel_on_disconnect(request.request):
        return await _respond_by_upstreams(exchange, upstreams)


async def _respond_by_upstreams(exchange: Exchange, upstreams: Sequence[Upstream]) -> Response:
    first_error: APIError | None = None
    last: Response | None = None
    remaining = list(upstreams)
    while remaining:
        group, may_have_api = first_group(remaining, exchange.api)
        try:
            response = await _respond_by_group(exchange, group, may_have_api=may_have_api)
        except APIError as error:
            first_error = first_error or error
            if error.status < 500 and error.code != "unsupported_parameter":
                raise
            remaining = remaining[len(group) :]
            continue
        if may_have_api and learn_api(group[0], exchange.api, response):
            continue
        if response.status_code >= 400:
            response = with_translated_error(exchange, response)
        last, remaining = response, remaining[len(group) :]
        if response.status_code not in RETRYABLE:
            return response
    if last is not None:
        return last
    assert first_error is not None
    raise first_error


async def _respond_by_group(
    exchange: Exchange, group: Sequence[Upstream], *, may_have_api: bool
) -> Response:
    if may_have_api:
        return await exchange.respond_natively(group)
    chat = exchange.as_chat()
    return await translated(exchange, await proxy_and_log(chat, chat.to_upstream(), group))


async def translated(exchange: Exchange, response: Response) -> Response:
    """Return the response to a chat completion as one of the API of the request."""
    if response.status_code >= 400:
        return with_translated_error(exchange, response)
    if isinstance(response, StreamingResponse):
        if "content-length" in response.headers:
            del response.headers["content-length"]
        response.body_iterator = _translated_events(exchange, response.body_iterator)
        return response
    headers = {
        name: value
        for name, value in response.headers.items()
        if name not in {"content-length", "content-type"}
    }
    try:
        completion = json.loads(bytes(response.body))
    except (ValueError, RecursionError):
        completion = None
    if not isinstance(completion, dict) or not completion.get("choices"):
        raise APIError(502, "The upstream's answer is no chat completion", code="upstream_failed")
    if exchange.original.get("stream") is True:
        events = _events_of(exchange, completion)
        return StreamingResponse(iterate(events), media_type="text/event-stream", headers=headers)
    body = dump_json(exchange.translate(completion))
    return Response(body, media_type="application/json", headers=headers)


def with_translated_error(exchange: Exchange, response: Response) -> Response:
    """Return an error in the shape of the API of the request."""
    content = getattr(response, "body", None)
    if content is None:
        return response
    changed = exchange.translate_error(response.status_code, bytes(content))
    if changed is content:
        return response
    headers = {name: v for name, v in response.headers.items() if name != "content-length"}
    return Response(changed, response.status_code, headers=headers)


async def _translated_events(exchange: Exchange, content: Any) -> AsyncIterator[bytes]:
    """Yield the events of a stream of chat completion chunks in the API of the request."""
    translator = exchange.translator()
    async with aclosing(content), aclosing(_split(content)) as chunks:
        for event in encode(translator.start()):
            yield event
        async for chunk in chunks:
            events, is_last = _translate_event(translator, chunk)
            for event in encode(events):
                yield event
            if is_last:
                return
    for event in encode(_end(translator)):
        yield event


async def _split(content: Any) -> AsyncGenerator[bytes]:
    """Yield the events of a stream; the last one may lack its blank line."""
    splitter = EventSplitter()
    async for data in content:
        for event in splitter.feed(data if isinstance(data, bytes) else bytes(data)):
            yield event
    if splitter.remainder:
        yield splitter.remainder


def _end(translator: EventTranslator) -> Iterator[dict[str, Any]]:
    """Return the events for the end of a stream, which may come before that of its answer."""
    return translator.finish() if translator.is_finished else translator.fail(no_finish_reason())


def _translate_event(
    translator: EventTranslator, event: bytes
) -> tuple[Iterable[dict[str, Any]], bool]:
    """Return the events for an event of a chat completion, and true if it ends the stream."""
    _, data, _ = split_data(event)
    if data.strip() == b"[DONE]":
        return _end(translator), True
    try:
        chunk = json.loads(data) if data else None
    except (ValueError, RecursionError):
        chunk = None
    if not isinstance(chunk, dict):
        return (), False
    error = chunk if chunk.get("object") == "error" else chunk.get("error")
    if error:
        failure = error_of_stream(error)
        is_late = isinstance(error, dict) and error.get("code") == BROKEN and translator.is_finished
        return translator.finish() if is_late else translator.fail(failure), True
    return translator.feed(chunk), False


def _events_of(exchange: Exchange, completion: Mapping[str, Any]) -> Iterator[bytes]:
    """Yield a completion that was not streamed as events."""
    translator = exchange.translator()
    yield from encode(translator.start())
    yield from encode(translator.feed(as_chunk(completion)))
    yield from encode(translator.finish())


def encode(events: Iterable[Mapping[str, Any]]) -> Iterator[bytes]:
    """Yield events as server-sent events, each with its type as its name."""
    for event in events:
        yield b"event: " + str(event["type"]).encode() + b"\ndata: " + dump_json(event) + b"\n\n"


def _chat_http_request(request: Request) -> Request:
    """Return an HTTP request with the headers that a server of chat completions expects."""
    headers = [
        (name, value) for name, value in request.scope["headers"] if name not in _ANTHROPIC_HEADERS
    ]
    names = {name for name, _ in headers}
    if b"x-api-key" in names and b"authorization" not in names:
        headers = [
            (b"authorization", b"Bearer " + value) if name == b"x-api-key" else (name, value)
            for name, value in headers
        ]
    scope = {**request.scope, "headers": headers, "query_string": b""}
    return Request(scope, request.receive)
