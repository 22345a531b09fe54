"""Charts of the number of records by kind and day."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from backtalk.store import Store
from backtalk.store.row_codec import timestamp

MAX_ROWS = 200_000
"""Number of the latest records of a table that are counted."""
BARS = 30
"""Maximum number of bars of a chart."""
_DAY = 86_400_000_000


@dataclass(frozen=True)
class Bar:
    """Number of records within some days."""

    first: date
    last: date
    count: int
    height: float
    """Height relative to the highest bar, in [0, 1]."""

    @property
    def days(self) -> str:
        """Days that it covers, for display."""
        return f"{self.first}" if self.first == self.last else f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Chart:
    """Number of records of a kind over time."""

    kind: str
    total: int
    """Total number of records counted."""
    bars: Sequence[Bar]


def charts(store: Store) -> list[Chart]:
    """Return a chart of the interactions and one of each kind of feedback, on the same days.

    The latest 200,000 records of each table are counted, by the day on which they happened or, if
    that is unknown, were received.
    """
    counts = store.counts_by_day(limit=MAX_ROWS)
    days = [day for by_day in counts.values() for day in by_day]
    if not days:
        return []
    last = max(days)
    first = min(*days, last - BARS + 1)
    return [_chart(kind, by_day, first, last) for kind, by_day in counts.items()]


def _chart(kind: str, counts: Mapping[int, int], first: int, last: int) -> Chart:
    width = -(-(last - first + 1) // BARS)
    sums = [
        sum(counts.get(day, 0) for day in range(start, start + width))
        for start in range(first, last + 1, width)
    ]
    highest = max(sums)
    bars = [
        Bar(
            _date(first + index * width),
            min(_date(first + index * width) + timedelta(days=width - 1), _date(last)),
            count,
            count / highest,
        )
        for index, count in enumerate(sums)
    ]
    return Chart(kind, sum(sums), bars)


def _date(day: int) -> date:
    return timestamp(day * _DAY).date()
