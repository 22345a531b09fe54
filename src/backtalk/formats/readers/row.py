"""A row of an input, and one that could not be read."""

from __future__ import annotations

from typing import Any, NamedTuple

# Named tuples rather than dataclasses: a million of them are made in an import.


class Row(NamedTuple):
    """One row, as JSON data, and where it stands."""

    source: str
    """The file it comes from, ``"stdin"`` for standard input."""
    line: int
    """From 1: the physical line in JSON lines, the number of the row elsewhere."""
    data: dict[str, Any]


class RejectedRow(NamedTuple):
    """A row that is set aside."""

    source: str
    line: int
    """As in ``Row``; 0 for a file that could not be read at all."""
    reason: str
    raw: Any
    """What stood there: the text, or the row as data if it could be read that far."""
