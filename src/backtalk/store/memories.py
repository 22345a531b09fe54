"""Memories of a project: their names, and access to their rows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine, select

from backtalk.store import schema
from backtalk.store.memory_reader import MemoryReader
from backtalk.store.memory_rows import EntryFilter, EntryRow
from backtalk.store.row_inserts import insert_rows


class MemoryTable:
    """Rows of one memory.

    Parameters
    ----------
    engine : Engine
        Database of the store.
    project_id : int
        Id of the project.
    name : str
        Name of the memory.
    """

    def __init__(self, engine: Engine, project_id: int, name: str) -> None:
        self.engine = engine
        self._project_id = project_id
        self.name = name

    @contextmanager
    def reading(self) -> Iterator[MemoryReader]:
        """Open a connection for queries. A memory that does not exist is empty."""
        with self.engine.connect() as connection:
            yield MemoryReader(connection, self._find(connection) or 0)

    def _find(self, connection: Connection) -> int | None:
        table = schema.memories
        query = select(table.c.id).where(
            table.c.project == self._project_id, table.c.name == self.name
        )
        return connection.execute(query).scalar()

    def find_or_create(self, connection: Connection) -> int:
        """Return the id of the memory, locked until the transaction ends."""
        table = schema.memories
        columns = ["project", "name", "revision", "rows", "changes"]
        if self._find(connection) is None:
            insert_rows(connection, table, columns, [(self._project_id, self.name, 0, 0, 0)])
        query = select(table.c.id).where(
            table.c.project == self._project_id, table.c.name == self.name
        )
        return int(connection.execute(query.with_for_update()).scalar_one())

    def pages(self, where: EntryFilter, *, after: int = 0) -> Iterator[list[EntryRow]]:
        """Yield pages of entries, with constant memory."""
        while True:
            with self.reading() as reader:
                rows = reader.page(where, after=after)
            if not rows:
                return
            yield rows
            after = rows[-1].row


class Memories:
    """Memories of a project. Obtained as :attr:`Store.memories`."""

    def __init__(self, engine: Engine, project_id: int) -> None:
        self._engine = engine
        self._project_id = project_id

    def names(self) -> list[str]:
        """Return the names of the memories of the project, sorted."""
        table = schema.memories
        query = select(table.c.name).where(table.c.project == self._project_id)
        with self._engine.connect() as connection:
            return sorted(connection.execute(query).scalars())

    def table(self, name: str) -> MemoryTable:
        """Return the rows of a memory, which need not exist yet."""
        return MemoryTable(self._engine, self._project_id, name)
