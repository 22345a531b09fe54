"""Format of a table with a mapping, whose first rows settle what numbers mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from backtalk.formats.fields import Fields
from backtalk.formats.format import Format, Parsed, RowData
from backtalk.formats.mapping.base import Doubt
from backtalk.formats.mapping.fields import DOCS_PAGE, columns_read
from backtalk.formats.mapping.paths import head_of
from backtalk.formats.mapping.table import RowMapping
from backtalk.formats.readers import RejectedRow, Row
from backtalk.formats.unusual import note_unusual

_FIRST_ROWS = 1_000
"""Number of rows that are inspected for the numbers in a column."""


def mapping_format(mapping: RowMapping) -> Format:
    """Return the format that a mapping describes; it reads one table at a time."""
    reader = _Reader(mapping)
    return Format(
        name="mapping",
        title="table with a mapping",
        source=DOCS_PAGE,
        parse=reader.parse,
        matches=lambda _row: False,
        preprocess=reader.preprocess,
        columns=mapping.columns(),
    )


class _Reader:
    """Reader of the rows of one table after another."""

    def __init__(self, mapping: RowMapping) -> None:
        self._original = mapping
        self._mapping = mapping
        self._doubts: list[Doubt] = []

    def preprocess(self, rows: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
        """Yield all rows, after inspecting the first ones."""
        first = list(islice(rows, _FIRST_ROWS))
        data = [row.data for row in first if isinstance(row, Row)]
        self._mapping, self._doubts = self._original.resolve(data)
        if data:
            _note_missing(self._original, data)
        yield from chain(first, rows)

    def parse(self, row: RowData) -> list[Parsed]:
        """Return the content of a row.

        Raises
        ------
        RecordError
            If a column has a number of doubtful meaning, or is not valid.
        """
        for doubt in self._doubts:
            doubt.check(Fields(row))
        return self._mapping.parse(row)


def _note_missing(mapping: RowMapping, rows: Sequence[RowData]) -> None:
    """Note the columns that the mapping names and that no row has."""
    known = dict.fromkeys(name for row in rows for name in row)
    columns = dict.fromkeys(columns_read(mapping))
    for column in columns:
        if column in known or head_of(column) in known or head_of(column) != column:
            continue
        close = difflib.get_close_matches(column, known, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        note_unusual(f"column {column!r} of the mapping is in none of the first rows{hint}")
