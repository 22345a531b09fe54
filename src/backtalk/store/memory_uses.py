"""Queries for answers that used a memory, and the feedback on them, in order of arrival."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, func, select

from backtalk.feedback import AnyFeedback, Interaction, parse_feedback
from backtalk.store import schema
from backtalk.store.contents import stored_interaction
from backtalk.store.queries import BATCH
from backtalk.store.row_codec import microseconds
from backtalk.store.store import Store

_USED = '"memory":[{'
"""Text in the body of an interaction whose responses name memory entries."""


@dataclass(frozen=True)
class UseBatch:
    """Interactions that used a memory, with their feedback."""

    last: int
    """Sequence number up to which the log was read."""
    cases: tuple[tuple[Interaction, tuple[tuple[int, AnyFeedback], ...]], ...] = ()
    """Interactions, each with sequence numbers and records of feedback, in order of arrival."""


class MemoryUseReader:
    """Reader of the interactions that used a memory.

    Parameters
    ----------
    store : Store
        Store of the project.
    before : datetime
        Time of arrival up to which records are read.
    """

    def __init__(self, store: Store, *, before: datetime) -> None:
        self._engine = store.engine
        self._project_id = store.project_id
        self._before = microseconds(before)

    def interactions(self, *, after: int) -> Iterator[UseBatch]:
        """Yield interactions that arrived after a position, without feedback."""
        for rows, last in self._interaction_rows(after, self._before):
            yield UseBatch(last, tuple((self._interaction(row), ()) for row in rows))

    def judged(self, kinds: Sequence[str], *, after: int) -> Iterator[UseBatch]:
        """Yield interactions on which feedback arrived after a position, with all of it so far.

        Parameters
        ----------
        kinds : sequence of str
            Kinds of feedback.
        after : int
            Sequence number of feedback after which to begin.
        """
        items = schema.feedback
        query = (
            select(items.c.seq, items.c.interaction)
            .where(*self._feedback_where(kinds), items.c.received <= self._before)
            .order_by(items.c.seq)
            .limit(BATCH)
        )
        while rows := self._all(query.where(items.c.seq > after)):
            after = rows[-1].seq
            ids = list(dict.fromkeys(row.interaction for row in rows))
            yield UseBatch(after, self._cases(ids, kinds, items.c.seq <= after))

    def settled(self, kinds: Sequence[str], *, after: int, wait: timedelta) -> Iterator[UseBatch]:
        """Yield interactions that are older than a time, with the feedback within that time.

        Parameters
        ----------
        kinds : sequence of str
            Kinds of feedback.
        after : int
            Sequence number of interactions after which to begin.
        wait : timedelta
            Time to wait for feedback on an interaction.
        """
        items, length = schema.feedback, round(wait.total_seconds() * 1e6)
        in_time = items.c.received <= schema.interactions.c.received + length
        for rows, last in self._interaction_rows(after, self._before - length):
            ids = [row.id for row in rows]
            yield UseBatch(last, self._cases(ids, kinds, in_time))

    def checksum(self, *, interactions: int, feedback: int) -> list[int]:
        """Return counts and sums of sequence numbers up to positions in both tables.

        They change if rows are deleted, restored, or become visible late.
        """
        sums: list[int] = []
        for table, last in ((schema.interactions, interactions), (schema.feedback, feedback)):
            query = select(func.count(), func.coalesce(func.sum(table.c.seq), 0)).where(
                table.c.project == self._project_id, table.c.deleted.is_(None), table.c.seq <= last
            )
            sums += [int(number) for number in self._all(query)[0]]
        return sums

    def _interaction_rows(
        self, after: int, before: int
    ) -> Iterator[tuple[Sequence[Row[Any]], int]]:
        """Yield rows of interactions that used a memory, and the position that they reach."""
        table = schema.interactions
        where = [
            table.c.project == self._project_id,
            table.c.deleted.is_(None),
            table.c.received <= before,
        ]
        end = self._all(select(func.max(table.c.seq)).where(*where))[0][0] or 0
        query = (
            select(table.c.seq, table.c.id, table.c.body)
            .where(*where, table.c.body.contains(_USED, autoescape=True), table.c.seq <= end)
            .order_by(table.c.seq)
            .limit(BATCH)
        )
        while after < end:
            rows = self._all(query.where(table.c.seq > after))
            after = rows[-1].seq if len(rows) == BATCH else end
            yield rows, after

    def _cases(
        self, ids: Sequence[str], kinds: Sequence[str], *where: ColumnElement[bool]
    ) -> tuple[tuple[Interaction, tuple[tuple[int, AnyFeedback], ...]], ...]:
        interactions, items = schema.interactions, schema.feedback
        bodies = select(interactions.c.id, interactions.c.body).where(
            interactions.c.project == self._project_id,
            interactions.c.id.in_(ids),
            interactions.c.deleted.is_(None),
            interactions.c.body.contains(_USED, autoescape=True),
        )
        used = {row.id: self._interaction(row) for row in self._all(bodies)}
        about = (
            select(items.c.seq, items.c.interaction, items.c.body)
            .join(
                interactions,
                (interactions.c.project == items.c.project)
                & (interactions.c.id == items.c.interaction),
            )
            .where(*self._feedback_where(kinds), items.c.interaction.in_(list(used)), *where)
        )
        feedback: dict[str, list[tuple[int, AnyFeedback]]] = {id_: [] for id_ in used}
        for row in sorted(self._all(about), key=lambda row: row.seq):
            feedback[row.interaction].append((row.seq, parse_feedback(row.body)))
        return tuple((used[id_], tuple(feedback[id_])) for id_ in ids if id_ in used)

    def _feedback_where(self, kinds: Sequence[str]) -> list[ColumnElement[bool]]:
        items = schema.feedback
        return [
            items.c.project == self._project_id,
            items.c.kind.in_(kinds),
            items.c.interaction.is_not(None),
            items.c.deleted.is_(None),
        ]

    def _interaction(self, row: Row[Any]) -> Interaction:
        return stored_interaction(self._engine, self._project_id, row.body)

    def _all(self, query: Select[Any]) -> Sequence[Row[Any]]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()
