"""Coroutine runner that can be cancelled from another thread, at the next step of the work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from backtalk.run import Progress

Result = TypeVar("Result")


class Cancelled(BaseException):
    """Raised inside cancelled work; handlers of ordinary exceptions do not catch it."""


class CancellableTask:
    """Work that can be cancelled where it awaits or reports progress.

    Parameters
    ----------
    progress : Progress, optional
        Function that receives the progress reports of the work.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._cancelled = False
        self.should_cancel: Callable[[], bool] = bool
        """Function that is called at each step; the work is cancelled if it returns true."""

    def cancel(self) -> None:
        """Cancel the work; safe to call from any thread."""
        self._cancelled = True
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def progress(self, task: str, done: int, total: int | None, note: str = "") -> None:
        """Pass on a progress report.

        Parameters
        ----------
        task : str
            Name of the task.
        done : int
            Number of completed units.
        total : int or None
            Number of all units, if known.
        note : str, default ""
            Latest measurements.

        Raises
        ------
        Cancelled
            If the work was cancelled.
        """
        self._check()
        if self._progress is not None:
            self._progress(task, done, total, note)

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine and return its result.

        Raises
        ------
        Cancelled
            If the work is cancelled before it ends.
        """
        return asyncio.run(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, Result]) -> Result:
        self._loop = asyncio.get_running_loop()
        task = asyncio.create_task(work)
        self._task = task
        try:
            self._check()
            return await task
        except asyncio.CancelledError:
            raise Cancelled from None
        finally:
            self._loop = None
            task.cancel()

    def _check(self) -> None:
        if self._cancelled or self.should_cancel():
            raise Cancelled
