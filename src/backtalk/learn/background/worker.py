"""Worker that runs rounds as feedback arrives; one process leads, the others are on standby."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from backtalk.errors import BacktalkError, NotFound
from backtalk.feedback.record import now
from backtalk.learn.background.cancellable import CancellableTask, Cancelled
from backtalk.learn.background.heartbeat import LeaseHeartbeat
from backtalk.learn.background.round import run_round
from backtalk.learn.background.spec import Round, RoundOutcome, WatchSpec
from backtalk.learn.background.trigger import Trigger
from backtalk.learn.left_out_rows import describe_left_out
from backtalk.memory.effect import retire_in_project
from backtalk.models import Budget, BudgetExceeded
from backtalk.models.wrappers.budget import Prices
from backtalk.policy import read_policy
from backtalk.run import Progress, Run
from backtalk.store import Store
from backtalk.store.availability import UNAVAILABLE, FilePresence, StoreUnavailable
from backtalk.store.jobs import Job, LeaseLost

log = logging.getLogger(__name__)

Report = Callable[[str], None]
"""Function that receives a message in one line."""

_MAX_RECONNECT_SECONDS = 30.0
_RETIREMENT_SECONDS = 60.0
"""Minimum time between two checks for harmful memory entries."""


@dataclass(frozen=True)
class WorkerConfig:
    """Polling, lease and retries of a worker; durations in seconds."""

    poll_seconds: float = 2.0
    """Time between two checks for new feedback."""
    lease_seconds: float = 30.0
    """Duration of the lease; another worker takes over when it expires."""
    max_attempts: int = 5
    """Number of attempts after which a job is failed."""
    backoff_seconds: float = 10.0
    """Delay before the second attempt; doubled for each further attempt."""
    max_backoff_seconds: float = 3_600.0
    settle_seconds: float = 5.0
    """Age of feedback from which it counts, if several processes write at once: a transaction that
    began earlier may end later."""


class Worker:
    """Worker that learns in rounds from feedback as it arrives.

    A round is a job in the store. It is determined by the specification, the policy to improve and
    the last feedback item. The holder of the lease runs it step by step. If its process dies,
    another worker continues from the last checkpoint, and reuses the responses that were paid for
    if both see the same folder.

    Parameters
    ----------
    store : Store
        Store with the feedback: a file or PostgreSQL.
    watch : WatchSpec
        Specification of the rounds.
    every : int, default 100
        Number of new feedback items that start a round.
    interval : float, optional
        Age of the oldest new feedback item, in seconds, that starts a round; no limit by default.
    budget : Budget, optional
        Limits of each round.
    prices : Prices, optional
        Prices of models, if money is limited.
    config : WorkerConfig, optional
        Polling, lease and retries.
    report : Report, default log.info
        Function that receives messages.
    progress : Progress, optional
        Function that receives the progress of rounds.

    Raises
    ------
    BacktalkError
        If rounds cannot succeed; see :meth:`~backtalk.learn.background.spec.WatchSpec.check`.
    """

    def __init__(
        self,
        store: Store,
        watch: WatchSpec,
        *,
        every: int = 100,
        interval: float | None = None,
        budget: Budget | None = None,
        prices: Prices | None = None,
        config: WorkerConfig | None = None,
        report: Report = log.info,
        progress: Progress | None = None,
    ) -> None:
        watch.check(store)
        self._store = store
        self._watch = watch
        self._limits = (budget, prices)
        self._config = config or WorkerConfig()
        self._report = report
        self._last_message = ""
        self._progress = progress
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._task: CancellableTask | None = None
        self._trigger = Trigger(
            store,
            watch,
            every=every,
            interval=interval,
            settle_seconds=self._config.settle_seconds,
        )
        self._term = 0
        self._retired_at = float("-inf")
        self._unfinished: tuple[Job, int] | None = None
        self._presence = FilePresence(store.url)

    def stop(self) -> None:
        """Stop after the current step; safe to call from signal handlers and other threads."""
        self._stopping.set()
        if self._task is not None:
            self._task.cancel()

    def run(self, *, once: bool = False) -> None:
        """Run rounds until :meth:`stop` is called.

        Parameters
        ----------
        once : bool, default False
            If true, run the rounds that are due and return.

        Raises
        ------
        StoreUnavailable
            If ``once`` is true and the store is unavailable.
        """
        delay = 0.0
        try:
            while not self._stopping.is_set():
                try:
                    ran = self._run_next()
                except UNAVAILABLE as error:
                    message = f"The store is unavailable: {str(error).splitlines()[0]}"
                    if once:
                        raise StoreUnavailable(message, "Retry when the store is back") from error
                    self._report_change(message)
                    self._store.engine.dispose()
                    delay = min(max(2 * delay, self._config.poll_seconds), _MAX_RECONNECT_SECONDS)
                else:
                    delay = 0.0 if ran else self._config.poll_seconds
                if once and not delay:
                    continue
                if once:
                    return
                self._stopping.wait(delay)
        finally:
            self._release()

    def _run_next(self) -> bool:
        """Run one job if this process leads and a job is due; return true if it did."""
        if self._presence.was_replaced():
            self._store.engine.dispose()
        kind = self._watch.kind
        term = self._store.leases.acquire(kind, self._holder, self._config.lease_seconds)
        if term is None:
            self._trigger.reset()
            self._report_change("Another worker leads; this one is on standby")
            return False
        self._lead(term)
        self._retire_entries()
        job = self._store.jobs.claim(kind, term=term)
        if job is None:
            self._enqueue_round()
            job = self._store.jobs.claim(kind, term=term)
        if job is None:
            return False
        try:
            self._run_job(job, term)
        except LeaseLost as error:
            self._report(str(error))
        return True

    def _lead(self, term: int) -> None:
        if term != self._term:
            self._report_change(f"Watching for feedback to learn from with {self._watch.method}")
        if self._unfinished is not None:
            job, previous_term = self._unfinished
            # If the term grew by one, by this process itself, no other process can have begun it.
            if term - previous_term <= 1:
                self._store.jobs.release(job, term=term)
            self._unfinished = None
        self._term = term

    def _retire_entries(self) -> None:
        """Retire memory entries whose measured effect is harmful, at most once a minute."""
        if time.monotonic() - self._retired_at < _RETIREMENT_SECONDS:
            return
        for retirement in retire_in_project(self._store):
            entry = retirement.entry
            self._report(f"Memory entry {entry.id[:8]} is retired: {retirement.reason}")
        self._retired_at = time.monotonic()

    def _enqueue_round(self) -> None:
        try:
            due = self._trigger.due_round()
        except NotFound as error:
            self._report_change(str(error))
            return
        if due is None:
            return
        todo, count = due
        self._store.jobs.put(self._watch.kind, todo.id, todo.to_json())
        self._trigger.reset()
        self._report_change(f"{count:,} new feedback items: round {todo.id[:8]} starts")

    def _run_job(self, job: Job, term: int) -> None:
        jobs = self._store.jobs
        if job.attempts > self._config.max_attempts:
            error = job.error or f"Its process died in each of {self._config.max_attempts} attempts"
            jobs.fail(job.id, error, term=term)
            self._report_change(f"Round {job.id[:8]} is given up: {error}")
            return
        try:
            outcome = self._run_round(job, term)
        except Cancelled:
            self._unfinished = (job, term)
            if self._stopping.is_set():
                jobs.release(job, term=term)
        except LeaseLost:
            raise
        except UNAVAILABLE as error:
            self._unfinished = (job, term)
            jobs.get(job.id)  # Raises if the store is unavailable and the job is not at fault.
            self._unfinished = None
            self._fail(job, term, _message(error))
        except Exception as error:
            log.debug("Round %s failed", job.id, exc_info=True)
            self._fail(job, term, _message(error), final=isinstance(error, BudgetExceeded))
        else:
            jobs.complete(job.id, outcome.to_json(), term=term)
            shutil.rmtree(self._folder(job), ignore_errors=True)
            self._report_change(f"Round {job.id[:8]} is complete: {_summary(outcome)}")
            if outcome.policy is not None:
                learned = read_policy(self._store, outcome.policy)
                for line in describe_left_out(learned, self._store.artifacts):
                    self._report(line)

    def _run_round(self, job: Job, term: int) -> RoundOutcome:
        todo = Round.model_validate_json(job.body)
        outcome = (
            RoundOutcome() if job.result is None else RoundOutcome.model_validate_json(job.result)
        )

        def checkpoint(outcome: RoundOutcome) -> None:
            self._store.jobs.checkpoint(job.id, outcome.to_json(), term=term)

        task = self._task = CancellableTask(self._progress)
        try:
            with LeaseHeartbeat(
                self._store.leases,
                job.kind,
                self._holder,
                self._config.lease_seconds,
                task.cancel,
            ) as heartbeat:
                task.should_cancel = lambda: heartbeat.lost or self._stopping.is_set()
                budget, prices = self._limits
                with Run(
                    self._folder(job),
                    seed=todo.watch.seed,
                    budget=budget,
                    prices=prices,
                    progress=task.progress,
                ) as run:
                    return task.run(
                        run_round(todo, self._store, run, outcome=outcome, checkpoint=checkpoint)
                    )
        finally:
            self._task = None

    def _fail(self, job: Job, term: int, error: str, *, final: bool = False) -> None:
        config = self._config
        if final or job.attempts >= config.max_attempts:
            self._store.jobs.fail(job.id, error, term=term)
            self._report_change(f"Round {job.id[:8]} failed for good: {error}")
            return
        delay = min(config.backoff_seconds * 2 ** (job.attempts - 1), config.max_backoff_seconds)
        self._store.jobs.fail(job.id, error, term=term, retry_at=now() + timedelta(seconds=delay))
        self._report_change(f"Round {job.id[:8]} failed, next attempt in {delay:g} s: {error}")

    def _folder(self, job: Job) -> Path:
        return self._store.artifacts.folder_beside("runs") / job.id

    def _release(self) -> None:
        try:
            self._store.leases.release(self._watch.kind, self._holder)
        except UNAVAILABLE as error:
            log.debug("The lease was not released: %s", error)

    def _report_change(self, message: str) -> None:
        """Report a message unless it equals the last one."""
        if message != self._last_message:
            self._report(message)
        self._last_message = message


def _message(error: Exception) -> str:
    return str(error) if isinstance(error, BacktalkError) else f"{type(error).__name__}: {error}"


def _summary(outcome: RoundOutcome) -> str:
    parts = [] if outcome.policy is None else [f"policy {outcome.policy[:8]}"]
    if outcome.evaluation is not None:
        parts.append(f"evaluation {outcome.evaluation[:8]}")
    if outcome.promoted:
        parts.append("promoted")
    if outcome.experiment is not None:
        parts.append(f"experiment {outcome.experiment} starts")
    if outcome.reason is not None:
        parts.append(outcome.reason)
    return ", ".join(parts)
