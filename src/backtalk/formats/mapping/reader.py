"""Format of a table with a mapping, whose first rows settle what numbers mean."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from backtalk.errors import UnknownName
from backtalk.formats.fields import Fields
from backtalk.formats.format import Format, Parsed, RowData
from backtalk.formats.mapping.base import Doubt
from backtalk.formats.mapping.fields import DOCS_PAGE, columns_read
from backtalk.formats.mapping.paths import head_of
from backtalk.formats.mapping.sources import columns_of
from backtalk.formats.mapping.table import RowMapping
from backtalk.formats.readers import RejectedRow, Row
from backtalk.formats.readers.row import is_table
from backtalk.formats.unusual import note_unusual

_FIRST_ROWS = 1_000
"""Number of rows that are inspected for the names of columns and the numbers in them."""
_CLOSE = 0.8
"""Similarity of two names, by difflib, from which one is a misspelling of the other."""


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
        """Yield all rows, after inspecting the first ones.

        Raises
        ------
        UnknownName
            If they lack a column that the mapping names.
        """
        first = list(islice(rows, _FIRST_ROWS))
        valid = [row for row in first if isinstance(row, Row)]
        if valid:
            _check_columns(self._original, valid)
        self._mapping, self._doubts = self._original.resolve([row.data for row in valid])
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


def _check_columns(mapping: RowMapping, rows: Sequence[Row]) -> None:
    """Check that the first rows have the columns that the mapping names.

    A table has all of its columns in each row. Objects may lack a column, which is noted, unless
    they need it or have one with nearly the same name.

    Raises
    ------
    UnknownName
        If a column is missing; the message lists the columns that there are.
    """
    source = rows[0].source
    known = dict.fromkeys(name for row in rows for name in row.data)
    read = dict.fromkeys(columns_read(mapping))
    missing = [name for name in read if name not in known and head_of(name) not in known]
    if not missing:
        return
    unread = [name for name in known if name not in {head_of(column) for column in read}]
    needed = _needed(mapping)
    errors, hints = [], []
    for name in missing:
        close = difflib.get_close_matches(head_of(name), unread, n=1, cutoff=_CLOSE)
        hints += [f"Did you mean {close[0]!r}? "] if close else []
        if is_table(source) or name in needed or close:
            errors.append(name)
        else:
            note_unusual(f"column {name!r} of the mapping is in none of the first rows")
    if errors:
        word = "column" if len(errors) == 1 else "columns"
        raise UnknownName(
            f"The mapping names the {word} {', '.join(map(repr, errors))}, which {source} does not "
            "have",
            f"{''.join(hints)}The file has: {', '.join(known)}",
        )


def _needed(mapping: RowMapping) -> set[str]:
    """Return the columns without which no row can be read: those of the prompt."""
    return set() if mapping.prompt is None else set(columns_of(mapping.prompt))
