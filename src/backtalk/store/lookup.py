"""Rows by id, with statements that are compiled once.

SQLAlchemy takes about half a millisecond to build a query and to read its cache. The gateway would
pay that for each table with each small batch of records.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect, Table, bindparam, select

_MAX_IDS = 512
"""Maximum number of ids in a query."""


def rows_by_id(
    connection: Connection,
    table: Table,
    columns: Sequence[str],
    project_id: int,
    ids: Collection[str],
    *,
    key: str = "id",
) -> Iterator[Any]:
    """Yield the rows of a project that have one of some ids.

    Parameters
    ----------
    connection : Connection
        Connection to the store.
    table : Table
        Table, with a column ``project``.
    columns : sequence of str
        Names of the columns, whose values are strings or integers.
    project_id : int
        Id of the project.
    ids : collection of str
        Ids. An id that is listed twice yields its rows once.
    key : str, default "id"
        Name of the column that holds the ids.

    Yields
    ------
    Row
        Values of the columns, in no particular order of the rows.
    """
    names = sorted(set(ids))
    for start in range(0, len(names), _MAX_IDS):
        part = names[start : start + _MAX_IDS]
        size = 1 << (len(part) - 1).bit_length()  # few sizes, thus few statements
        part += [part[-1]] * (size - len(part))
        statement, order = _compiled(connection.dialect, table, tuple(columns), key, size)
        values = {"project": project_id, **{f"id_{i}": id_ for i, id_ in enumerate(part)}}
        arguments = values if order is None else tuple(values[name] for name in order)
        yield from connection.exec_driver_sql(statement, arguments).all()


@lru_cache(maxsize=128)
def _compiled(
    dialect: Dialect, table: Table, columns: tuple[str, ...], key: str, size: int
) -> tuple[str, tuple[str, ...] | None]:
    """Return a query's text, and the order of its parameters if they have no names."""
    ids = [bindparam(f"id_{i}", type_=table.c[key].type) for i in range(size)]
    query = select(*(table.c[name] for name in columns)).where(
        table.c.project == bindparam("project"), table.c[key].in_(ids)
    )
    compiled = query.compile(dialect=dialect)
    order = compiled.positiontup if compiled.positional else None
    return str(compiled), None if order is None else tuple(order)
