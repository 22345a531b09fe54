"""Who judges what: so many people an item and no more, each of them once.

An item is given to a person for a while. Until the time is over nobody gets their place; then it is
free again, as it is when they skip the item. What was judged fewest times comes first, of these the
oldest. Two who ask at the same moment never get the same place: it is taken in a transaction that
looks again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select, update

from backtalk.annotation.queue import Progress, TaskQueue
from backtalk.annotation.tasks import Task
from backtalk.errors import Conflict, NotFound
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.inserts import project_number
from backtalk.store.row_codec import microseconds, timestamp
from backtalk.store.store import Store

LEASE = timedelta(minutes=30)
"""How long an item stays with a person who does not answer."""

_TRIES = 20

State = Literal["open", "done", "skipped"]

_table = schema.assignments
_interactions = schema.interactions


@dataclass(frozen=True)
class Assignment:
    """An item that a person was given."""

    task: str
    interaction: str
    annotator: str
    state: State
    opened: datetime
    """When they got it; together with the rest this names the attempt."""
    until: datetime
    """When their place becomes free, if it is still open."""


class Assignments:
    """The assignments of one task.

    Parameters
    ----------
    store : Store
        The project.
    task : Task
        Of the project.
    clock : Callable[[], datetime], default now
        Tells the time.
    """

    def __init__(self, store: Store, task: Task, *, clock: Callable[[], datetime] = now) -> None:
        self._engine = store.engine
        self._project = project_number(store.engine, store.project)
        self._task = task
        self._clock = clock
        self._items = TaskQueue(self._engine, self._project, task, clock)

    def next(self, annotator: str) -> Assignment | None:
        """Return what a person is to judge: what they have already, or the next free item.

        Returns
        -------
        Assignment or None
            None where nothing is left for this person.
        """
        for _ in range(_TRIES):
            if held := self._held(annotator):
                return held
            offered = self._items.next_items(annotator)
            if not offered:
                return None
            with self._locked() as connection:
                for interaction in offered:
                    if self._take(connection, interaction, annotator):
                        break
        return self._held(annotator)

    def renew(self, interaction: str, annotator: str) -> Assignment:
        """Make sure that a person has an item while their answer is kept.

        Raises
        ------
        Conflict
            If it was never given to them, they answered already, or their time was over and
            others judged it meanwhile.
        """
        with self._locked() as connection:
            mine = self._row(connection, interaction, annotator)
            if mine is None or mine.state != "open":
                raise Conflict("This item is not open for you", "Go on with the next one")
            if self._others(connection, interaction, annotator) >= self._task.people:
                raise Conflict(
                    "Your time for this item was over, and others have judged it meanwhile",
                    "Go on with the next one",
                )
            until = microseconds(self._clock() + LEASE)
            self._set(connection, interaction, annotator, until=until)
            return _assignment(self._row(connection, interaction, annotator))

    def is_done(self, interaction: str, annotator: str) -> bool:
        """Return whether a person judged an item."""
        with self._engine.connect() as connection:
            mine = self._row(connection, interaction, annotator)
        return mine is not None and mine.state == "done"

    def complete(self, interaction: str, annotator: str, state: Literal["done", "skipped"]) -> None:
        """Take note that a person judged an item or skipped it."""
        with writing(self._engine) as connection:
            ended = microseconds(self._clock())
            self._set(connection, interaction, annotator, state=state, ended=ended)

    def last(self, annotator: str) -> Assignment | None:
        """Return what a person judged or skipped last."""
        query = (
            select(_table)
            .where(*self._of(annotator), _table.c.state != "open")
            .order_by(_table.c.ended.desc(), _table.c.seq.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            result = connection.execute(query).first()
        return None if result is None else _assignment(result)

    def reopen(self, interaction: str, annotator: str) -> Assignment:
        """Give an item back to a person who judged or skipped it.

        Raises
        ------
        NotFound
            If they did neither.
        Conflict
            If they skipped it and others took the place.
        """
        with self._locked() as connection:
            mine = self._row(connection, interaction, annotator)
            if mine is None or mine.state == "open":
                raise NotFound("There is nothing to undo", "Judge something first")
            if self._others(connection, interaction, annotator) >= self._task.people:
                raise Conflict("Others have judged this item meanwhile", "Go on with the next one")
            self._open(connection, interaction, annotator)
            return _assignment(self._row(connection, interaction, annotator))

    def progress(self, annotator: str) -> Progress:
        """Return how far the task is, as a person sees it."""
        return self._items.progress(annotator)

    def _of(self, annotator: str) -> tuple[ColumnElement[bool], ...]:
        return *self._items.own, _table.c.annotator == annotator

    def _held(self, annotator: str) -> Assignment | None:
        """Return what a person was given and has not answered, the latest first."""
        query = (
            select(_table)
            .join(_interactions, self._about())
            .where(
                *self._of(annotator),
                _table.c.state == "open",
                _table.c.until > microseconds(self._clock()),
                _interactions.c.deleted.is_(None),
            )
            .order_by(_table.c.opened.desc())
            .limit(1)
        )
        with self._engine.connect() as connection:
            result = connection.execute(query).first()
        return None if result is None else _assignment(result)

    def _about(self) -> ColumnElement[bool]:
        return and_(
            _interactions.c.project == _table.c.project, _interactions.c.id == _table.c.interaction
        )

    def _take(self, connection: Connection, interaction: str, annotator: str) -> bool:
        """Give a person a place of an item, if there still is one; return whether there is."""
        rows = self._rows(connection, interaction)
        if not rows and not self._items.has_capacity(connection):
            return False
        if self._others(connection, interaction, annotator) >= self._task.people:
            return False
        mine = next((row for row in rows if row.annotator == annotator), None)
        if mine is not None and mine.state != "open":
            return False
        if mine is None:
            connection.execute(insert(_table).values(self._new(interaction, annotator)))
        else:
            self._open(connection, interaction, annotator)
        return True

    def _new(self, interaction: str, annotator: str) -> dict[str, object]:
        return {
            "project": self._project,
            "task": self._task.id,
            "interaction": interaction,
            "annotator": annotator,
            **self._opened(),
        }

    def _opened(self) -> dict[str, object]:
        at = self._clock()
        return {
            "state": "open",
            "opened": microseconds(at),
            "until": microseconds(at + LEASE),
            "ended": None,
        }

    def _open(self, connection: Connection, interaction: str, annotator: str) -> None:
        self._set(connection, interaction, annotator, **self._opened())

    def _set(
        self, connection: Connection, interaction: str, annotator: str, **values: object
    ) -> None:
        connection.execute(
            update(_table)
            .where(*self._of(annotator), _table.c.interaction == interaction)
            .values(**values)
        )

    def _rows(self, connection: Connection, interaction: str) -> Sequence[Row[Any]]:
        query = select(_table).where(*self._items.own, _table.c.interaction == interaction)
        return connection.execute(query).all()

    def _row(self, connection: Connection, interaction: str, annotator: str) -> Row[Any] | None:
        rows = self._rows(connection, interaction)
        return next((row for row in rows if row.annotator == annotator), None)

    def _others(self, connection: Connection, interaction: str, annotator: str) -> int:
        """Return how many places others have."""
        query = select(func.count()).where(
            *self._items.own,
            _table.c.interaction == interaction,
            _table.c.annotator != annotator,
            self._items.active(),
        )
        return int(connection.execute(query).scalar() or 0)

    @contextmanager
    def _locked(self) -> Iterator[Connection]:
        """Open a transaction in which nobody else changes who has what of this task."""
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                lock = func.pg_advisory_xact_lock(self._project, func.hashtext(self._task.id))
                connection.execute(select(lock))
            yield connection


def _assignment(row: Row[Any] | None) -> Assignment:
    assert row is not None
    return Assignment(
        row.task,
        row.interaction,
        row.annotator,
        cast("State", row.state),
        timestamp(row.opened),
        timestamp(row.until),
    )
