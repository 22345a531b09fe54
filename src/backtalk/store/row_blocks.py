"""Insertion of many rows of one table with few statements.

A statement inserts up to 100 rows, which takes half the time of a statement for each row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import chain
from typing import Any, NamedTuple

from sqlalchemy import Connection

_MAX_ROWS = 100
"""Maximum number of rows of a statement."""
_MAX_PARAMETERS = 900
"""Maximum number of parameters of a statement; SQLite before 3.32 allows 999."""


class RowBlock(NamedTuple):
    """Rows of one table. Columns with the same value in all rows are held once."""

    size: int
    """Number of rows."""
    shared_names: tuple[str, ...]
    shared: tuple[Any, ...]
    """Values of the columns ``shared_names``."""
    names: tuple[str, ...]
    values: list[Any]
    """Values of the columns ``names``, row by row."""

    def column(self, name: str) -> list[Any]:
        """Return the values of a column."""
        if name in self.shared_names:
            return [self.shared[self.shared_names.index(name)]] * self.size
        return self.values[self.names.index(name) :: len(self.names)]


def make_block(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> RowBlock:
    """Return rows, at least one, as a block.

    >>> make_block(("project", "id"), [(1, "a"), (1, "b")])
    RowBlock(size=2, shared_names=('project',), shared=(1,), names=('id',), values=['a', 'b'])

    Parameters
    ----------
    columns : sequence of str
        Names of the columns.
    rows : sequence of sequences
        Values, in the order of ``columns``.
    """
    size = len(rows)
    shared: dict[str, Any] = {}
    varying: dict[str, tuple[Any, ...]] = {}
    for name, column in zip(columns, zip(*rows, strict=True), strict=True):
        value = column[0]
        if column[-1] == value and column.count(value) == size:
            shared[name] = value
        else:
            varying[name] = column
    return RowBlock(
        size,
        tuple(shared),
        tuple(shared.values()),
        tuple(varying),
        list(chain.from_iterable(zip(*varying.values(), strict=True))),
    )


def insert_block(connection: Connection, table: str, block: RowBlock) -> int:
    """Insert rows, and skip those that violate a constraint of uniqueness.

    Parameters
    ----------
    connection : Connection
        Connection with an open write transaction.
    table : str
        Name of the table.
    block : RowBlock
        The rows.

    Returns
    -------
    int
        Number of rows inserted.
    """
    numbered = connection.dialect.paramstyle == "qmark"
    inserted = 0
    for count, values in _split(block):
        if numbered:
            statement = _numbered_statement(table, block.shared_names, block.names, count)
            parameters = (*block.shared, *values)
        else:
            statement = _positional_statement(table, block.shared_names, block.names, count)
            parameters = _with_shared(block.shared, values, count)
        inserted += connection.exec_driver_sql(statement, parameters).rowcount
    return inserted


def _split(block: RowBlock) -> Iterator[tuple[int, list[Any]]]:
    """Yield the number of rows of each statement, and their values."""
    width = len(block.names)
    step = max(min((_MAX_PARAMETERS - len(block.shared)) // max(width, 1), _MAX_ROWS), 1)
    for start in range(0, block.size, step):
        count = min(step, block.size - start)
        yield count, block.values[start * width : (start + count) * width]


@lru_cache(maxsize=64)
def _numbered_statement(
    table: str, shared_names: tuple[str, ...], names: tuple[str, ...], count: int
) -> str:
    """Return the statement for SQLite, in which a parameter can occur several times.

    ``ON CONFLICT DO NOTHING`` would take twice the time: it does not apply to ``NOT NULL``, so that
    SQLite would copy each page that the statement changes, to be able to undo it.
    """
    shared = [f"?{number}" for number in range(1, len(shared_names) + 1)]
    rows = []
    for index in range(count):
        start = len(shared) + 1 + index * len(names)
        row = shared + [f"?{number}" for number in range(start, start + len(names))]
        rows.append(f"({', '.join(row)})")
    columns = _quoted(shared_names + names)
    return f"INSERT OR IGNORE INTO {table} ({columns}) VALUES {', '.join(rows)}"  # noqa: S608


@lru_cache(maxsize=64)
def _positional_statement(
    table: str, shared_names: tuple[str, ...], names: tuple[str, ...], count: int
) -> str:
    """Return the statement for PostgreSQL."""
    columns = shared_names + names
    row = f"({', '.join(['%s'] * len(columns))})"
    return (
        f"INSERT INTO {table} ({_quoted(columns)}) VALUES {', '.join([row] * count)} "  # noqa: S608
        "ON CONFLICT DO NOTHING"
    )


def _with_shared(shared: tuple[Any, ...], values: list[Any], count: int) -> tuple[Any, ...]:
    """Return the values of rows, each after those of the shared columns."""
    width = len(values) // count
    parameters: list[Any] = []
    for index in range(count):
        parameters += shared
        parameters += values[index * width : (index + 1) * width]
    return tuple(parameters)


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
