"""Writes of a memory's rows, in one transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from sqlalchemy import Connection, delete, update

from backtalk.feedback.record import now
from backtalk.store import schema
from backtalk.store.engine import empty_log, writing
from backtalk.store.memories import MemoryTable
from backtalk.store.memory_reader import MemoryReader
from backtalk.store.memory_rows import ChangeRow, EntryRow, Link, Topic
from backtalk.store.row_codec import microseconds
from backtalk.store.row_inserts import insert_rows

_entries, _links, _topics, _changes = (
    schema.memory_entries,
    schema.memory_links,
    schema.memory_topics,
    schema.memory_changes,
)


class MemoryWriter(MemoryReader):
    """Queries and writes of one memory in a write transaction. Made by :func:`memory_writer`."""

    def __init__(self, connection: Connection, memory: int) -> None:
        super().__init__(connection, memory)
        self.revision, self.rows, self._changes = self.position()

    def add(self, rows: Sequence[EntryRow], links: Sequence[Link], topics: Sequence[Topic]) -> None:
        """Insert entries.

        Parameters
        ----------
        rows : sequence of EntryRow
            Entries, whose numbers follow :attr:`rows`; it is increased by their count.
        links : sequence of Link
            Names under which they are found.
        topics : sequence of Topic
            Their subjects.
        """
        insert_rows(
            self.connection,
            _entries,
            ["memory", *EntryRow._fields],
            [(self.memory, *row) for row in rows],
        )
        self.rows += len(rows)
        self.add_links(links)
        self.add_topics(topics)

    def add_links(self, links: Sequence[Link]) -> None:
        """Insert links that do not exist yet."""
        rows = [(self.memory, *link) for link in links]
        insert_rows(self.connection, _links, ["memory", *Link._fields], rows)

    def add_topics(self, topics: Sequence[Topic]) -> None:
        """Insert topics that do not exist yet."""
        rows = [(self.memory, *topic) for topic in topics]
        insert_rows(self.connection, _topics, ["memory", *Topic._fields], rows)

    def remove_links(self, links: Sequence[Link]) -> None:
        """Remove links."""
        for link in links:
            self.connection.execute(
                delete(_links).where(
                    _links.c.memory == self.memory,
                    _links.c.role == link.role,
                    _links.c.name == link.name,
                    _links.c.row == link.row,
                )
            )

    def remove_topics(self, row: int) -> None:
        """Remove the topics of an entry."""
        self.connection.execute(
            delete(_topics).where(_topics.c.memory == self.memory, _topics.c.row == row)
        )

    def update(self, row: EntryRow) -> None:
        """Replace the kind, the state, what superseded it and the body of an entry."""
        self.connection.execute(
            update(_entries)
            .where(_entries.c.memory == self.memory, _entries.c.row == row.row)
            .values(kind=row.kind, state=row.state, superseded=row.superseded, body=row.body)
        )

    def log(
        self,
        rows: Sequence[EntryRow],
        action: str,
        *,
        actor: str,
        reason: str = "",
        before: bool = True,
    ) -> list[ChangeRow]:
        """Append a change of each entry.

        Parameters
        ----------
        rows : sequence of EntryRow
            Entries before the change; those that were added, after it.
        action : str
            Kind of change.
        actor : str
            Name of the person or program that made it.
        reason : str, default ""
            Reason, in words.
        before : bool, default True
            If true, the bodies of the rows are stored.
        """
        time = now()
        changes = [
            ChangeRow(
                number=self._changes + number,
                row=row.row,
                entry=row.id,
                action=action,
                revision=row.revision,
                time=time,
                actor=actor,
                reason=reason,
                before=row.body if before else None,
            )
            for number, row in enumerate(rows, 1)
        ]
        columns = ["memory", *ChangeRow._fields]
        values = [(self.memory, *change[:5], microseconds(time), *change[6:]) for change in changes]
        insert_rows(self.connection, _changes, columns, values)
        self._changes += len(changes)
        return changes

    def erase_history(self, row: int) -> None:
        """Remove what an entry was before each of its changes, and the reasons of the changes."""
        self.connection.execute(
            update(_changes)
            .where(_changes.c.memory == self.memory, _changes.c.row == row)
            .values(before=None, reason="")
        )

    def finish(self) -> None:
        """Store the last numbers."""
        table = schema.memories
        self.connection.execute(
            update(table)
            .where(table.c.id == self.memory)
            .values(revision=self.revision, rows=self.rows, changes=self._changes)
        )


@contextmanager
def memory_writer(table: MemoryTable, *, erasing: bool = False) -> Iterator[MemoryWriter]:
    """Open a write transaction on a memory; other writers of the memory wait for its end.

    Parameters
    ----------
    table : MemoryTable
        Memory to write.
    erasing : bool, default False
        If true, rows are overwritten, not only marked: SQLite zeroes the freed space, and its
        write-ahead log is emptied.
    """
    with writing(table.engine) as connection:
        if erasing and table.engine.dialect.name == "sqlite":
            connection.exec_driver_sql("PRAGMA secure_delete=ON")
        writer = MemoryWriter(connection, table.find_or_create(connection))
        yield writer
        writer.finish()
    if erasing:
        empty_log(table.engine)
