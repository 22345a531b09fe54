"""Incremental reading of the interactions of some policies and the feedback on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Table, func, or_, select

from backtalk.feedback import AnyFeedback, Interaction, parse_feedback
from backtalk.store import schema
from backtalk.store.contents import stored_interaction
from backtalk.store.queries import read_batches
from backtalk.store.row_codec import microseconds
from backtalk.store.store import Store


@dataclass
class _Position:
    """Position in a table, with a checksum of the rows that were read."""

    last: int = 0
    """Sequence number up to which the table was read."""
    count: int = 0
    total: int = 0
    """Sum of the sequence numbers."""

    def add(self, seq: int) -> None:
        self.count += 1
        self.total += seq


class IncrementalReader:
    """Reader of the records that arrived since the last call.

    Rows that were deleted, restored, or became visible late change the number of rows up to the
    position, or the sum of their sequence numbers. :meth:`has_changed` detects this; a new reader
    has to begin at the start then.

    Parameters
    ----------
    store : Store
        Store of the project.
    policies : sequence of str
        Ids of policies. Only interactions that one of them answered are read.
    kinds : sequence of str
        Kinds of feedback to read.
    since : datetime
        Earliest time of arrival.
    without_policy : bool, default False
        If true, interactions without a policy are read too: their responses name policies.
    """

    def __init__(
        self,
        store: Store,
        *,
        policies: Sequence[str],
        kinds: Sequence[str],
        since: datetime,
        without_policy: bool = False,
    ) -> None:
        self._engine = store.engine
        self._project_id = store.project_id
        interactions, items = schema.interactions, schema.feedback
        earliest = microseconds(since)
        answered: ColumnElement[bool] = interactions.c.policy.in_(policies)
        if without_policy:
            answered = or_(answered, interactions.c.policy.is_(None))
        self._interactions_where: list[ColumnElement[bool]] = [
            interactions.c.project == store.project_id,
            interactions.c.received >= earliest,
            answered,
        ]
        self._feedback_where: list[ColumnElement[bool]] = [
            items.c.project == store.project_id,
            items.c.received >= earliest,
            items.c.kind.in_(sorted(kinds)),
            interactions.c.id == items.c.interaction,
            interactions.c.deleted.is_(None),
            *self._interactions_where,
        ]
        self._interactions = _Position()
        self._feedback = _Position()

    def new_interactions(self) -> Iterator[Interaction]:
        """Yield interactions that arrived since the last call."""
        table, position = schema.interactions, self._interactions
        end = self._last_seq(table)
        where = [*self._interactions_where, table.c.seq > position.last, table.c.seq <= end]
        for batch in read_batches(self._engine, table, [table.c.body], *where):
            for row in batch:
                yield self._interaction(row.body)
                position.add(row.seq)
        position.last = max(position.last, end)

    def new_feedback(self) -> Iterator[tuple[Interaction, AnyFeedback]]:
        """Yield feedback that arrived since the last call, with its interaction."""
        table, interactions, position = schema.feedback, schema.interactions, self._feedback
        end = self._last_seq(table)
        where = [*self._feedback_where, table.c.seq > position.last, table.c.seq <= end]
        columns = [table.c.body, interactions.c.body.label("interaction")]
        for batch in read_batches(self._engine, table, columns, *where):
            for row in batch:
                yield self._interaction(row.interaction), parse_feedback(row.body)
                position.add(row.seq)
        position.last = max(position.last, end)

    def _interaction(self, body: str) -> Interaction:
        return stored_interaction(self._engine, self._project_id, body)

    def has_changed(self) -> bool:
        """Return true if the rows that were read are not all rows up to the position any more."""
        return any(
            self._checksum(table, where, position) != (position.count, position.total)
            for table, where, position in (
                (schema.interactions, self._interactions_where, self._interactions),
                (schema.feedback, self._feedback_where, self._feedback),
            )
        )

    def _checksum(
        self, table: Table, where: list[ColumnElement[bool]], position: _Position
    ) -> tuple[int, int]:
        query = select(func.count(), func.coalesce(func.sum(table.c.seq), 0)).where(
            *where, table.c.deleted.is_(None), table.c.seq <= position.last
        )
        with self._engine.connect() as connection:
            count, total = connection.execute(query).one()
        return int(count), int(total)

    def _last_seq(self, table: Table) -> int:
        query = select(func.max(table.c.seq)).where(table.c.project == self._project_id)
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)
