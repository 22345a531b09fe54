"""Fine-tuning of a gateway: its jobs, their validation, and the process that runs them."""

from __future__ import annotations

import asyncio
import logging

from backtalk.serve.fine_tuning.jobs import FineTuningJobs, ProjectJob
from backtalk.serve.fine_tuning.supervisor import FineTuningSupervisor
from backtalk.serve.settings import Settings
from backtalk.serve.store_connection import StoreConnection

log = logging.getLogger(__name__)


class FineTuningService:
    """Jobs of a gateway, validated in the background and run by another process.

    Parameters
    ----------
    settings : Settings
        Settings of the gateway.
    connection : StoreConnection
        Store of the jobs.
    """

    def __init__(self, settings: Settings, connection: StoreConnection) -> None:
        self.jobs = FineTuningJobs(connection, settings.fine_tuning)
        self._supervisor = FineTuningSupervisor(settings, connection)
        self._validations: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Start to look for jobs."""
        self._supervisor.start()

    def wake(self) -> None:
        """Look for jobs soon, after a change to the queue."""
        self._supervisor.wake()

    def validate_later(self, created: ProjectJob) -> None:
        """Validate the files of a new job in the background, then run it."""
        task = asyncio.create_task(self._validate(created))
        self._validations.add(task)
        task.add_done_callback(self._validations.discard)

    async def _validate(self, created: ProjectJob) -> None:
        try:
            await asyncio.to_thread(self.jobs.validate, created)
        except Exception:
            log.exception("The files of %s could not be validated", created.job.id)
        self._supervisor.wake()

    async def close(self) -> None:
        """Stop the process that runs jobs. The next gateway continues with them."""
        await asyncio.gather(*self._validations, return_exceptions=True)
        await self._supervisor.close()
