"""Retirement of harmful memory entries while the gateway serves."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets

from backtalk.errors import BacktalkError
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection

log = logging.getLogger(__name__)

LEASE = "memory retirement"
"""Name of the lease of the process that retires the entries of a project."""

_CHECK_SECONDS = 30.0
_LEASE_SECONDS = 90.0


class RetirementController:
    """Background task that retires entries whose measured effect is harmful.

    It reads the feedback that is new since the last check, every half a minute, in the process that
    holds the lease.

    Parameters
    ----------
    connection : StoreConnection
        Store of the memories.
    check_seconds : float, default 30
        Time between two checks, in seconds.
    """

    def __init__(
        self, connection: StoreConnection, *, check_seconds: float = _CHECK_SECONDS
    ) -> None:
        self._connection = connection
        self._check_seconds = check_seconds
        self._holder = f"gateway-{secrets.token_hex(8)}"
        self._led: set[str] = set()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start the task."""
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop the task and release the leases."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        for project in self._led:
            with contextlib.suppress(*UNAVAILABLE, BacktalkError):
                await asyncio.to_thread(self._release, project)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._check_seconds)
            try:
                await asyncio.to_thread(self.check)
            except (*UNAVAILABLE, BacktalkError) as error:
                log.info("The effects of memory entries could not be read: %s", error)
            except Exception:
                log.exception("Error while retiring memory entries; retrying")

    def check(self) -> None:
        """Retire the harmful entries of all projects that have a memory."""
        from backtalk.memory.effect import retire_in_project  # noqa: PLC0415 - imports NumPy

        for project in self._connection.store().projects():
            store = self._connection.store(project)
            if not store.memories.names():
                continue
            if store.leases.acquire(LEASE, self._holder, _LEASE_SECONDS) is None:
                continue
            self._led.add(project)
            for retirement in retire_in_project(store):
                log.info("Entry %s is retired: %s", retirement.entry.id, retirement.reason)

    def _release(self, project: str) -> None:
        self._connection.store(project).leases.release(LEASE, self._holder)
