"""Whether a round is due."""

from __future__ import annotations

from datetime import timedelta

from backtalk.experiments import running_experiment
from backtalk.feedback.record import now
from backtalk.learn.background.arrivals import FeedbackCounter
from backtalk.learn.background.spec import Round, WatchSpec
from backtalk.store import Store
from backtalk.store.jobs import Job


class Trigger:
    """Says when enough feedback has come for a round.

    Parameters
    ----------
    store, watch
        Where feedback comes in, and what is learned.
    every, interval
        As for :class:`~backtalk.learn.background.Worker`.
    settle : float
        The seconds after which no feedback comes before what is there, where several processes
        write.
    """

    def __init__(
        self, store: Store, watch: WatchSpec, *, every: int, interval: float | None, settle: float
    ) -> None:
        self._store = store
        self._watch = watch
        self._every = every
        self._interval = interval
        # SQLite's writers take turns, so that nothing comes late.
        self._settle = 0.0 if store.url.get_backend_name() == "sqlite" else settle
        self._arrivals: FeedbackCounter | None = None

    def forget(self) -> None:
        """Count anew: others may have begun rounds."""
        self._arrivals = None

    def round(self) -> tuple[Round, int] | None:
        """Return the round that is due, with how much feedback is new; ``None`` where none is.

        None is due while another one waits, or while users decide about the last one's policy.

        Raises
        ------
        NotFound
            If there is no policy to improve.
        """
        jobs = self._store.jobs.list(kind=self._watch.kind)
        if any(job.state == "waiting" for job in jobs) or self._users_decide():
            return None
        if self._arrivals is None:
            after = max((_cursor_of(job) for job in jobs), default=0)
            self._arrivals = FeedbackCounter(
                self._store, self._watch.learns_from, self._watch.split, after=after
            )
        new = self._arrivals
        new.look(before=now() - timedelta(seconds=self._settle))
        waited = 0.0 if new.since is None else (now() - new.since).total_seconds()
        long = self._interval is not None and waited >= self._interval
        if new.count < (1 if long else self._every):
            return None
        todo = Round(
            watch=self._watch,
            parent=self._watch.parent(self._store).id,
            interactions=self._store.cursor().interactions,
            feedback=new.last,
        )
        return todo, new.count

    def _users_decide(self) -> bool:
        if self._watch.experiment is None:
            return False
        return running_experiment(self._store) is not None


def _cursor_of(job: Job) -> int:
    try:
        return Round.model_validate_json(job.body).feedback
    except ValueError:
        return 0
