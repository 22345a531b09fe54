"""Worker that runs the fine-tuning jobs of all projects of a store, one at a time."""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from backtalk.errors import BacktalkError
from backtalk.feedback.record import now
from backtalk.learn.background.cancellable import CancellableTask, Cancelled
from backtalk.learn.background.heartbeat import LeaseHeartbeat
from backtalk.models import BudgetExceeded
from backtalk.run import Progress
from backtalk.serve.files.file_store import FileStore
from backtalk.serve.fine_tuning.budget import JobBudgetExceeded
from backtalk.serve.fine_tuning.events import append_event
from backtalk.serve.fine_tuning.holders import acquire, machine_lease, new_holder
from backtalk.serve.fine_tuning.job import (
    KIND,
    JobError,
    JobProgress,
    read_progress,
    read_spec,
)
from backtalk.serve.fine_tuning.settings import FineTuningSettings
from backtalk.serve.fine_tuning.training import JobRun
from backtalk.serve.fine_tuning.training_data import InvalidFile
from backtalk.serve.fine_tuning.validation import check_job
from backtalk.store import Store
from backtalk.store.availability import UNAVAILABLE, FilePresence, StoreUnavailable
from backtalk.store.jobs import Job, LeaseLost

log = logging.getLogger(__name__)

_LEASE_SECONDS = 30.0
_POLL_SECONDS = 1.0
_STATE_SECONDS = 0.5
"""Time between two checks whether a job has been paused or cancelled."""
_RETRY_SECONDS = 10.0
"""Delay of the next attempt after an error of the system, such as a full disk."""
_MAX_RECONNECT_SECONDS = 30.0
_MAX_ATTEMPTS = 5


class FineTuningWorker:
    """Worker that runs jobs until it is stopped, or nothing is left to do.

    One worker at a time runs on a machine, and one job at a time in a project.

    Parameters
    ----------
    store : Store
        Store of the jobs, of any project; its project holds the lease of the worker.
    settings : FineTuningSettings
        Options of this machine.
    report : Callable[[str], None], default log.info
        Function that receives messages in one line.
    progress : Progress, optional
        Function that receives the progress of jobs.
    """

    def __init__(
        self,
        store: Store,
        settings: FineTuningSettings,
        *,
        report: Callable[[str], None] = log.info,
        progress: Progress | None = None,
    ) -> None:
        self._store = store
        self._settings = settings
        self._report = report
        self._progress = progress
        self._files = FileStore.beside(store.artifacts)
        self._holder = new_holder()
        self._stopping = threading.Event()
        self._task: CancellableTask | None = None
        self._unfinished: tuple[str, Job, int] | None = None
        """Project, job and term of the last attempt, unless its end is in the store."""
        self._presence = FilePresence(store.url)

    def stop(self) -> None:
        """Stop after the current step; safe to call from signal handlers and other threads."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()

    def run(self, *, idle_seconds: float | None = None) -> bool:
        """Run jobs until :meth:`stop` is called; also after an outage of the store.

        Parameters
        ----------
        idle_seconds : float, optional
            Time without a job after which to return. Default: no limit.

        Returns
        -------
        bool
            False if another worker runs on this machine.

        Raises
        ------
        StoreUnavailable
            If an outage of the store takes longer than ``idle_seconds``.
        """
        idle_since, delay = time.monotonic(), 0.0
        outage: StoreUnavailable | None = None
        try:
            while not self._stopping.is_set():
                try:
                    if not self._acquire_machine():
                        return False
                    is_busy, outage = self._run_next(), None
                except UNAVAILABLE as error:
                    is_busy, outage = outage is None, self._disconnect(error)
                if is_busy:
                    idle_since = time.monotonic()
                elif idle_seconds is not None and time.monotonic() - idle_since >= idle_seconds:
                    if outage is not None:
                        raise outage
                    return True
                if outage is not None:
                    delay = min(max(2 * delay, _POLL_SECONDS), _MAX_RECONNECT_SECONDS)
                else:
                    delay = 0.0 if is_busy else _POLL_SECONDS
                self._stopping.wait(delay)
        finally:
            self._release(self._store, machine_lease())
        return True

    def _acquire_machine(self) -> bool:
        """Acquire or renew the lease of this machine; return false if another worker holds it."""
        if self._presence.was_replaced():
            self._store.engine.dispose()
        term = acquire(self._store.leases, machine_lease(), self._holder, _LEASE_SECONDS)
        return term is not None

    def _disconnect(self, error: Exception) -> StoreUnavailable:
        message = f"The store is unavailable: {_first_line(error)}"
        log.warning("%s", message)
        self._store.engine.dispose()
        return StoreUnavailable(message, "Retry when the store is back")

    def _release(self, store: Store, name: str) -> None:
        try:
            store.leases.release(name, self._holder)
        except UNAVAILABLE as error:
            log.debug("The lease was not released: %s", error)

    def _run_next(self) -> bool:
        """Run the next job of one project; return true if there was one."""
        for project in self._store.projects_with_due_jobs(KIND):
            store = self._store.in_project(project)
            term = acquire(store.leases, KIND, self._holder, _LEASE_SECONDS)
            if term is None:
                continue
            try:
                self._return_unfinished(store, term)
                job = store.jobs.claim(KIND, term=term)
                if job is not None:
                    self._run_job(store, job, term)
                    return True
            except LeaseLost as error:
                log.warning("%s", error)
            finally:
                self._release(store, KIND)
        return False

    def _return_unfinished(self, store: Store, term: int) -> None:
        """Return the job that an outage interrupted to the queue; its attempt does not count."""
        if self._unfinished is None or self._unfinished[0] != store.project:
            return
        _, job, previous_term = self._unfinished
        # If the term grew by one, by this process itself, no other process can have begun it.
        if term - previous_term <= 1:
            store.jobs.release(job, term=term)
        self._unfinished = None

    def _run_job(self, store: Store, job: Job, term: int) -> None:
        if job.attempts > _MAX_ATTEMPTS:
            message = job.error or f"Its process died in each of {_MAX_ATTEMPTS} attempts"
            self._fail(store, job, term, JobError(code="server_error", message=message))
            return
        self._unfinished = (store.project, job, term)
        folder = run_folder(store, job.id)
        try:
            done = self._attempt(store, job, term, folder)
        except Cancelled:
            self._put_back(store, job, term, folder)
        except LeaseLost:
            raise
        except UNAVAILABLE as error:
            store.jobs.get(
                job.id
            )  # Raises if the store is unavailable and the job is not at fault.
            store.jobs.fail(job.id, str(error), term=term, retry_at=_later())
        except Exception as error:
            if not isinstance(error, BacktalkError):
                log.exception("The job %s failed", job.id)
            self._fail(store, job, term, job_error(error))
            if not isinstance(error, JobBudgetExceeded | BudgetExceeded):
                shutil.rmtree(folder, ignore_errors=True)
        else:
            append_event(store, job.id, "The job has successfully completed")
            store.jobs.complete(job.id, done.to_json(), term=term)
            shutil.rmtree(folder, ignore_errors=True)
            self._report(f"{job.id} succeeded")
        self._unfinished = None

    def _attempt(self, store: Store, job: Job, term: int, folder: Path) -> JobProgress:
        spec, progress = read_spec(job), read_progress(job)
        save = partial(_save_progress, store, job.id, term)
        with self._stoppable_task(store, job) as task:
            if progress.status in {"validating_files", "failed"}:
                progress = check_job(store, job, self._files, self._settings)
            self._begin(store, job, progress)
            progress = progress.changed(status="running")
            save(progress)
            return JobRun(
                store, self._files, job.id, spec, folder, self._settings.options, save
            ).run(progress, task)

    def _begin(self, store: Store, job: Job, progress: JobProgress) -> None:
        is_first = progress.hyperparameters is None
        text = "Fine-tuning job started" if is_first else "Fine-tuning job resumed"
        append_event(store, job.id, text)
        self._report(f"{job.id}: {text}, project {store.project}")

    @contextmanager
    def _stoppable_task(self, store: Store, job: Job) -> Iterator[CancellableTask]:
        """Yield a task that ends if the worker, a lease or the job does."""
        task = self._task = CancellableTask(self._progress)
        heartbeats = [
            LeaseHeartbeat(leases, name, self._holder, _LEASE_SECONDS, task.cancel)
            for leases, name in ((self._store.leases, machine_lease()), (store.leases, KIND))
        ]
        checked = time.monotonic()

        def has_ended() -> bool:
            nonlocal checked
            if self._stopping.is_set() or any(heartbeat.lost for heartbeat in heartbeats):
                return True
            if time.monotonic() - checked < _STATE_SECONDS:
                return False
            checked = time.monotonic()
            return store.jobs.get(job.id).state != "waiting"

        try:
            with heartbeats[0], heartbeats[1]:
                task.should_cancel = has_ended
                yield task
                if store.jobs.get(job.id).state != "waiting":
                    raise Cancelled
        finally:
            self._task = None

    def _put_back(self, store: Store, job: Job, term: int, folder: Path) -> None:
        """Leave a stopped job to a later attempt, unless it was cancelled."""
        current = store.jobs.get(job.id)
        self._report(f"{job.id} stopped: {current.state}")
        if current.state == "cancelled":
            shutil.rmtree(folder, ignore_errors=True)
        elif current.state == "waiting":
            _save_progress(store, job.id, term, read_progress(current).stopped())
            store.jobs.release(job, term=term)

    def _fail(self, store: Store, job: Job, term: int, error: JobError) -> None:
        if store.jobs.get(job.id).state != "waiting":
            return
        append_event(store, job.id, error.message, level="error")
        progress = read_progress(store.jobs.get(job.id)).changed(status="failed", error=error)
        store.jobs.checkpoint(job.id, progress.to_json(), term=term)
        store.jobs.fail(job.id, error.message, term=term)
        self._report(f"{job.id} failed: {error.message}")


def run_folder(store: Store, job_id: str) -> Path:
    """Return the folder of a job's run, next to the artifacts."""
    return store.artifacts.folder_beside("runs") / job_id


def job_error(error: Exception) -> JobError:
    """Return the reason of a failure, in the form of OpenAI's API."""
    message = str(error) or type(error).__name__
    if isinstance(error, InvalidFile):
        return JobError(code=f"invalid_{error.param}", message=message, param=error.param)
    if isinstance(error, JobBudgetExceeded | BudgetExceeded):
        return JobError(code="budget_exceeded", message=message)
    if isinstance(error, BacktalkError):
        return JobError(code="training_failed", message=message)
    return JobError(code="server_error", message=f"{type(error).__name__}: {message}")


def _save_progress(store: Store, job_id: str, term: int, progress: JobProgress) -> None:
    store.jobs.checkpoint(job_id, progress.to_json(), term=term)


def _later() -> datetime:
    return now() + timedelta(seconds=_RETRY_SECONDS)


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0]
