"""Answers of upstreams, passed on as they are but for their id, and kept."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Sequence

from pydantic_core import to_json
from starlette.responses import JSONResponse, Response, StreamingResponse

from backtalk.serve.backends.upstream import (
    TRANSPORT_ERRORS,
    Upstream,
    UpstreamRequest,
    UpstreamResponse,
    response_headers,
)
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import CompletionRequest
from backtalk.serve.gateway.sse import Assembly, Events, data_of, with_id


async def proxy_and_log(
    ask: CompletionRequest, call: UpstreamRequest, among: Sequence[Upstream] | None = None
) -> Response:
    """Ask an upstream, pass its answer on, and keep it.

    Parameters
    ----------
    ask : CompletionRequest
        The request as it came, which is what is kept.
    call : UpstreamRequest
        The request as it is sent.
    among : sequence of Upstream, optional
        The upstreams to ask; all of the gateway, if left out.

    Raises
    ------
    Refused
        If none answers.
    """
    started = time.monotonic()
    answered = await ask.services.upstreams.send(call, among)
    response = answered.response
    ask.note(upstream=answered.upstream.name)
    ask.request.scope["backtalk"]["upstream"] = answered.upstream.name
    if response.status != 200:
        return await relay(answered)
    headers = {**response_headers(response), **ask.headers()}
    if "text/event-stream" in response.headers.get("content-type", ""):
        return StreamingResponse(_Streamed(ask, answered, started).events(), headers=headers)
    content = await read_body(answered)
    ask.note(seconds=round(time.monotonic() - started, 6))
    return Response(_kept(ask, content), headers=headers)


async def relay(answered: UpstreamResponse) -> Response:
    """Pass on an answer as it is; an error that is not JSON is told in OpenAI's shape."""
    response = answered.response
    headers = response_headers(response)
    if response.status < 400:
        return StreamingResponse(_raw(answered), response.status, headers=headers)
    content = await read_body(answered)
    try:
        json.loads(content)
    except (ValueError, RecursionError):
        shown = content[:200].decode("utf-8", "replace")
        refused = APIError(
            response.status,
            f"The upstream {answered.upstream.name} answered {response.status}: {shown}",
            code="upstream_failed",
        )
        kept = {name: value for name, value in headers.items() if name.lower() != "content-type"}
        return JSONResponse(refused.body(), response.status, headers=kept)
    return Response(content, response.status, headers=headers)


async def read_body(answered: UpstreamResponse) -> bytes:
    """Return the whole of an answer.

    Raises
    ------
    Refused
        If the upstream breaks off.
    """
    try:
        return await answered.response.read()
    except TRANSPORT_ERRORS as error:
        raise _broke_off(answered, error) from None
    finally:
        answered.response.release()


async def _raw(answered: UpstreamResponse) -> AsyncIterator[bytes]:
    try:
        async for data in answered.response.content.iter_any():
            yield data
    finally:
        answered.response.release()


def _broke_off(answered: UpstreamResponse, error: Exception) -> APIError:
    return APIError(
        502,
        f"The upstream {answered.upstream.name} broke off its answer: "
        f"{error or type(error).__name__}",
        code="upstream_broke_off",
    )


def _kept(ask: CompletionRequest, content: bytes) -> bytes:
    """Keep an answer and return it with its new id; what is no answer stays as it is."""
    try:
        answer, text = with_id(content.decode("utf-8"), ask.exchange.id)
    except (ValueError, RecursionError):
        answer, text = None, ""
    if not isinstance(answer, dict) or not isinstance(answer.get("choices"), list):
        ask.services.metrics.unlogged.inc()
        return content
    ask.keep(answer)
    return text.encode("utf-8")


class _Streamed:
    """An answer that comes piece by piece."""

    def __init__(self, ask: CompletionRequest, answered: UpstreamResponse, started: float) -> None:
        self._ask = ask
        self._answered = answered
        self._started = started
        self._whole = Assembly()
        self._is_kept = False

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the events with their new id, and keep what they make together.

        The record is safe before the caller has the end of the answer.
        """
        events = Events()
        try:
            async for data in self._answered.response.content.iter_any():
                for event in events.feed(data):
                    yield self._renamed(event)
            self._keep()
            if events.rest:
                yield events.rest
        except TRANSPORT_ERRORS as error:
            self._keep(cut="by the upstream")
            yield b"data: " + to_json(_broke_off(self._answered, error).body()) + b"\n\n"
        finally:
            self._keep(cut="by the caller")
            self._answered.response.release()

    def _renamed(self, event: bytes) -> bytes:
        before, data, after = data_of(event)
        if data.strip() == b"[DONE]":
            self._keep()
        if not data.startswith(b"{"):
            return event
        try:
            chunk, text = with_id(data.decode("utf-8"), self._ask.exchange.id)
        except (ValueError, RecursionError):
            return event
        self._whole.feed(chunk)
        return before + text.encode("utf-8") + after

    def _keep(self, *, cut: str | None = None) -> None:
        if self._is_kept:
            return
        self._is_kept = True
        self._ask.note(seconds=round(time.monotonic() - self._started, 6))
        if cut is not None:
            self._ask.note(cut=cut)
        self._ask.keep(self._whole.answer())
