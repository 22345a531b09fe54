"""Rows of an input, and rejected rows."""

from __future__ import annotations

from typing import Any, NamedTuple

# Named tuples are faster than dataclasses, and an import makes millions of them.

_ROW_ENDINGS = (".parquet", ".json", ".eval")
_TABLE_ENDINGS = (".csv", ".tsv", ".parquet")
_COMPRESSED = (".gz", ".zst")


def place(source: str, line: int) -> str:
    """Return the place of a row in its file: ``line 3`` of a text, ``row 3`` of other files.

    >>> place("a.csv.gz", 3), place("a.parquet", 3)
    ('line 3', 'row 3')
    """
    return f"{'row' if _plain_name(source).endswith(_ROW_ENDINGS) else 'line'} {line}"


def is_table(source: str) -> bool:
    """Return true if each row of a file has all of its columns: CSV, TSV and Parquet."""
    return _plain_name(source).endswith(_TABLE_ENDINGS)


def _plain_name(source: str) -> str:
    """Return the name of a file without the ending of a compression, in lower case."""
    name = source.lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    return name


class Row(NamedTuple):
    """Row as JSON data, with its position."""

    source: str
    """Name of the file, ``"stdin"`` for standard input."""
    line: int
    """Number from 1: of the line in JSON lines, CSV and TSV, otherwise of the row."""
    data: dict[str, Any]


class RejectedRow(NamedTuple):
    """Row that was rejected, with the reason."""

    source: str
    """Name of the file, ``"stdin"`` for standard input."""
    line: int
    """Line or row number, as in ``Row``; 0 if the file could not be read at all."""
    reason: str
    """Reason for the rejection."""
    raw: Any
    """Text of the row, or its JSON data if it could be parsed."""
