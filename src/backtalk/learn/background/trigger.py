"""Trigger of rounds: a round is due when enough new feedback has arrived."""

from __future__ import annotations

from datetime import timedelta

from backtalk.experiments import running_experiment
from backtalk.feedback.record import now
from backtalk.learn.background.arrivals import FeedbackCounter
from backtalk.learn.background.spec import Round, WatchSpec
from backtalk.store import Store
from backtalk.store.jobs import Job


class Trigger:
    """Trigger of rounds.

    Parameters
    ----------
    store : Store
        Store in which feedback arrives.
    watch : WatchSpec
        Specification of the rounds.
    every : int
        Number of new feedback items that start a round.
    interval : float or None
        Age of the oldest new feedback item, in seconds, that starts a round.
    settle_seconds : float
        Age of feedback, in seconds, from which it counts. Ignored for SQLite, whose writers never
        overlap.
    """

    def __init__(
        self,
        store: Store,
        watch: WatchSpec,
        *,
        every: int,
        interval: float | None,
        settle_seconds: float,
    ) -> None:
        self._store = store
        self._watch = watch
        self._every = every
        self._interval = interval
        is_sqlite = store.url.get_backend_name() == "sqlite"
        self._settle_seconds = 0.0 if is_sqlite else settle_seconds
        self._counter: FeedbackCounter | None = None

    def reset(self) -> None:
        """Count from the last round of the store again, as other processes may have added one."""
        self._counter = None

    def due_round(self) -> tuple[Round, int] | None:
        """Return the round that is due with its number of new feedback items, or ``None``.

        No round is due while another one is waiting, or while the experiment with the last round's
        policy is running.

        Raises
        ------
        NotFound
            If there is no policy to improve.
        """
        jobs = self._store.jobs.list(kind=self._watch.kind)
        if any(job.state == "waiting" for job in jobs) or self._experiment_is_running():
            return None
        if self._counter is None:
            after = max((_last_feedback(job) for job in jobs), default=0)
            self._counter = FeedbackCounter(
                self._store, self._watch.learns_from, self._watch.split, after=after
            )
        counter = self._counter
        counter.update(before=now() - timedelta(seconds=self._settle_seconds))
        waited = 0.0 if counter.since is None else (now() - counter.since).total_seconds()
        is_overdue = self._interval is not None and waited >= self._interval
        if counter.count < (1 if is_overdue else self._every):
            return None
        todo = Round(
            watch=self._watch,
            parent=self._watch.parent(self._store).id,
            interactions=self._store.cursor().interactions,
            feedback=counter.last,
        )
        return todo, counter.count

    def _experiment_is_running(self) -> bool:
        if self._watch.experiment is None:
            return False
        return running_experiment(self._store) is not None


def _last_feedback(job: Job) -> int:
    try:
        return Round.model_validate_json(job.body).feedback
    except ValueError:
        return 0
