"""What a project keeps besides records: documents under an id, and a journal of events."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Engine, func, insert, select
from sqlalchemy.exc import IntegrityError

from backtalk.errors import Conflict, NotFound
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, timestamp


class DocumentStore:
    """JSON documents, each of a kind and under an id. Made by :attr:`Store.documents`."""

    def __init__(self, engine: Engine, project: int) -> None:
        self._engine = engine
        self._project = project

    def put(self, kind: str, id: str, body: str, *, time: datetime | None = None) -> bool:  # noqa: A002
        """Keep a document and return whether it is new; what is kept already stays as it is.

        Parameters
        ----------
        kind, id, body : str
            The document.
        time : datetime, optional
            When it was made; now, if left out.
        """
        table = schema.documents
        row = {
            "project": self._project,
            "kind": kind,
            "id": id,
            "time": microseconds(time or now()),
            "body": body,
        }
        try:
            with writing(self._engine) as connection:
                connection.execute(insert(table).values(row))
        except IntegrityError:
            return False
        return True

    def get(self, kind: str, id: str) -> str:  # noqa: A002
        """Return a document by its id or by the beginning of its id.

        Raises
        ------
        NotFound
            If there is none.
        Conflict
            If several ids begin so.
        """
        table = schema.documents
        query = select(table.c.id, table.c.body).where(
            table.c.project == self._project,
            table.c.kind == kind,
            table.c.id.startswith(id, autoescape=True),
        )
        with self._engine.connect() as connection:
            results = connection.execute(query.limit(3)).all()
        exact = [row for row in results if row.id == id] or results
        if not exact or not id:
            raise NotFound(
                f"There is no {kind} {id!r} in this project",
                "`backtalk status` lists what there is",
            )
        if len(exact) > 1:
            listed = ", ".join(row.id for row in exact)
            raise Conflict(f"{id!r} is the beginning of several ids: {listed}", "Give more of it")
        return str(exact[0].body)

    def all(self, kind: str) -> Iterator[tuple[str, datetime, str]]:
        """Yield ``(id, time, body)`` of all documents of a kind, the oldest first."""
        table = schema.documents
        query = (
            select(table.c.id, table.c.time, table.c.body)
            .where(table.c.project == self._project, table.c.kind == kind)
            .order_by(table.c.seq)
        )
        with self._engine.connect() as connection:
            results = connection.execute(query).all()
        for row in results:
            yield row.id, timestamp(row.time), row.body

    def kinds(self) -> list[str]:
        """Return the kinds of documents that there are."""
        table = schema.documents
        query = select(table.c.kind).where(table.c.project == self._project).distinct()
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())


@dataclass(frozen=True)
class LogEntry:
    """One event of a journal."""

    number: int
    time: datetime
    actor: str
    body: str


class EventLog:
    """Events in order, by topic; nothing is ever changed. Made by :attr:`Store.journal`."""

    def __init__(self, engine: Engine, project: int) -> None:
        self._engine = engine
        self._project = project

    def append(
        self, topic: str, body: str, *, actor: str, after: int, time: datetime | None = None
    ) -> LogEntry:
        """Append an event, if nothing happened since entry ``after`` (0 for the first).

        Parameters
        ----------
        topic, body, who
            The event.
        after : int
            The number of the last entry that the caller knows of.
        time : datetime, optional
            When it happened; now, if left out.

        Raises
        ------
        Conflict
            If somebody else appended in the meantime.
        """
        table = schema.journal
        entry = LogEntry(after + 1, time or now(), actor, body)
        row = {
            "project": self._project,
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
                f"Somebody else wrote to the journal of {topic} at the same time",
                "Look at what changed, and try again if it still holds",
            ) from None
        return entry

    def topics(self) -> list[str]:
        """Return the topics that there are."""
        table = schema.journal
        query = select(table.c.topic).where(table.c.project == self._project).distinct()
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def last(self, topic: str) -> int:
        """Return the number of the last entry, 0 where there is none."""
        table = schema.journal
        query = select(func.max(table.c.number)).where(
            table.c.project == self._project, table.c.topic == topic
        )
        with self._engine.connect() as connection:
            return int(connection.execute(query).scalar() or 0)

    def entries(self, topic: str) -> list[LogEntry]:
        """Return all entries of a topic, the oldest first."""
        table = schema.journal
        query = (
            select(table.c.number, table.c.time, table.c.actor, table.c.body)
            .where(table.c.project == self._project, table.c.topic == topic)
            .order_by(table.c.number)
        )
        with self._engine.connect() as connection:
            results = connection.execute(query).all()
        return [LogEntry(row.number, timestamp(row.time), row.actor, row.body) for row in results]
