"""Rows of an input, and rejected rows."""

from __future__ import annotations

from typing import Any, NamedTuple

# Named tuples are faster than dataclasses, and an import makes millions of them.


class Row(NamedTuple):
    """Row as JSON data, with its position."""

    source: str
    """Name of the file, ``"stdin"`` for standard input."""
    line: int
    """Line number in JSON lines, row number elsewhere, from 1."""
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
