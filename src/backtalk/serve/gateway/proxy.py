"""Forwarding of upstream responses, unchanged except for the completion id, and their logging."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

from starlette.responses import JSONResponse, Response, StreamingResponse

from backtalk.serve.backends.upstream import (
    TRANSPORT_ERRORS,
    Upstream,
    UpstreamRequest,
    UpstreamResponse,
)
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import CompletionRequest
from backtalk.serve.gateway.sse import EventSplitter


async def proxy_and_log(
    request: CompletionRequest,
    upstream_request: UpstreamRequest,
    upstreams: Sequence[Upstream] | None = None,
    *,
    adapt: Callable[[Any], UpstreamRequest | None] | None = None,
) -> Response:
    """Send a request to an upstream, forward the response and log it.

    Parameters
    ----------
    request : CompletionRequest
        Request as received; this is what is logged.
    upstream_request : UpstreamRequest
        Request as sent.
    upstreams : sequence of Upstream, optional
        Upstreams to try in order. Default: all upstreams of the gateway.
    adapt : Callable[[Any], UpstreamRequest | None], optional
        Returns the request to send instead, after an error that rejects a parameter.

    Raises
    ------
    APIError
        If no upstream responds.
    """
    started = time.monotonic()
    upstream = await request.services.upstreams.send(upstream_request, upstreams)
    if adapt is not None and upstream.response.status in {400, 422}:
        changed = adapt(await _read_error(upstream))
        if changed is not None:
            upstream.release()
            upstream = await request.services.upstreams.send(changed, upstreams)
    response = upstream.response
    request.note(upstream=upstream.upstream.name)
    request.request.scope["backtalk"]["upstream"] = upstream.upstream.name
    if response.status != 200:
        return await relay(upstream)
    headers = {**upstream.headers, **request.response_headers()}
    if "text/event-stream" in response.headers.get("content-type", ""):
        stream = _StreamProxy(request, upstream, started)
        return StreamingResponse(stream.events(), headers=headers)
    content = await read_body(upstream)
    request.note(seconds=round(time.monotonic() - started, 6))
    return Response(_log_and_replace_id(request, content), headers=headers)


async def _read_error(upstream: UpstreamResponse) -> Any:
    """Return the body of an error, parsed or as text. It can be read again."""
    try:
        content = await upstream.read()
    except TRANSPORT_ERRORS as error:
        upstream.release()
        raise _connection_broken(upstream, error) from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


async def relay(upstream: UpstreamResponse) -> Response:
    """Forward a response unchanged. Errors that are not JSON get the shape of OpenAI's API."""
    response = upstream.response
    headers = upstream.headers
    if response.status < 400:
        return StreamingResponse(_stream_bytes(upstream), response.status, headers=headers)
    content = await read_body(upstream)
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        excerpt = content[:200].decode("utf-8", "replace")
        error = APIError(
            response.status,
            f"The upstream {upstream.upstream.name} answered {response.status}: {excerpt}",
            code="upstream_failed",
        )
        other = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        return JSONResponse(error.body(), response.status, headers=other)
    return Response(content, response.status, headers=headers)


async def read_body(upstream: UpstreamResponse) -> bytes:
    """Return the complete body of a response.

    Raises
    ------
    APIError
        If the connection breaks.
    """
    try:
        return await upstream.read()
    except TRANSPORT_ERRORS as error:
        raise _connection_broken(upstream, error) from None
    finally:
        upstream.release()


async def _stream_bytes(upstream: UpstreamResponse) -> AsyncIterator[bytes]:
    try:
        async for data in upstream.chunks():
            yield data
    finally:
        upstream.release()


def _connection_broken(upstream: UpstreamResponse, error: Exception) -> APIError:
    return APIError(
        502,
        f"The upstream {upstream.upstream.name} broke off its response: "
        f"{error or type(error).__name__}",
        code="upstream_broke_off",
    )


def _log_and_replace_id(request: CompletionRequest, content: bytes) -> bytes:
    """Log a completion and return it with its new id. Other content is returned unchanged."""
    completion, forwarded = request.kind.read_body(content, request.record.id)
    if completion is None:
        request.services.metrics.unlogged.inc()
        return content
    request.log_completion(completion)
    return forwarded


class _StreamProxy:
    """Forwarding of a streamed completion."""

    def __init__(
        self, request: CompletionRequest, upstream: UpstreamResponse, started: float
    ) -> None:
        self._request = request
        self._upstream = upstream
        self._started = started
        self._reader = request.kind.stream_reader(request.record.id)
        self._is_logged = False

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the events with their new id, and log the assembled completion.

        The interaction is in the log before the caller has the end of the stream.
        """
        splitter = EventSplitter()
        try:
            async for data in self._upstream.chunks():
                for event in splitter.feed(data):
                    yield self._process(event)
            self._log()
            if splitter.remainder:
                yield splitter.remainder
        except TRANSPORT_ERRORS as error:
            self._log(cut="by the upstream")
            yield self._request.kind.error_event(_connection_broken(self._upstream, error))
        finally:
            self._log(cut="by the caller")
            self._upstream.release()

    def _process(self, event: bytes) -> bytes:
        forwarded = self._reader.read(event)
        if self._reader.is_complete:
            self._log()
        return forwarded

    def _log(self, *, cut: str | None = None) -> None:
        if self._is_logged:
            return
        self._is_logged = True
        self._request.note(seconds=round(time.monotonic() - self._started, 6))
        if cut is not None:
            self._request.note(cut=cut)
        self._request.log_completion(self._reader.completion())
