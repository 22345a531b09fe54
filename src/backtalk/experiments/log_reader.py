"""Following an experiment's log in the store: reading what is new, and noticing what went away."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select

from backtalk.errors import NotFound
from backtalk.experiments.events import TOPIC, Event, read_events
from backtalk.experiments.experiment import signal_kinds
from backtalk.experiments.state import State, begin
from backtalk.feedback import parse_feedback, parse_interaction
from backtalk.store import Store, schema
from backtalk.store.inserts import project_number
from backtalk.store.queries import batches
from backtalk.store.row_codec import microseconds

_EARLIER = timedelta(minutes=10)
"""By how much the clocks of two machines may differ."""
_CHECK_SECONDS = 5.0
_CHECK_SHARE = 50
"""Checking takes at most one part in so many of the time."""


@dataclass
class _Read:
    """How far a table was read: to which row, how many rows, and the sum of their numbers."""

    last: int = 0
    count: int = 0
    total: int = 0

    def take(self, seq: int) -> None:
        self.count += 1
        self.total += seq


class ExperimentReader:
    """Reads the log of one experiment, first all of it and then what is new.

    Deleted feedback takes its number back: that rows went away, came back, or became visible late
    shows in the number of those that were read and in the sum of their places, and the state is
    then made anew. It is looked for every few seconds, as it takes going over the table.

    Parameters
    ----------
    store : Store
        The project.
    name : str
        Of the experiment.

    Raises
    ------
    NotFound
        If there is no such experiment.
    """

    def __init__(self, store: Store, name: str) -> None:
        self._store = store
        self._name = name
        self._project = project_number(store.engine, store.project)
        self._checked = float("-inf")
        self._check_seconds = _CHECK_SECONDS
        self._whole = False
        self._restart()

    def refresh(self, *, check: bool | None = None) -> State:
        """Read what is new and return the state.

        Parameters
        ----------
        check : bool, optional
            Whether to look for rows that went away; if left out, only where that is due.
        """
        if not self._whole:
            self._restart()
        due = time.monotonic() - self._checked >= self._check_seconds
        if check or (check is None and due):
            self._check()
        # What is interrupted half-way has taken rows that it would take again.
        self._whole = False
        self._read_events()
        self._read_talks()
        self._read_said()
        self._whole = True
        return self.state

    def _restart(self) -> None:
        events = read_events(self._store, self._name)
        if not events:
            raise NotFound(
                f"There is no experiment {self._name!r} in project {self._store.project!r}",
                "`backtalk experiment list` lists what there is",
            )
        self.state = begin(events[0])
        self._interactions, self._said = _Read(), _Read()
        self._whole = True

    def _check(self) -> None:
        started = time.monotonic()
        if any(
            self._counted(table, where, read) != (read.count, read.total)
            for table, where, read in (
                (schema.interactions, self._talks_where(), self._interactions),
                (schema.feedback, self._said_where(), self._said),
            )
        ):
            self._restart()
        self._checked = time.monotonic()
        self._check_seconds = max(_CHECK_SECONDS, _CHECK_SHARE * (self._checked - started))

    def _counted(
        self, table: Any, where: list[ColumnElement[bool]], read: _Read
    ) -> tuple[int, int]:
        query = select(func.count(), func.coalesce(func.sum(table.c.seq), 0)).where(
            *where, table.c.deleted.is_(None), table.c.seq <= read.last
        )
        with self._store.engine.connect() as connection:
            count, total = connection.execute(query).one()
        return int(count), int(total)

    def _read_events(self) -> None:
        for event in self._new_events():
            self.state.take_event(event)

    def _new_events(self) -> list[Event]:
        last = self.state.events[-1].number
        if self._store.journal.last(TOPIC) == last:
            return []
        return [event for event in read_events(self._store, self._name) if event.number > last]

    def _read_talks(self) -> None:
        table, read = schema.interactions, self._interactions
        where = [*self._talks_where(), table.c.seq > read.last]
        head = self._head(table)
        for batch in batches(
            self._store.engine, table, [table.c.body], *where, table.c.seq <= head
        ):
            for row in batch:
                self.state.take_shown(parse_interaction(row.body))
                read.take(row.seq)
        read.last = max(read.last, head)

    def _read_said(self) -> None:
        table, interactions, read = schema.feedback, schema.interactions, self._said
        columns = [table.c.body, interactions.c.body.label("talk")]
        where = [*self._said_where(), table.c.seq > read.last]
        head = self._head(table)
        for batch in batches(self._store.engine, table, columns, *where, table.c.seq <= head):
            for row in batch:
                self.state.take_said(parse_interaction(row.interaction), parse_feedback(row.body))
                read.take(row.seq)
        read.last = max(read.last, head)

    def _head(self, table: Any) -> int:
        query = select(func.max(table.c.seq)).where(table.c.project == self._project)
        with self._store.engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def _talks_where(self) -> list[ColumnElement[bool]]:
        table = schema.interactions
        experiment = self.state.experiment
        answered: ColumnElement[bool] = table.c.policy.in_(experiment.arms)
        if experiment.allocation == "dueling":
            answered = or_(answered, table.c.policy.is_(None))
        return [table.c.project == self._project, table.c.received >= self._since(), answered]

    def _said_where(self) -> list[ColumnElement[bool]]:
        table, interactions = schema.feedback, schema.interactions
        kinds = {kind for signal in self.state.experiment.signals for kind in signal_kinds(signal)}
        return [
            table.c.project == self._project,
            table.c.received >= self._since(),
            table.c.kind.in_(sorted(kinds)),
            interactions.c.id == table.c.interaction,
            interactions.c.deleted.is_(None),
            *self._talks_where(),
        ]

    def _since(self) -> int:
        return microseconds(self.state.events[0].time - _EARLIER) or 0
