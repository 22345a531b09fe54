"""Assignments of annotation items to annotators: row access and the query for the next items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Select,
    and_,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    text,
    update,
)

from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, timestamp
from backtalk.store.store import Store

BATCH_SIZE = 20
"""Number of candidate items per query; annotators who ask at the same time get different items."""

MAX_COUNTED = 10_000
"""Unassigned items are counted up to this number."""

AssignmentState = Literal["open", "done", "skipped"]

_assignments = schema.assignments
_interactions = schema.interactions


@dataclass(frozen=True)
class Assignment:
    """An item given to an annotator."""

    task: str
    interaction: str
    annotator: str
    state: AssignmentState
    opened: datetime
    """Time of the assignment. With task, interaction and annotator it identifies the attempt."""
    expires: datetime
    """Time at which the item becomes available to others, if it is still open."""


@dataclass(frozen=True)
class ItemFilter:
    """The items of an annotation task."""

    task: str
    """Id of the task."""
    annotators: int
    """Number of annotators who judge each item."""
    responses: int
    """Minimum number of different responses of an interaction."""
    policy: str | None = None
    """Id of the policy that answered. Default: any."""
    since: datetime | None = None
    """Earliest time of the interaction. Default: any."""
    unjudged_by: tuple[str, ...] = ()
    """Kinds of feedback that no human annotator has given on an unassigned interaction yet."""
    max_items: int | None = None
    """Maximum number of items. Default: no limit."""
    interactions: tuple[str, ...] = ()
    """Ids of the interactions. Default: all that match the other conditions."""


@dataclass(frozen=True)
class Progress:
    """Progress of a task, as seen by one annotator."""

    done: int
    """Number of judgements given by all annotators."""
    total: int
    """Number of judgements that the task asks for: items times annotators."""
    own: int
    """Number of judgements given by this annotator."""
    left: int
    """Number of items that this annotator can still judge."""
    more: bool
    """True if there are more items than were counted."""


class AssignmentTable:
    """Assignments of one annotation task.

    Parameters
    ----------
    store : Store
        Store of the project.
    items : ItemFilter
        Items of the task.
    clock : Callable[[], datetime]
        Source of the current time.
    """

    def __init__(self, store: Store, items: ItemFilter, clock: Callable[[], datetime]) -> None:
        self._engine = store.engine
        self.project_id = store.project_id
        self.items = items
        self.clock = clock
        self.of_task = (
            _assignments.c.project == store.project_id,
            _assignments.c.task == items.task,
        )

    @contextmanager
    def locked(self) -> Iterator[LockedAssignments]:
        """Open a transaction in which no other process changes the assignments of the task."""
        with writing(self._engine) as connection:
            if connection.dialect.name == "postgresql":
                lock = func.pg_advisory_xact_lock(self.project_id, func.hashtext(self.items.task))
                connection.execute(select(lock))
            yield LockedAssignments(self, connection)

    def find(self, interaction: str, annotator: str) -> Assignment | None:
        """Return the assignment of an item to an annotator, ``None`` if there is none."""
        query = select(_assignments).where(
            *self.of_task,
            _assignments.c.interaction == interaction,
            _assignments.c.annotator == annotator,
        )
        return self._first(query)

    def find_open(self, annotator: str) -> Assignment | None:
        """Return the latest open assignment of an annotator that has not expired."""
        query = (
            select(_assignments)
            .join(
                _interactions,
                and_(
                    _interactions.c.project == _assignments.c.project,
                    _interactions.c.id == _assignments.c.interaction,
                ),
            )
            .where(
                *self.of_task,
                _assignments.c.annotator == annotator,
                _assignments.c.state == "open",
                _assignments.c.expires > microseconds(self.clock()),
                _interactions.c.deleted.is_(None),
            )
            .order_by(_assignments.c.opened.desc())
            .limit(1)
        )
        return self._first(query)

    def find_last_ended(self, annotator: str) -> Assignment | None:
        """Return the assignment that an annotator completed or skipped last."""
        query = (
            select(_assignments)
            .where(
                *self.of_task,
                _assignments.c.annotator == annotator,
                _assignments.c.state != "open",
            )
            .order_by(_assignments.c.ended.desc(), _assignments.c.seq.desc())
            .limit(1)
        )
        return self._first(query)

    def end(self, interaction: str, annotator: str, state: Literal["done", "skipped"]) -> None:
        """Mark an assignment as completed or skipped.

        Parameters
        ----------
        interaction : str
            Id of the interaction.
        annotator : str
            Name of the annotator.
        state : {"done", "skipped"}
            New state.
        """
        with writing(self._engine) as connection:
            LockedAssignments(self, connection).update(
                interaction, annotator, state=state, ended=microseconds(self.clock())
            )

    def next_items(self, annotator: str) -> list[str]:
        """Return ids of interactions that an annotator can judge next, in order.

        Items with the fewest annotators come first, then the oldest.
        """
        assigned = self._assigned_items(annotator).subquery()
        again = (
            select(assigned.c.active, _interactions.c.seq, _interactions.c.id)
            .join(_interactions, _interactions.c.id == assigned.c.interaction)
            .where(
                *self._matching(),
                assigned.c.active < self.items.annotators,
                assigned.c.ended == 0,
            )
            .order_by(assigned.c.active, _interactions.c.seq)
            .limit(BATCH_SIZE)
        )
        fresh = self._unassigned_items().order_by(_interactions.c.seq).limit(BATCH_SIZE)
        with self._engine.connect() as connection:
            items = [(row.active, row.seq, row.id) for row in connection.execute(again)]
            if self.has_capacity(connection):
                items += [(0, row.seq, row.id) for row in connection.execute(fresh)]
        return [id_ for _, _, id_ in sorted(items)]

    def progress(self, annotator: str) -> Progress:
        """Return the progress of the task, as seen by one annotator."""
        limits = self.items
        assigned = self._assigned_items(annotator).subquery()
        closed = or_(assigned.c.ended > 0, assigned.c.others >= limits.annotators)
        assigned_counts = (
            select(func.count().label("items"), func.count().filter(closed).label("closed"))
            .select_from(assigned)
            .join(_interactions, _interactions.c.id == assigned.c.interaction)
            .where(*self._matching())
        )
        judgement_counts = select(
            func.count().label("all"),
            func.count().filter(_assignments.c.annotator == annotator).label("own"),
        ).where(*self.of_task, _assignments.c.state == "done")
        unassigned = select(func.count()).select_from(
            self._unassigned_items().limit(MAX_COUNTED + 1).subquery()
        )
        with self._engine.connect() as connection:
            items = connection.execute(assigned_counts).one()
            judgements = connection.execute(judgement_counts).one()
            fresh = int(connection.execute(unassigned).scalar() or 0)
        more = fresh > MAX_COUNTED
        total = items.items + min(fresh, MAX_COUNTED)
        if limits.max_items is not None and total >= limits.max_items:
            total, more = max(limits.max_items, items.items), False
        return Progress(
            done=judgements.all,
            total=max(total * limits.annotators, judgements.all),
            own=judgements.own,
            left=total - items.closed,
            more=more,
        )

    def _first(self, query: Select[Any]) -> Assignment | None:
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return None if row is None else _from_row(row)

    def is_active(self) -> ColumnElement[bool]:
        """Return the condition that a row counts towards an item's annotators."""
        is_open = and_(
            _assignments.c.state == "open", _assignments.c.expires > microseconds(self.clock())
        )
        return or_(_assignments.c.state == "done", is_open)

    def has_capacity(self, connection: Connection) -> bool:
        """Return true if the task can take one more item."""
        if self.items.max_items is None:
            return True
        query = select(func.count(_assignments.c.interaction.distinct())).where(*self.of_task)
        return int(connection.execute(query).scalar() or 0) < self.items.max_items

    def count_identical(self) -> int:
        """Return the number of interactions left out because their responses are all the same."""
        if self.items.responses < 2:
            return 0
        identical = _interactions.c.distinct_responses < self.items.responses
        query = select(func.count()).where(*self._with_responses(), identical)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def _matching(self) -> list[ColumnElement[bool]]:
        conditions = self._with_responses()
        if self.items.responses > 1:
            conditions.append(_interactions.c.distinct_responses >= self.items.responses)
        return conditions

    def _with_responses(self) -> list[ColumnElement[bool]]:
        """Return the conditions on items, whether or not their responses differ."""
        conditions = [
            _interactions.c.project == self.project_id,
            _interactions.c.deleted.is_(None),
            # A literal, so that the query planner can use the partial index.
            _interactions.c.responses >= text(str(self.items.responses)),
        ]
        if self.items.policy is not None:
            conditions.append(_interactions.c.policy == self.items.policy)
        if self.items.since is not None:
            conditions.append(_interactions.c.time >= microseconds(self.items.since))
        if self.items.interactions:
            conditions.append(_interactions.c.id.in_(self.items.interactions))
        return conditions

    def _unassigned_items(self) -> Select[tuple[int, str]]:
        assignment = select(_assignments.c.seq).where(
            *self.of_task, _assignments.c.interaction == _interactions.c.id
        )
        conditions = [*self._matching(), ~exists(assignment)]
        if self.items.unjudged_by:
            conditions.append(~self._has_human_feedback(self.items.unjudged_by))
        return select(_interactions.c.seq, _interactions.c.id).where(*conditions)

    def _has_human_feedback(self, kinds: Sequence[str]) -> ColumnElement[bool]:
        items = schema.feedback
        return exists(
            select(items.c.seq).where(
                items.c.project == self.project_id,
                items.c.interaction == _interactions.c.id,
                items.c.kind.in_(kinds),
                items.c.annotator_kind == "human",
                items.c.deleted.is_(None),
            )
        )

    def _assigned_items(self, annotator: str) -> Select[Any]:
        """Return a query of the items with assignments.

        Columns: number of active assignments, number of those of other annotators, and number of
        assignments that this annotator completed or skipped.
        """
        others = and_(_assignments.c.annotator != annotator, self.is_active())
        ended = and_(_assignments.c.annotator == annotator, _assignments.c.state != "open")
        return (
            select(
                _assignments.c.interaction,
                func.sum(case((self.is_active(), 1), else_=0)).label("active"),
                func.sum(case((others, 1), else_=0)).label("others"),
                func.sum(case((ended, 1), else_=0)).label("ended"),
            )
            .where(*self.of_task)
            .group_by(_assignments.c.interaction)
        )


class LockedAssignments:
    """Assignments of a task in a write transaction, from :meth:`AssignmentTable.locked`."""

    def __init__(self, table: AssignmentTable, connection: Connection) -> None:
        self._table = table
        self._connection = connection

    def get(self, interaction: str, annotator: str) -> Assignment | None:
        """Return the assignment of an item to an annotator, ``None`` if there is none."""
        query = select(_assignments).where(*self._of(interaction, annotator))
        row = self._connection.execute(query).first()
        return None if row is None else _from_row(row)

    def is_available(self, interaction: str, annotator: str) -> bool:
        """Return true if the item has room for an annotator besides the others who have it."""
        query = select(func.count()).where(
            *self._table.of_task,
            _assignments.c.interaction == interaction,
            _assignments.c.annotator != annotator,
            self._table.is_active(),
        )
        others = int(self._connection.execute(query).scalar() or 0)
        return others < self._table.items.annotators

    def is_new_item_allowed(self, interaction: str) -> bool:
        """Return true if the item has assignments already, or the task can take one more item."""
        query = select(func.count()).where(
            *self._table.of_task, _assignments.c.interaction == interaction
        )
        if int(self._connection.execute(query).scalar() or 0):
            return True
        return self._table.has_capacity(self._connection)

    def insert(self, interaction: str, annotator: str, *, lease: timedelta) -> None:
        """Assign an item to an annotator for the first time.

        Parameters
        ----------
        interaction : str
            Id of the interaction.
        annotator : str
            Name of the annotator.
        lease : timedelta
            Time until the assignment expires.
        """
        row = {
            "project": self._table.project_id,
            "task": self._table.items.task,
            "interaction": interaction,
            "annotator": annotator,
            **self._opened(lease),
        }
        self._connection.execute(insert(_assignments).values(row))

    def reopen(self, interaction: str, annotator: str, *, lease: timedelta) -> Assignment:
        """Open an existing assignment again, and return it.

        Parameters
        ----------
        interaction : str
            Id of the interaction.
        annotator : str
            Name of the annotator.
        lease : timedelta
            Time until the assignment expires.
        """
        self.update(interaction, annotator, **self._opened(lease))
        return self._require(interaction, annotator)

    def extend(self, interaction: str, annotator: str, *, lease: timedelta) -> Assignment:
        """Let an assignment expire after a new lease, and return it.

        Parameters
        ----------
        interaction : str
            Id of the interaction.
        annotator : str
            Name of the annotator.
        lease : timedelta
            Time until the assignment expires, from now on.
        """
        self.update(interaction, annotator, expires=microseconds(self._table.clock() + lease))
        return self._require(interaction, annotator)

    def update(self, interaction: str, annotator: str, **values: object) -> None:
        """Set columns of an assignment.

        Parameters
        ----------
        interaction : str
            Id of the interaction.
        annotator : str
            Name of the annotator.
        **values : object
            Values by column.
        """
        self._connection.execute(
            update(_assignments).where(*self._of(interaction, annotator)).values(**values)
        )

    def _opened(self, lease: timedelta) -> dict[str, object]:
        opened = self._table.clock()
        return {
            "state": "open",
            "opened": microseconds(opened),
            "expires": microseconds(opened + lease),
            "ended": None,
        }

    def _of(self, interaction: str, annotator: str) -> tuple[ColumnElement[bool], ...]:
        return (
            *self._table.of_task,
            _assignments.c.interaction == interaction,
            _assignments.c.annotator == annotator,
        )

    def _require(self, interaction: str, annotator: str) -> Assignment:
        assignment = self.get(interaction, annotator)
        assert assignment is not None
        return assignment


def _from_row(row: Row[Any]) -> Assignment:
    return Assignment(
        row.task,
        row.interaction,
        row.annotator,
        cast("AssignmentState", row.state),
        timestamp(row.opened),
        timestamp(row.expires),
    )
