"""Incremental reading of an experiment's log from the store."""

from __future__ import annotations

import time
from datetime import timedelta

from backtalk.errors import NotFound
from backtalk.experiments.events import TOPIC, ExperimentEvent, read_events
from backtalk.experiments.experiment import signal_kinds
from backtalk.experiments.state import ExperimentState, begin
from backtalk.store import Store
from backtalk.store.incremental_reader import IncrementalReader

_CLOCK_SKEW = timedelta(minutes=10)
"""Maximum difference between the clocks of two machines."""
_CHECK_SECONDS = 5.0
"""Minimum interval between checks for changed rows."""
_CHECK_SHARE = 50
"""Minimum ratio of the interval between checks to the duration of a check."""


class ExperimentReader:
    """Reader of the log of one experiment: the whole log at first, then the new records.

    Deleted feedback no longer counts. Every few seconds the reader checks for rows that were
    deleted, restored, or became visible late, and rebuilds the state if there are any.

    Parameters
    ----------
    store : Store
        Store of the project.
    name : str
        Name of the experiment.

    Attributes
    ----------
    state : ExperimentState
        State as of the last call of :meth:`refresh`.

    Raises
    ------
    NotFound
        If there is no such experiment.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._checked_at = float("-inf")
        self._check_seconds = _CHECK_SECONDS
        self._is_complete = False
        self._restart()

    def refresh(self, *, check: bool | None = None) -> ExperimentState:
        """Read new records and return the state.

        Parameters
        ----------
        check : bool, optional
            If true, check for changed rows; if false, do not. Default: check if it is due.
        """
        if not self._is_complete:
            self._restart()
        is_due = time.monotonic() - self._checked_at >= self._check_seconds
        if check or (check is None and is_due):
            self._check()
        # An interrupted read leaves records in the state that would be read again.
        self._is_complete = False
        for event in self._new_events():
            self.state.apply_event(event)
        for interaction in self._reader.new_interactions():
            self.state.apply_interaction(interaction)
        for interaction, feedback in self._reader.new_feedback():
            self.state.apply_feedback(interaction, feedback)
        self._is_complete = True
        return self.state

    def _restart(self) -> None:
        events = read_events(self._store, self._name)
        if not events:
            raise NotFound(
                f"There is no experiment {self._name!r} in project {self._store.project!r}",
                "`backtalk experiment list` lists the experiments",
            )
        self.state = begin(events[0])
        experiment = self.state.experiment
        self._reader = IncrementalReader(
            self._store,
            policies=experiment.arms,
            kinds=sorted({kind for signal in experiment.signals for kind in signal_kinds(signal)}),
            since=events[0].time - _CLOCK_SKEW,
            without_policy=experiment.allocation == "dueling",
        )
        self._is_complete = True

    def _check(self) -> None:
        started = time.monotonic()
        if self._reader.has_changed():
            self._restart()
        self._checked_at = time.monotonic()
        self._check_seconds = max(_CHECK_SECONDS, _CHECK_SHARE * (self._checked_at - started))

    def _new_events(self) -> list[ExperimentEvent]:
        last = self.state.events[-1].number
        if self._store.events.last(TOPIC) == last:
            return []
        return [event for event in read_events(self._store, self._name) if event.number > last]
