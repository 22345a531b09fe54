"""Pool of HTTP clients: one per event loop, closed when its loop shuts down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True)
class PooledClient:
    """Client of one event loop."""

    client: AsyncOpenAI
    semaphore: asyncio.Semaphore
    """Limit of concurrent calls."""
    first_call: asyncio.Lock
    """Held by the first call to a model, which finds out which parameters the server takes."""
    lifetime: AsyncGenerator[None]
    """Suspended generator that closes the client when it is finalised."""


class ClientPool:
    """Clients by event loop, as connections belong to the loop that opened them.

    Each call of :func:`~backtalk.models.run_sync.run_sync` has its own loop and hence its own
    client. A suspended generator holds the client open. A loop that shuts down finalises its
    generators, and this one closes the client.

    Parameters
    ----------
    make : Callable[[], AsyncOpenAI]
        Makes a client.
    concurrency : int
        Maximum number of concurrent calls per client.
    """

    def __init__(self, make: Callable[[], AsyncOpenAI], *, concurrency: int) -> None:
        self._make = make
        self._concurrency = concurrency
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, PooledClient] = WeakKeyDictionary()

    async def get(self) -> PooledClient:
        """Return the client of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            client = self._make()
            lifetime = self._hold_open(loop, client)
            semaphore = asyncio.Semaphore(self._concurrency)
            self._open[loop] = PooledClient(client, semaphore, asyncio.Lock(), lifetime)
            await anext(lifetime)
        return self._open[loop]

    async def close(self) -> None:
        """Close the client of the running loop, if there is one."""
        pooled = self._open.get(asyncio.get_running_loop())
        if pooled is not None:
            await pooled.lifetime.aclose()

    async def _hold_open(
        self, loop: asyncio.AbstractEventLoop, client: AsyncOpenAI
    ) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._open.pop(loop, None)
            await client.close()
