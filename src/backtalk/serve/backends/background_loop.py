"""Event loop on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

_MAX_CONCURRENCY = 64
"""Maximum number of coroutines that run at a time; the others wait."""

T = TypeVar("T")


class BackgroundLoop:
    """Event loop on its own thread, so that computations do not block the gateway.

    Parameters
    ----------
    name : str
        Name of the thread.
    """

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._semaphore = asyncio.Semaphore(_MAX_CONCURRENCY)
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    async def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the loop and return its result."""

        async def run_with_semaphore() -> T:
            async with self._semaphore:
                return await coroutine

        return await asyncio.wrap_future(
            asyncio.run_coroutine_threadsafe(run_with_semaphore(), self._loop)
        )

    def close(self) -> None:
        """Stop the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()
