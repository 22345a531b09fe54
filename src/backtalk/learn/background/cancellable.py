"""Work that can be stopped from outside, after its current step."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from backtalk.run import Progress

Result = TypeVar("Result")


class Cancelled(BaseException):
    """Raised within work that was told to stop; no handler of ordinary errors takes it."""


class CancellableTask:
    """One piece of work, which can be stopped where it waits or tells its progress.

    Parameters
    ----------
    progress : Progress, optional
        Told how far the work is.
    """

    def __init__(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._stopped = False
        self.halted: Callable[[], bool] = bool
        """Asked at each step whether to stop."""

    def stop(self) -> None:
        """Stop the work; safe to call from any thread."""
        self._stopped = True
        if self._loop is not None and self._task is not None:
            self._loop.call_soon_threadsafe(self._task.cancel)

    def progress(self, task: str, done: int, total: int | None, note: str = "") -> None:
        """Take a report, and raise ``Stopped`` where the work is to end.

        Parameters
        ----------
        task, done, total, note
            As for :class:`~backtalk.run.Progress`.
        """
        self._check()
        if self._progress is not None:
            self._progress(task, done, total, note)

    def do(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Do the work and return its result.

        Raises
        ------
        Stopped
            If it was told to stop before.
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
        if self._stopped or self.halted():
            raise Cancelled
