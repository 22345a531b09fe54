"""Notification of waiters in several event loops."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class CrossLoopEvent:
    """Notify waiters across event loops. Not thread-safe; callers hold a lock."""

    def __init__(self) -> None:
        self._waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def wait(self) -> asyncio.Event:
        """Return an event of the running loop, which the next :meth:`notify` sets."""
        event = asyncio.Event()
        self._waiters.append((asyncio.get_running_loop(), event))
        return event

    def notify(self) -> None:
        """Wake all waiters; may be called from any thread."""
        waiters, self._waiters = self._waiters, []
        for loop, event in waiters:
            with suppress(RuntimeError):  # the loop was closed, so its waiters are gone
                loop.call_soon_threadsafe(event.set)
