"""Cancellation of the work for a caller who disconnects before the answer begins."""

from __future__ import annotations

import asyncio
from types import TracebackType

from starlette.requests import Request

from backtalk.serve.errors import APIError

_DELAY_SECONDS = 0.05
"""Delay before the connection is watched, so that fast answers need no further task."""


class cancel_on_disconnect:  # noqa: N801 - used as a function
    """Context manager that cancels its block when the caller disconnects.

    The body of the request must have been read.

    Parameters
    ----------
    request : Request
        Request.

    Raises
    ------
    APIError
        If the caller has disconnected. Nobody receives it; its status, 499, is counted and logged.

    Examples
    --------
    >>> async def answer(request, upstreams, message):
    ...     with cancel_on_disconnect(request):
    ...         return await upstreams.send(message)
    """

    def __init__(self, request: Request) -> None:
        self._receive = request.receive
        self._watcher: asyncio.Task[None] | None = None
        self._is_disconnected = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._timer = task.get_loop().call_later(_DELAY_SECONDS, self._start)

    def _start(self) -> None:
        self._watcher = self._task.get_loop().create_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._is_disconnected = True
        self._task.cancel()

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
        if self._is_disconnected:
            self._task.uncancel()
            raise APIError(499, "The caller disconnected before the answer began") from None
