"""Copies of a project's memories, row by row, with their history."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from backtalk.errors import BacktalkError
from backtalk.store import schema
from backtalk.store.engine import writing
from backtalk.store.row_inserts import insert_rows

if TYPE_CHECKING:
    from backtalk.store.store import Store

_TABLES = {
    "entry": schema.memory_entries,
    "link": schema.memory_links,
    "topic": schema.memory_topics,
    "change": schema.memory_changes,
}
_NUMBERS = ("revision", "rows", "changes")
_BATCH = 1_000


def copy_memories(store: Store) -> Iterator[dict[str, Any]]:
    """Yield the rows of all memories of a project, for :func:`restore_memories`."""
    memories = schema.memories
    query = select(memories).where(memories.c.project == store.project_id)
    with store.engine.connect() as connection:
        for memory in connection.execute(query.order_by(memories.c.name)).all():
            numbers = {name: getattr(memory, name) for name in _NUMBERS}
            yield {"memory": memory.name, "table": "memory", "row": numbers}
            for name, table in _TABLES.items():
                rows = select(table).where(table.c.memory == memory.id)
                ordered = rows.order_by(*table.primary_key.columns)
                for row in connection.execute(ordered).yield_per(_BATCH).mappings():
                    fields = {key: value for key, value in row.items() if key != "memory"}
                    yield {"memory": memory.name, "table": name, "row": fields}


def restore_memories(store: Store, lines: Iterable[Mapping[str, Any]]) -> None:
    """Write rows of :func:`copy_memories` into a project, in one transaction.

    Raises
    ------
    BacktalkError
        If the project has a memory of the same name.
    """
    names = store.memories.names()
    with writing(store.engine) as connection:
        for name, rows_of_memory in groupby(lines, key=lambda line: line["memory"]):
            if name in names:
                raise BacktalkError(
                    f"Project {store.project!r} has a memory {name!r} already",
                    "Read the archive into a new project, with --project NAME",
                )
            memory = store.memories.table(name).find_or_create(connection)
            for kind, rows in groupby(rows_of_memory, key=lambda line: line["table"]):
                if kind == "memory":
                    (numbers,) = (line["row"] for line in rows)
                    where = schema.memories.c.id == memory
                    connection.execute(update(schema.memories).where(where).values(**numbers))
                    continue
                table = _TABLES[kind]
                columns = [column.name for column in table.columns]
                values = [
                    tuple({**line["row"], "memory": memory}[name] for name in columns)
                    for line in rows
                ]
                insert_rows(connection, table, columns, values)
