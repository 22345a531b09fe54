"""Joining of the traces and the feedback of one file, which tools export as rows of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from backtalk.formats.format import RowData
from backtalk.formats.readers import RejectedRow, Row

FEEDBACK = "joined_feedback"
"""Field of a trace with the feedback on it, which a join adds."""
OUTSIDE = "scores_outside_0_to_1"
"""Field with the names of the scores that have a number outside 0 to 1 in the file, which a join
adds: a 1 is then not the best value."""


@dataclass(frozen=True)
class TraceJoin:
    """Join of a tool's rows; calling it is the ``preprocess`` of a format.

    Traces are held until the end of the file. If a file has no traces, its feedback is yielded
    alone, as another file may have them.
    """

    items: Callable[[RowData], list[Any]]
    """Function that returns the rows of a page of an API, and an empty list for other rows."""
    trace_keys: Callable[[RowData], Mapping[str, str]]
    """Function that returns the keys of a trace, its own first, with their ranks. If two traces
    have a key, feedback on it is about the one of higher rank. Empty for other rows."""
    targets: Callable[[RowData], Sequence[str]]
    """Function that returns the keys that feedback is about, the most specific one first; empty for
    other rows."""
    numbers: Callable[[RowData], Iterable[tuple[str, Any]]]
    """Function that returns the names and values of the scores in a row."""

    def __call__(self, rows: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
        """Yield traces with their feedback, then feedback whose trace is not in the file."""
        traces: dict[str, Row] = {}
        feedback: list[Row] = []
        others: list[Row | RejectedRow] = []
        outside: set[str] = set()
        for row in self._single_rows(rows):
            if isinstance(row, RejectedRow):
                yield row
                continue
            outside |= {name for name, value in self.numbers(row.data) if _is_outside(value)}
            if keys := self.trace_keys(row.data):
                own = next(iter(keys))
                if own in traces:
                    reason = f"{own!r} occurs twice"
                    yield RejectedRow(row.source, row.line, reason, row.data)
                else:
                    traces[own] = row
            elif self.targets(row.data):
                feedback.append(row)
            else:
                others.append(row)
        names = sorted(outside)
        for joined in chain(others, self._join(traces, feedback)):
            if isinstance(joined, Row) and names:
                yield joined._replace(data={**joined.data, OUTSIDE: names})
            else:
                yield joined

    def expand(self, page: RowData) -> list[RowData]:
        """Return the rows of a page, joined; an empty list if a row is no page."""
        if not self.items(page):
            return []
        rows: list[Row | RejectedRow] = [Row("", 1, page)]
        return [row.data for row in self(iter(rows)) if isinstance(row, Row)]

    def _single_rows(self, rows: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
        """Yield the rows of pages, numbered from 1, and other rows as they are."""
        for row in rows:
            items = [] if isinstance(row, RejectedRow) else self.items(row.data)
            if not items:
                yield row
            for number, item in enumerate(items, 1):
                if isinstance(item, dict):
                    yield Row(row.source, number, item)
                else:
                    yield RejectedRow(row.source, number, "expected an object", item)

    def _join(self, traces: dict[str, Row], feedback: list[Row]) -> Iterator[Row | RejectedRow]:
        index: dict[str, tuple[str, str]] = {}
        for own, row in traces.items():
            for key, rank in self.trace_keys(row.data).items():
                index[key] = max(index.get(key, ("", "")), (rank, own))
        added: dict[str, list[RowData]] = {}
        alone = []
        for row in feedback:
            owners = [index[key][1] for key in self.targets(row.data) if key in index]
            if owners:
                added.setdefault(owners[0], []).append(row.data)
            else:
                alone.append(row)
        for own, row in traces.items():
            yield _with_feedback(row, added.get(own, []))
        for row in alone:
            yield self._without_trace(row) if traces else row

    def _without_trace(self, row: Row) -> RejectedRow:
        target = self.targets(row.data)[0]
        reason = f"{target!r} is not in this file. Add it to the file"
        return RejectedRow(row.source, row.line, reason, row.data)


def _is_outside(value: Any) -> bool:
    """Return true if a value is a number, perhaps as text, outside 0 to 1."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return False
    try:
        return not 0 <= float(value) <= 1
    except ValueError:
        return False


def _with_feedback(row: Row, added: list[RowData]) -> Row:
    if not added:
        return row
    known = row.data.get(FEEDBACK)
    both = [*(known if isinstance(known, list) else []), *added]
    return row._replace(data={**row.data, FEEDBACK: both})
