"""Export formats and their registry."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from backtalk.feedback.case import Case
from backtalk.feedback.views import View
from backtalk.registry import Registry

ExportRow = dict[str, Any]
"""A row as JSON data, in which records stand for their JSON."""
Dropped = Counter[str]
"""Number of items that were not written, by reason."""
MakeRows = Callable[[Case, Dropped], list[ExportRow]]


@dataclass(frozen=True)
class ExportFormat:
    """Layout that feedback is written in."""

    name: str
    title: str
    source: str
    """Address of the page that describes the layout."""
    view: type[View] | None
    """View that feedback is converted to; ``None`` if records are written unchanged."""
    rows: MakeRows
    """Function from a case to its rows. It counts what the layout cannot represent."""
    columns: dict[str, str]
    """Columns of a Parquet file with their types: text, flag, messages, texts, flags."""
    holds_reasoning: bool = True
    """If false, its messages may have no field for reasoning."""


EXPORTS: Registry[ExportFormat] = Registry(
    "format to export to",
    modules=("backtalk.formats.exporters.layouts",),
    item_type=ExportFormat,
)
"""All export formats by name."""


def export_format(
    name: str,
    *,
    title: str,
    source: str,
    view: type[View] | None,
    columns: dict[str, str],
    holds_reasoning: bool = True,
) -> Callable[[MakeRows], MakeRows]:
    """Register the decorated function as the one that makes the rows of a format.

    Parameters
    ----------
    name : str
        Name of the format.
    title : str
        Description in a few words.
    source : str
        Address of the page that describes the layout.
    view, columns, holds_reasoning
        See :class:`ExportFormat`.
    """

    def register(rows: MakeRows) -> MakeRows:
        layout = ExportFormat(name, title, source, view, rows, columns, holds_reasoning)
        EXPORTS.register(name, layout, origin=rows)
        return rows

    return register


def get_export_format(name: str) -> ExportFormat:
    """Return the export format of that name.

    Raises
    ------
    UnknownName
        If there is none; the message lists the known formats.
    """
    return EXPORTS.get(name)
