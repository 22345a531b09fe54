"""Supervisor of the process that runs fine-tuning jobs, started when a job waits."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
from contextlib import suppress

from backtalk.errors import BacktalkError
from backtalk.serve.fine_tuning.holders import is_held, machine_lease
from backtalk.serve.fine_tuning.job import KIND
from backtalk.serve.settings import SETTINGS_VARIABLE, Settings
from backtalk.serve.store_connection import UNAVAILABLE, StoreConnection

log = logging.getLogger(__name__)

_POLL_SECONDS = 2.0
_FAST_POLL_SECONDS = 0.25
_FAST_POLLS = 8
"""Number of fast polls after a request that changed the queue."""


class FineTuningSupervisor:
    """Supervisor of the process that runs jobs. Jobs run apart from the process of requests.

    Parameters
    ----------
    settings : Settings
        Settings of the gateway, which the process gets in its environment.
    connection : StoreConnection
        Store of the jobs.
    """

    def __init__(self, settings: Settings, connection: StoreConnection) -> None:
        self._settings = settings
        self._connection = connection
        self._process: subprocess.Popen[bytes] | None = None
        self._task: asyncio.Task[None] | None = None
        self._woken = asyncio.Event()

    def start(self) -> None:
        """Start to look for jobs."""
        if self._settings.fine_tuning.train:
            self._task = asyncio.create_task(self._run())

    def wake(self) -> None:
        """Look for jobs soon."""
        self._woken.set()

    async def close(self) -> None:
        """Stop the process. A job that it runs is left to the next one."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._process is not None:
            await asyncio.to_thread(self._stop, self._process)

    async def _run(self) -> None:
        fast = 0
        while True:
            delay = _FAST_POLL_SECONDS if fast else _POLL_SECONDS
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), delay)
            fast = _FAST_POLLS if self._woken.is_set() else max(fast - 1, 0)
            self._woken.clear()
            try:
                await asyncio.to_thread(self._start_if_needed)
            except (*UNAVAILABLE, BacktalkError) as error:
                log.debug("The jobs could not be read: %s", error)
            except Exception:
                log.exception("The process of fine-tuning jobs could not be started")

    def _start_if_needed(self) -> None:
        if self._process is not None:
            if self._process.poll() is None:
                return
            self._process = None
        store = self._connection.store(self._settings.project)
        waiting = store.projects_with_due_jobs(KIND)
        if not waiting or is_held(store.leases, machine_lease()):
            return
        if all(is_held(store.in_project(name).leases, KIND) for name in waiting):
            return
        self._process = subprocess.Popen(
            [sys.executable, "-m", "backtalk.serve.fine_tuning"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, SETTINGS_VARIABLE: self._settings.to_json()},
        )

    def _stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        try:
            process.wait(self._settings.shutdown_timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdin is not None:
            process.stdin.close()
