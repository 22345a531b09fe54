"""The loop that learns whenever enough feedback has come: one process leads, others stand by."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import socket
import threading
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
from backtalk.models import Budget, BudgetExceeded
from backtalk.models.wrappers.budget import Prices
from backtalk.run import Progress, Run
from backtalk.store import Store
from backtalk.store.availability import AWAY, Presence, StoreReplaced
from backtalk.store.jobs import Job, LeaseLost

log = logging.getLogger(__name__)

Tell = Callable[[str], None]

_LONGEST_AWAY = 30.0


@dataclass(frozen=True)
class WorkerConfig:
    """How often a watcher looks, and how long it waits; all in seconds."""

    poll: float = 2.0
    """Between two looks for new feedback."""
    lease: float = 30.0
    """After so long without a sign of life, another watcher takes over."""
    tries: int = 5
    """After so many a job is given up."""
    pause: float = 10.0
    """Before the second try; doubled for each further one."""
    longest_pause: float = 3_600.0
    settle: float = 5.0
    """How long feedback has to be there before it counts, where several processes write: one that
    began earlier may end later."""


class Worker:
    """Learns in rounds from the feedback that comes in.

    A round is a job in the store. It is determined by what is learned, from which policy, and up
    to which feedback; whoever holds the lease of its kind does it, step by step. A process that
    dies in the middle is followed by one that goes on from the last step, with the answers that
    were paid for already where both see the same folder.

    Parameters
    ----------
    store : Store
        Where feedback comes in, and policies are kept. A file, or PostgreSQL.
    watch : WatchSpec
        What is learned.
    every : int, default 100
        A round begins when so much new feedback is there that the method can use.
    interval : float, optional
        A round begins when some has waited for so many seconds; it waits for more, if left out.
    budget, prices
        What each round may spend.
    pace : WorkerConfig, optional
        How often it looks.
    tell : Tell, default log.info
        Told what happens, a line each.
    progress : Progress, optional
        Told how far a round is.

    Raises
    ------
    BacktalkError
        If it could only fail; see :meth:`~backtalk.learn.background.spec.WatchSpec.check`.
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
        pace: WorkerConfig | None = None,
        tell: Tell = log.info,
        progress: Progress | None = None,
    ) -> None:
        watch.check(store)
        self._store = store
        self._watch = watch
        self._limits = (budget, prices)
        self._pace = pace or WorkerConfig()
        self._tell = tell
        self._said = ""
        self._progress = progress
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._stopping = threading.Event()
        self._doing: CancellableTask | None = None
        self._due = Trigger(store, watch, every=every, interval=interval, settle=self._pace.settle)
        self._term = 0
        self._unended: tuple[Job, int] | None = None
        self._presence = Presence(store)

    def stop(self) -> None:
        """End after the current step; safe to call from a signal handler and from any thread."""
        self._stopping.set()
        if self._doing is not None:
            self._doing.stop()

    def run(self, *, once: bool = False) -> None:
        """Learn until :meth:`stop` is called, or until nothing is due.

        Parameters
        ----------
        once : bool, default False
            Do what is due and end.
        """
        pause = 0.0
        try:
            while not self._stopping.is_set():
                try:
                    again = self._turn()
                except AWAY as error:
                    away = f"The store is away: {str(error).splitlines()[0]}"
                    if once:
                        raise StoreReplaced(away, "Call it again when the store is back") from error
                    self._say(away)
                    self._store.engine.dispose()
                    pause = min(max(2 * pause, self._pace.poll), _LONGEST_AWAY)
                else:
                    pause = 0.0 if again else self._pace.poll
                if once and not pause:
                    continue
                if once:
                    return
                self._stopping.wait(pause)
        finally:
            self._release()

    def _turn(self) -> bool:
        """Do one job, if this process leads and one is due; return whether it did."""
        self._presence.check()
        kind = self._watch.kind
        term = self._store.leases.acquire(kind, self._holder, self._pace.lease)
        if term is None:
            self._due.forget()
            self._say("Another watcher leads; this one stands by")
            return False
        self._lead(term)
        job = self._store.jobs.claim(kind, term=term)
        if job is None:
            self._put_round()
            job = self._store.jobs.claim(kind, term=term)
        if job is None:
            return False
        try:
            self._do(job, term)
        except LeaseLost as error:
            self._tell(str(error))
        return True

    def _lead(self, term: int) -> None:
        if term != self._term:
            self._say(f"Watching for feedback to learn from with {self._watch.method}")
        if self._unended is not None:
            job, then = self._unended
            # Nobody else can have begun it where the term grew by one, which is this process's own.
            if term - then <= 1:
                self._store.jobs.release(job, term=term)
            self._unended = None
        self._term = term

    def _put_round(self) -> None:
        try:
            due = self._due.round()
        except NotFound as error:
            self._say(str(error))
            return
        if due is None:
            return
        todo, count = due
        self._store.jobs.put(self._watch.kind, todo.id, todo.to_json())
        self._due.forget()
        self._say(f"{count:,} new pieces of feedback: round {todo.id[:8]} begins")

    def _do(self, job: Job, term: int) -> None:
        jobs = self._store.jobs
        if job.tries > self._pace.tries:
            error = job.error or f"Its process died in each of {self._pace.tries} tries"
            jobs.fail(job.id, error, term=term)
            self._say(f"Round {job.id[:8]} is given up: {error}")
            return
        try:
            outcome = self._work(job, term)
        except Cancelled:
            self._unended = (job, term)
            if self._stopping.is_set():
                jobs.release(job, term=term)
        except LeaseLost:
            raise
        except AWAY as error:
            self._unended = (job, term)
            jobs.get(job.id)  # raises, if it is the store that is away and not the job that is bad
            self._unended = None
            self._failed(job, term, _said(error))
        except Exception as error:
            log.debug("Round %s failed", job.id, exc_info=True)
            self._failed(job, term, _said(error), final=isinstance(error, BudgetExceeded))
        else:
            jobs.done(job.id, outcome.to_json(), term=term)
            shutil.rmtree(self._folder(job), ignore_errors=True)
            self._say(f"Round {job.id[:8]} is done: {_in_words(outcome)}")

    def _work(self, job: Job, term: int) -> RoundOutcome:
        todo = Round.model_validate_json(job.body)
        done = (
            RoundOutcome() if job.result is None else RoundOutcome.model_validate_json(job.result)
        )

        def note(outcome: RoundOutcome) -> None:
            self._store.jobs.checkpoint(job.id, outcome.to_json(), term=term)

        doing = self._doing = CancellableTask(self._progress)
        try:
            with LeaseHeartbeat(
                self._store.leases, job.kind, self._holder, self._pace.lease, doing.stop
            ) as heart:
                doing.halted = lambda: heart.stopped or self._stopping.is_set()
                budget, prices = self._limits
                with Run(
                    self._folder(job),
                    seed=todo.watch.seed,
                    budget=budget,
                    prices=prices,
                    progress=doing.progress,
                ) as run:
                    return doing.do(run_round(todo, self._store, run, done=done, note=note))
        finally:
            self._doing = None

    def _failed(self, job: Job, term: int, error: str, *, final: bool = False) -> None:
        pace = self._pace
        if final or job.tries >= pace.tries:
            self._store.jobs.fail(job.id, error, term=term)
            self._say(f"Round {job.id[:8]} failed for good: {error}")
            return
        pause = min(pace.pause * 2 ** (job.tries - 1), pace.longest_pause)
        self._store.jobs.fail(job.id, error, term=term, retry_at=now() + timedelta(seconds=pause))
        self._say(f"Round {job.id[:8]} failed, and is tried again in {pause:g} s: {error}")

    def _folder(self, job: Job) -> Path:
        return self._store.artifacts.root.with_suffix(".runs") / job.id

    def _release(self) -> None:
        try:
            self._store.leases.release(self._watch.kind, self._holder)
        except AWAY as error:
            log.debug("The lease was not released: %s", error)

    def _say(self, text: str) -> None:
        if text != self._said:
            self._tell(text)
        self._said = text


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, BacktalkError) else f"{type(error).__name__}: {error}"


def _in_words(outcome: RoundOutcome) -> str:
    parts = [f"policy {str(outcome.policy)[:8]}"]
    if outcome.evaluation is not None:
        parts.append(f"evaluation {outcome.evaluation[:8]}")
    if outcome.promoted:
        parts.append("promoted")
    if outcome.experiment is not None:
        parts.append(f"experiment {outcome.experiment} begins")
    if outcome.why is not None:
        parts.append(outcome.why)
    return ", ".join(parts)
