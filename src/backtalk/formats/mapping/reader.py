"""Format of a table with a mapping, whose first rows settle what numbers mean."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from backtalk.formats.fields import Fields
from backtalk.formats.format import Format, Parsed, RowData
from backtalk.formats.mapping.base import Doubt
from backtalk.formats.mapping.fields import DOCS_PAGE
from backtalk.formats.mapping.table import RowMapping
from backtalk.formats.readers import RejectedRow, Row

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
