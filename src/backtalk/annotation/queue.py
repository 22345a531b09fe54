"""The interactions that a task is about: which have a free place, in which order, how many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Select,
    and_,
    case,
    exists,
    func,
    or_,
    text,
)
from sqlalchemy import select as selected

from backtalk.annotation.tasks import ASKS, Task
from backtalk.store import schema
from backtalk.store.row_codec import microseconds

COUNTED = 10_000
"""Items that nobody was given yet are counted up to here."""

AT_ONCE = 20
"""How many items are offered at once; of many people who ask together each gets another one."""

_given = schema.assignments
_interactions = schema.interactions


@dataclass(frozen=True)
class Progress:
    """How far a task is."""

    done: int
    """Judgements given."""
    wanted: int
    """Judgements asked for: items times people."""
    own: int
    """Judgements that this person gave."""
    left: int
    """Items that this person can still judge."""
    more: bool
    """Whether there are more items than were counted."""


class TaskQueue:
    """The items of one task.

    Parameters
    ----------
    engine, project
        Where the interactions are.
    task : Task
        Of the project.
    clock : Callable[[], datetime]
        Tells the time.
    """

    def __init__(
        self, engine: Engine, project: int, task: Task, clock: Callable[[], datetime]
    ) -> None:
        self._engine = engine
        self._project = project
        self._task = task
        self._clock = clock

    @property
    def own(self) -> tuple[ColumnElement[bool], ...]:
        """What holds for the rows of this task."""
        return _given.c.project == self._project, _given.c.task == self._task.id

    def active(self) -> ColumnElement[bool]:
        """Whether a row takes one of an item's places."""
        held = and_(_given.c.state == "open", _given.c.until > microseconds(self._clock()))
        return or_(_given.c.state == "done", held)

    def next_items(self, annotator: str) -> list[str]:
        """Return items with a place for a person, in the order in which they are to be judged."""
        taken = self._taken(annotator).subquery()
        again = (
            selected(taken.c.places, _interactions.c.seq, _interactions.c.id)
            .join(_interactions, _interactions.c.id == taken.c.interaction)
            .where(*self._fitting(), taken.c.places < self._task.people, taken.c.closed == 0)
            .order_by(taken.c.places, _interactions.c.seq)
            .limit(AT_ONCE)
        )
        fresh = self._fresh().order_by(_interactions.c.seq).limit(AT_ONCE)
        with self._engine.connect() as connection:
            results = [(row.places, row.seq, row.id) for row in connection.execute(again)]
            if self.has_capacity(connection):
                results += [(0, row.seq, row.id) for row in connection.execute(fresh)]
        return [id_ for _, _, id_ in sorted(results)]

    def has_capacity(self, connection: Connection) -> bool:
        """Return whether the task may come to one more item."""
        most = self._task.which.most
        if most is None:
            return True
        query = selected(func.count(_given.c.interaction.distinct())).where(*self.own)
        return int(connection.execute(query).scalar() or 0) < most

    def progress(self, annotator: str) -> Progress:
        """Return how far the task is, as a person sees it."""
        taken = self._taken(annotator).subquery()
        closed = or_(taken.c.closed > 0, taken.c.others >= self._task.people)
        touched = (
            selected(func.count().label("items"), func.count().filter(closed).label("closed"))
            .select_from(taken)
            .join(_interactions, _interactions.c.id == taken.c.interaction)
            .where(*self._fitting())
        )
        judged = selected(
            func.count().label("all"),
            func.count().filter(_given.c.annotator == annotator).label("own"),
        ).where(*self.own, _given.c.state == "done")
        fresh = selected(func.count()).select_from(self._fresh().limit(COUNTED + 1).subquery())
        with self._engine.connect() as connection:
            items = connection.execute(touched).one()
            done = connection.execute(judged).one()
            new = int(connection.execute(fresh).scalar() or 0)
        more = new > COUNTED
        total = items.items + min(new, COUNTED)
        if self._task.which.most is not None and total >= self._task.which.most:
            total, more = max(self._task.which.most, items.items), False
        return Progress(
            done=done.all,
            wanted=max(total * self._task.people, done.all),
            own=done.own,
            left=total - items.closed,
            more=more,
        )

    def _fitting(self) -> list[ColumnElement[bool]]:
        which = self._task.which
        results = [
            _interactions.c.project == self._project,
            _interactions.c.deleted.is_(None),
            # As a literal, so that the index of those with several is found to fit.
            _interactions.c.responses >= text(str(self._task.responses)),
        ]
        if which.policy is not None:
            results.append(_interactions.c.policy == which.policy)
        if which.since is not None:
            results.append(_interactions.c.time >= microseconds(which.since))
        return results

    def _fresh(self) -> Select[tuple[int, str]]:
        """Return a query of the items that nobody was given yet."""
        row = selected(_given.c.seq).where(*self.own, _given.c.interaction == _interactions.c.id)
        where = [*self._fitting(), ~exists(row)]
        if self._task.which.unjudged:
            where.append(~self._judged())
        return selected(_interactions.c.seq, _interactions.c.id).where(*where)

    def _judged(self) -> ColumnElement[bool]:
        items = schema.feedback
        return exists(
            selected(items.c.seq).where(
                items.c.project == self._project,
                items.c.interaction == _interactions.c.id,
                items.c.kind.in_(ASKS[self._task.kind]),
                items.c.annotator_kind == "human",
                items.c.deleted.is_(None),
            )
        )

    def _taken(self, annotator: str) -> Select[Any]:
        """Return a query of the items that were given to anybody.

        With how many places are taken, how many of them by others, and whether this person is
        through with it.
        """
        others = and_(_given.c.annotator != annotator, self.active())
        through = and_(_given.c.annotator == annotator, _given.c.state != "open")
        return (
            selected(
                _given.c.interaction,
                func.sum(case((self.active(), 1), else_=0)).label("places"),
                func.sum(case((others, 1), else_=0)).label("others"),
                func.sum(case((through, 1), else_=0)).label("closed"),
            )
            .where(*self.own)
            .group_by(_given.c.interaction)
        )
