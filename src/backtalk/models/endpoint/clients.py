"""Clients of an endpoint: one for each event loop, closed when its loop is shut down."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@dataclass(frozen=True)
class Connection:
    """A client, and who may use it at a time."""

    client: AsyncOpenAI
    places: asyncio.Semaphore
    keeper: AsyncGenerator[None]


class Clients:
    """A client's connections belong to the event loop that they were opened in.

    Each call of :func:`~backtalk.models.run_sync.run_sync` has a loop of its own, so there is a
    client for each. A suspended generator holds it open: a loop that shuts down finishes its
    generators, and this one then closes the client.

    Parameters
    ----------
    make : Callable[[], AsyncOpenAI]
        Makes a client.
    concurrency : int
        How many may use one at a time.
    """

    def __init__(self, make: Callable[[], AsyncOpenAI], *, concurrency: int) -> None:
        self._make = make
        self._concurrency = concurrency
        self._open: WeakKeyDictionary[asyncio.AbstractEventLoop, Connection] = WeakKeyDictionary()

    async def get(self) -> Connection:
        """Return the connection of the running loop."""
        loop = asyncio.get_running_loop()
        if loop not in self._open:
            client = self._make()
            keeper = self._keep_open(loop, client)
            places = asyncio.Semaphore(self._concurrency)
            self._open[loop] = Connection(client, places, keeper)
            await anext(keeper)
        return self._open[loop]

    async def close(self) -> None:
        """Close the client of the running loop, if there is one."""
        connection = self._open.get(asyncio.get_running_loop())
        if connection is not None:
            await connection.keeper.aclose()

    async def _keep_open(
        self, loop: asyncio.AbstractEventLoop, client: AsyncOpenAI
    ) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self._open.pop(loop, None)
            await client.close()
