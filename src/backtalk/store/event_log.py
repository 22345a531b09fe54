"""Append-only event log of a project, by topic: promotions, experiments, annotation tasks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from backtalk.errors import Conflict
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, timestamp


@dataclass(frozen=True)
class LogEntry:
    """Entry of an event log."""

    number: int
    """Position in the topic, from 1."""
    time: datetime
    actor: str
    """Name of the person or program that caused the event."""
    body: str
    """JSON text."""


class EventLog:
    """Append-only log of a project's events, in order within each topic.

    Appending is optimistic: the caller names the last entry it knows, and gets a ``Conflict`` if
    there is a later one. Obtained as :attr:`Store.events`.
    """

    def __init__(self, engine: Engine, project_id: int) -> None:
        self._engine = engine
        self._project_id = project_id

    def append(
        self, topic: str, body: str, *, actor: str, after: int, time: datetime | None = None
    ) -> LogEntry:
        """Append an event if entry ``after`` is the last one of the topic.

        Parameters
        ----------
        topic : str
            Topic of the event.
        body : str
            JSON text of the event.
        actor : str
            Name of the person or program that caused it.
        after : int
            Number of the last entry known to the caller, 0 for an empty topic.
        time : datetime, optional
            Time of the event. Default: now.

        Raises
        ------
        Conflict
            If another event was appended in the meantime.
        """
        table = schema.events
        entry = LogEntry(after + 1, time or now(), actor, body)
        row = {
            "project": self._project_id,
            "topic": topic,
            "number": entry.number,
            "time": microseconds(entry.time),
            "actor": actor,
            "body": body,
        }
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(table).values(row))
        except IntegrityError:
            raise Conflict(
                f"Another {topic} event was appended at the same time",
                "Check the change, and try again if yours still applies",
            ) from None
        return entry

    def topics(self) -> list[str]:
        """Return the topics that have events, sorted."""
        table = schema.events
        query = select(table.c.topic).where(table.c.project == self._project_id).distinct()
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def last(self, topic: str) -> int:
        """Return the number of the last entry, 0 for an empty topic."""
        table = schema.events
        query = select(func.max(table.c.number)).where(
            table.c.project == self._project_id, table.c.topic == topic
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def entries(self, topic: str) -> list[LogEntry]:
        """Return all entries of a topic, oldest first."""
        table = schema.events
        query = (
            select(table.c.number, table.c.time, table.c.actor, table.c.body)
            .where(table.c.project == self._project_id, table.c.topic == topic)
            .order_by(table.c.number)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        return [LogEntry(row.number, timestamp(row.time), row.actor, row.body) for row in rows]
