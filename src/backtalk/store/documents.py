"""JSON documents of a project, by kind and id: policies, evaluations."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Engine, insert, select
from sqlalchemy.exc import IntegrityError

from backtalk.errors import Conflict, NotFound
from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_codec import microseconds, timestamp


class DocumentStore:
    """Immutable JSON documents of a project, each with a kind and an id.

    Obtained as :attr:`Store.documents`.
    """

    def __init__(self, engine: Engine, project_id: int) -> None:
        self._engine = engine
        self._project_id = project_id

    def put(self, kind: str, id: str, body: str, *, time: datetime | None = None) -> bool:  # noqa: A002
        """Store a document and return true if it is new. An existing document is not replaced.

        Parameters
        ----------
        kind : str
            Kind of document, such as ``"policy"``.
        id : str
            Id of the document, unique among its kind.
        body : str
            JSON text.
        time : datetime, optional
            Time of creation. Default: now.
        """
        table = schema.documents
        row = {
            "project": self._project_id,
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
        """Return the body of a document, by its id or a unique prefix of its id.

        Raises
        ------
        NotFound
            If no id matches.
        Conflict
            If several ids have the prefix.
        """
        table = schema.documents
        query = select(table.c.id, table.c.body).where(
            table.c.project == self._project_id,
            table.c.kind == kind,
            table.c.id.startswith(id, autoescape=True),
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query.limit(3)).all()
        matches = [row for row in rows if row.id == id] or rows
        if not matches or not id:
            raise NotFound(
                f"There is no {kind} {id!r} in this project",
                "`backtalk status` lists policies and evaluations",
            )
        if len(matches) > 1:
            ids = ", ".join(row.id for row in matches)
            raise Conflict(f"{id!r} is a prefix of several ids: {ids}", "Give a longer prefix")
        return str(matches[0].body)

    def all(self, kind: str) -> Iterator[tuple[str, datetime, str]]:
        """Yield ``(id, time, body)`` of all documents of a kind, oldest first."""
        table = schema.documents
        query = (
            select(table.c.id, table.c.time, table.c.body)
            .where(table.c.project == self._project_id, table.c.kind == kind)
            .order_by(table.c.seq)
        )
        with self._engine.connect() as connection:
            rows = connection.execute(query).all()
        for row in rows:
            yield row.id, timestamp(row.time), row.body

    def kinds(self) -> list[str]:
        """Return the kinds of the documents in the project, sorted."""
        table = schema.documents
        query = select(table.c.kind).where(table.c.project == self._project_id).distinct()
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())
