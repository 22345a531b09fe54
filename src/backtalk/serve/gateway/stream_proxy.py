"""Forwarding of streamed completions, unchanged except for their id, and their logging."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator

from starlette.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from backtalk.models.endpoint.stream_assembler import NO_FINISH_REASON
from backtalk.serve.backends.upstream import TRANSPORT_ERRORS, UpstreamResponse
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import CompletionRequest, StreamReader
from backtalk.serve.gateway.sse import EventSplitter

MAX_INLINE_BYTES = 262_144
"""Size in bytes above which a completion is converted and logged on another thread."""

BROKEN = "upstream_broke_off"
"""Code of the error for a response that broke off."""

CUT_BY_CALLER = "by the caller"
"""Value of ``cut`` for a stream whose caller disconnected."""

_PIECE_BYTES = 65_536
"""Size in bytes of the pieces in which a large event is forwarded."""

_background: set[asyncio.Task[None]] = set()
"""Logging for callers who have disconnected."""


class UpstreamStreamingResponse(StreamingResponse):
    """Response with the body of an upstream's, whose connection it releases.

    Parameters
    ----------
    content : AsyncIterator[bytes]
        Body.
    upstream : UpstreamResponse
        Response of the upstream.
    status : int, default 200
        HTTP status code.
    headers : dict[str, str]
        Headers.
    """

    def __init__(
        self,
        content: AsyncIterator[bytes],
        upstream: UpstreamResponse,
        *,
        status: int = 200,
        headers: dict[str, str],
    ) -> None:
        super().__init__(content, status, headers=headers)
        self._upstream = upstream

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response. The upstream is released even if the caller is gone already."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._upstream.release()


class StreamProxy:
    """Forwarding of a streamed completion.

    Parameters
    ----------
    request : CompletionRequest
        Request as received.
    upstream : UpstreamResponse
        Response of the upstream.
    reader : StreamReader
        Reader of its events.
    started : float
        Monotonic time at which the request began, in seconds.
    """

    def __init__(
        self,
        request: CompletionRequest,
        upstream: UpstreamResponse,
        reader: StreamReader,
        *,
        started: float,
    ) -> None:
        self._request = request
        self._upstream = upstream
        self._started = started
        self._reader = reader
        self._size = 0
        self._is_logged = False

    async def events(self) -> AsyncIterator[bytes]:
        """Yield the events with their new id, and log the assembled completion.

        The interaction is in the log before the caller has the end of the stream.
        """
        splitter = EventSplitter()
        try:
            async for data in self._upstream.chunks():
                self._size += len(data)
                for event in splitter.feed(data):
                    forwarded = self._reader.read(event)
                    if self._reader.is_complete:
                        await self._log()
                    if len(forwarded) <= _PIECE_BYTES:
                        if forwarded:
                            yield forwarded
                        continue
                    for piece in _pieces(forwarded):
                        yield piece
                        await asyncio.sleep(0)
            last = self._reader.read(splitter.remainder) if splitter.remainder else b""
            await self._log()
            if last:
                yield last
        except TRANSPORT_ERRORS as error:
            broken = connection_broken(self._upstream, error)
            await self._log(cut="by the upstream", error=broken)
            yield self._request.kind.error_event(broken)
        finally:
            self._log_disconnected()
            self._upstream.release()

    async def _log(self, *, cut: str | None = None, error: APIError | None = None) -> None:
        if self._is_logged:
            return
        self._end()
        if self._size <= MAX_INLINE_BYTES:
            self._log_now(cut, error)
        else:
            await asyncio.to_thread(self._log_now, cut, error)

    def _log_disconnected(self) -> None:
        """Log what was sent before the caller disconnected. Nothing may be awaited any more."""
        if self._is_logged:
            return
        self._end()
        cut = CUT_BY_CALLER
        if self._size <= MAX_INLINE_BYTES:
            self._log_now(cut)
            return
        task = asyncio.get_running_loop().create_task(asyncio.to_thread(self._log_now, cut))
        _background.add(task)
        task.add_done_callback(_background.discard)

    def _end(self) -> None:
        self._is_logged = True
        self._request.note(seconds=round(time.monotonic() - self._started, 6))

    def _log_now(self, cut: str | None, error: APIError | None = None) -> None:
        """Log the completion. A stream that broke off after the end of its answer is not cut."""
        completion = self._reader.completion()
        is_broken = not completion.get("choices") or completion.get("cut") == NO_FINISH_REASON
        if cut is not None and is_broken:
            self._request.note(cut=cut)
            if error is not None:
                self._request.note(error=error.body()["error"])
        self._request.log_completion(completion)


def connection_broken(upstream: UpstreamResponse, error: Exception) -> APIError:
    """Return the error for a response that broke off."""
    return APIError(
        502,
        f"The upstream {upstream.upstream.name} broke off its response: "
        f"{error or type(error).__name__}",
        code=BROKEN,
    )


def _pieces(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]
