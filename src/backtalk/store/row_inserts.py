"""Insertion of rows that may be in a table already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Table


def insert_rows(
    connection: Connection, table: Table, columns: Sequence[str], rows: list[tuple[Any, ...]]
) -> int:
    """Insert rows with the driver's ``executemany``, and skip those that violate a constraint.

    SQLAlchemy's own ``insert`` would need a dictionary for each row.

    Parameters
    ----------
    connection : Connection
        Connection with an open write transaction.
    table : Table
        Target table.
    columns : sequence of str
        Names of the columns.
    rows : list of tuple
        Values, in the order of ``columns``.

    Returns
    -------
    int
        Number of rows inserted.
    """
    if not rows:
        return 0
    placeholder = "?" if connection.dialect.paramstyle == "qmark" else "%s"
    names = ", ".join(f'"{name}"' for name in columns)
    placeholders = ", ".join([placeholder] * len(columns))
    result = connection.exec_driver_sql(
        f"INSERT INTO {table.name} ({names}) VALUES ({placeholders}) ON CONFLICT DO NOTHING",  # noqa: S608
        rows,
    )
    return result.rowcount
