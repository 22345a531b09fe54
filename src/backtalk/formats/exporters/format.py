"""The register of layouts that feedback is exported in."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backtalk.errors import UnknownName
from backtalk.feedback.views import Case, View

Row = dict[str, Any]
"""A row: JSON data, in which a record may stand for its JSON."""
Dropped = Counter[str]
"""How often something was not written, for each reason."""
Rows = Callable[[Case, Dropped], list[Row]]


@dataclass(frozen=True)
class Export:
    """A layout that feedback is written in."""

    name: str
    title: str
    source: str
    """The address of the page that describes the layout."""
    view: type[View] | None
    """What feedback is seen as to be written; ``None`` where records are written as they are."""
    rows: Rows
    """The rows that a case makes. What the layout has no place for is counted, not written."""
    columns: dict[str, str]
    """The columns of a Parquet file, each with its type: text, flag, messages, texts, flags."""


EXPORTS: dict[str, Export] = {}
"""Every layout by its name."""


def export_format(
    name: str, *, title: str, source: str, view: type[View] | None, columns: dict[str, str]
) -> Callable[[Rows], Rows]:
    """Register a function as the one that makes rows of a layout. See :class:`Export`."""

    def register(rows: Rows) -> Rows:
        EXPORTS[name] = Export(name, title, source, view, rows, columns)
        return rows

    return register


def named(name: str) -> Export:
    """Return the layout of that name.

    Raises
    ------
    UnknownName
        If there is none; the message lists those there are.
    """
    if name not in EXPORTS:
        raise UnknownName.among("format to export to", name, list(EXPORTS))
    return EXPORTS[name]
