"""Running aggregates of a project: sums by topic and key, and the position that they reach."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import ColumnElement, Connection, Engine, delete, select

from backtalk.errors import Conflict
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_inserts import insert_rows

_COLUMNS = ("project", "topic", "key", "version", "body")
_HEAD = ""
_KEYS = 500


class Aggregates:
    """Aggregates of a project, which are extended as records arrive.

    A topic has a head, which says how far the log was read, and rows by key. They change together
    in one transaction. Obtained as :attr:`Store.aggregates`.
    """

    def __init__(self, engine: Engine, project_id: int) -> None:
        self._engine = engine
        self._project_id = project_id

    def head(self, topic: str) -> tuple[int, str | None]:
        """Return the version of a topic and the body of its head: 0 and ``None`` for a new one."""
        table = schema.aggregates
        query = select(table.c.version, table.c.body).where(*self._where(topic), table.c.key == "")
        with self._engine.connect() as connection:
            row = connection.execute(query).first()
        return (0, None) if row is None else (int(row.version), str(row.body))

    def rows(self, topic: str, keys: Sequence[str] | None = None) -> dict[str, str]:
        """Return bodies by key.

        Parameters
        ----------
        topic : str
            Topic.
        keys : sequence of str, optional
            Keys. Default: all.
        """
        table = schema.aggregates
        query = select(table.c.key, table.c.body).where(*self._where(topic), table.c.key != _HEAD)
        with self._engine.connect() as connection:
            if keys is None:
                return {row.key: row.body for row in connection.execute(query)}
            parts = [keys[start : start + _KEYS] for start in range(0, len(keys), _KEYS)]
            return {
                row.key: row.body
                for part in parts
                for row in connection.execute(query.where(table.c.key.in_(part)))
            }

    def save(self, topic: str, head: str, rows: Mapping[str, str], *, after: int) -> int:
        """Replace the head and some rows, and return the new version.

        Parameters
        ----------
        topic : str
            Topic.
        head : str
            Body of the head.
        rows : mapping
            Bodies by key.
        after : int
            Version that the changes were made from.

        Raises
        ------
        Conflict
            If another process changed the topic in the meantime.
        """
        with writing(self._engine) as connection:
            self._check(connection, topic, after)
            self._replace(connection, topic, {_HEAD: head, **rows}, after + 1)
        return after + 1

    def clear(self, topic: str) -> None:
        """Remove a topic."""
        with writing(self._engine) as connection:
            connection.execute(delete(schema.aggregates).where(*self._where(topic)))

    def _check(self, connection: Connection, topic: str, after: int) -> None:
        table = schema.aggregates
        query = select(table.c.version).where(*self._where(topic), table.c.key == _HEAD)
        version = connection.execute(query.with_for_update()).scalar()
        if (version or 0) != after:
            raise Conflict(f"Another process changed {topic} at the same time", "Try again")

    def _replace(
        self, connection: Connection, topic: str, bodies: Mapping[str, str], version: int
    ) -> None:
        table = schema.aggregates
        keys = list(bodies)
        for start in range(0, len(keys), _KEYS):
            part = keys[start : start + _KEYS]
            connection.execute(delete(table).where(*self._where(topic), table.c.key.in_(part)))
        rows = [(self._project_id, topic, key, version, body) for key, body in bodies.items()]
        if insert_rows(connection, table, _COLUMNS, rows) < len(rows):
            raise Conflict(f"Another process changed {topic} at the same time", "Try again")

    def _where(self, topic: str) -> tuple[ColumnElement[bool], ...]:
        table = schema.aggregates
        return table.c.project == self._project_id, table.c.topic == topic
