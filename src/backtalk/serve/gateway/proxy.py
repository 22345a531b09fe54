"""Forwarding of upstream responses, unchanged except for the completion id, and their logging."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.models.endpoint.answer_checks import without_begun_text
from backtalk.serve.backends.upstream import (
    TRANSPORT_ERRORS,
    Upstream,
    UpstreamRequest,
    UpstreamResponse,
)
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import (
    CompletionRequest,
    StreamReader,
    choice_count,
    parse_request,
    upstream_request,
)
from backtalk.serve.gateway.completion_stream import CompletionStreamReader
from backtalk.serve.gateway.disconnect import cancel_on_disconnect
from backtalk.serve.gateway.policy_names import model_names, refuse_policy_names
from backtalk.serve.gateway.sse import is_event_stream
from backtalk.serve.gateway.stream_proxy import (
    MAX_INLINE_BYTES,
    StreamProxy,
    UpstreamStreamingResponse,
    connection_broken,
)
from backtalk.serve.gateway.stream_usage import learn_usage_rejection, rejects_usage, with_usage
from backtalk.serve.paths import DEPLOYMENT
from backtalk.serve.services import Services


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
    upstream, hides_usage = await _send(request, upstream_request, upstreams, adapt)
    request.note(upstream=upstream.upstream.name)
    request.request.scope["backtalk"]["upstream"] = upstream.upstream.name
    if upstream.status != 200:
        return await relay(upstream)
    headers = {**upstream.headers, **request.response_headers()}
    if await _is_stream(request, upstream):
        reader = _stream_reader(request, hides_usage=hides_usage)
        stream = StreamProxy(request, upstream, reader, started=started)
        headers["content-type"] = _event_stream_type(headers.get("content-type"))
        return UpstreamStreamingResponse(stream.events(), upstream, headers=headers)
    content = await read_body(upstream)
    request.note(seconds=round(time.monotonic() - started, 6))
    if len(content) > MAX_INLINE_BYTES:
        forwarded = await asyncio.to_thread(_log_and_replace_id, request, content)
    else:
        forwarded = _log_and_replace_id(request, content)
    return Response(forwarded, headers={**headers, **request.response_headers()})


def _stream_reader(request: CompletionRequest, *, hides_usage: bool) -> StreamReader:
    """Return the reader of a stream that answers a request."""
    kind = request.kind
    if kind.stream_reader is not CompletionStreamReader:
        return kind.stream_reader(request.record.id)
    return CompletionStreamReader(
        request.record.id, hides_usage=hides_usage, choices=choice_count(kind, request.body)
    )


async def _send(
    request: CompletionRequest,
    upstream_request: UpstreamRequest,
    upstreams: Sequence[Upstream] | None,
    adapt: Callable[[Any], UpstreamRequest | None] | None,
) -> tuple[UpstreamResponse, bool]:
    """Send a request, and again without the parameters that an error rejects.

    Returns the response, and true if the gateway requested the usage of a stream.
    """
    sender = request.services.upstreams
    model = str((upstream_request.json_body or request.body)["model"])
    names = [one.name for one in (sender.configured if upstreams is None else upstreams)]
    requests_usage = (
        request.kind.has_stream_options
        and request.is_streaming
        and not any(rejects_usage(name, model) for name in names)
    )
    while True:
        with_option = with_usage(upstream_request) if requests_usage else None
        upstream = await sender.send(with_option or upstream_request, upstreams)
        if upstream.status not in {400, 422} or (adapt is None and with_option is None):
            return upstream, with_option is not None
        error = await _read_error(upstream)
        if with_option is not None and learn_usage_rejection(upstream.upstream.name, model, error):
            requests_usage = False
        elif adapt is not None and (changed := adapt(error)) is not None:
            upstream_request, adapt = changed, None
        else:
            return upstream, with_option is not None
        upstream.release()


async def _is_stream(request: CompletionRequest, upstream: UpstreamResponse) -> bool:
    """Return true if a response is a stream of events, which some servers do not label."""
    if "text/event-stream" in upstream.response.headers.get("content-type", "").lower():
        return upstream.is_readable
    if not request.is_streaming or not upstream.is_readable:
        return False
    try:
        start = await upstream.peek(lambda data: is_event_stream(data) is not None)
    except TRANSPORT_ERRORS as error:
        upstream.release()
        raise connection_broken(upstream, error) from None
    return bool(is_event_stream(start))


def _event_stream_type(content_type: str | None) -> str:
    is_labelled = content_type is not None and "text/event-stream" in content_type.lower()
    return content_type if is_labelled and content_type else "text/event-stream; charset=utf-8"


async def forward(
    request: Request, upstream_request: UpstreamRequest, upstreams: Sequence[Upstream] | None = None
) -> Response:
    """Send a request to an upstream and forward the response, without logging it.

    Parameters
    ----------
    request : Request
        HTTP request of the caller, whose body has been read.
    upstream_request : UpstreamRequest
        Request as sent.
    upstreams : sequence of Upstream, optional
        Upstreams to try in order. Default: all upstreams of the gateway.

    Raises
    ------
    APIError
        If no upstream responds, or the caller disconnects.
    """
    with cancel_on_disconnect(request):
        return await relay(
            await request.app.state.services.upstreams.send(upstream_request, upstreams)
        )


async def forward_unchanged(request: Request, raw_body: bytes) -> Response:
    """Send a request to the first upstream and forward the response. Nothing is logged.

    Parameters
    ----------
    request : Request
        HTTP request of the caller, whose body has been read.
    raw_body : bytes
        Body as received.

    Raises
    ------
    APIError
        If the path would leave that of the upstream, the request names a policy as its model, the
        upstream does not respond, or the caller disconnects.
    """
    services: Services = request.app.state.services
    path = request.scope["path"]
    if "\\" in path or any(part in {".", ".."} for part in path.split("/")):
        raise APIError(400, "The path may not contain backslashes, '.' or '..'")
    raw_path = request.scope.get("raw_path") or path.encode()
    if DEPLOYMENT in request.scope and raw_body.lstrip()[:1] == b"{":
        raw_body, _ = parse_request(request, raw_body)
    refuse_policy_names(request, model_names(request, raw_body))
    upstream = upstream_request(
        services, request, raw_path.decode("latin-1").removeprefix("/v1"), raw_body
    )
    upstream = replace(upstream, idempotent=request.method in {"GET", "HEAD"})
    return await forward(request, upstream, services.upstreams.configured[:1])


async def _read_error(upstream: UpstreamResponse) -> Any:
    """Return the body of an error, parsed or as text. It can be read again."""
    try:
        content = await upstream.read()
    except TRANSPORT_ERRORS as error:
        upstream.release()
        raise connection_broken(upstream, error) from None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return content.decode("utf-8", "replace")


async def relay(upstream: UpstreamResponse) -> Response:
    """Forward a response unchanged. Errors that are not JSON get the shape of OpenAI's API."""
    headers, status = upstream.headers, upstream.status
    if status < 400:
        content = upstream.chunks()
        return UpstreamStreamingResponse(content, upstream, status=status, headers=headers)
    body = await read_body(upstream)
    if not upstream.is_readable:
        return Response(body, status, headers=headers)
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        excerpt = body[:200].decode("utf-8", "replace")
        error = APIError(
            status,
            f"The upstream {upstream.upstream.name} answered {status}: {excerpt}",
            code="upstream_failed",
        )
        other = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        return JSONResponse(error.body(), status, headers=other)
    return Response(body, status, headers=headers)


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
        raise connection_broken(upstream, error) from None
    finally:
        upstream.release()


def _log_and_replace_id(request: CompletionRequest, content: bytes) -> bytes:
    """Log a completion and return it with its new id. Other content is returned unchanged."""
    completion, forwarded = request.kind.read_body(content, request.record.id)
    if completion is None:
        request.services.metrics.unlogged.inc()
        return content
    request.log_completion(without_begun_text(completion, request.body.get("messages")))
    return forwarded
