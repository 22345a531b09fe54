"""Waking those who wait for something, each in their own event loop."""

from __future__ import annotations

import asyncio
from contextlib import suppress


class CrossLoopEvent:
    """Wakes who listens. The caller guards it with a lock of its own."""

    def __init__(self) -> None:
        self._listening: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def wait(self) -> asyncio.Event:
        """Return an event of the running loop that is set when the bell next rings."""
        event = asyncio.Event()
        self._listening.append((asyncio.get_running_loop(), event))
        return event

    def notify(self) -> None:
        """Wake all who listen; from any thread."""
        listening, self._listening = self._listening, []
        for loop, event in listening:
            with suppress(RuntimeError):  # the loop was closed, so nobody listens any more
                loop.call_soon_threadsafe(event.set)
