"""Importing: from a file to the store, what is bad set aside, what is known left alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from backtalk.feedback import AnyFeedback
from backtalk.feedback.views import Case
from backtalk.formats import Format, Parsed, Progress, RejectedRow, Rejects, RowMapping, read
from backtalk.store.inserts import Added
from backtalk.store.store import Store


@dataclass(frozen=True)
class Ingested:
    """What became of an input."""

    rows: int
    """How many rows there were, bad ones among them."""
    added: Added
    rejected: int
    """How many rows were bad."""
    rejects: Path | None
    """The file in which they were set aside, with line numbers and reasons."""
    first_reason: str
    """Where the first bad row stood and what was wrong with it; empty if there was none."""


@dataclass
class _Sorter:
    """Takes the stream of rows apart while cases pass through to the store."""

    rejects: Rejects
    rows: int = 0
    first_reason: str = ""
    loose: list[AnyFeedback] = field(default_factory=list)

    def cases(self, items: Iterator[Parsed | RejectedRow]) -> Iterator[Case]:
        for item in items:
            self.rows += 1
            if isinstance(item, RejectedRow):
                if not self.rejects.count:
                    self.first_reason = f"{item.source}, line {item.line}: {item.reason}"
                self.rejects.add(item)
            else:
                self.loose += item.feedback
                yield from item.cases


def ingest(
    store: Store,
    path: str | Path,
    *,
    format: str | RowMapping | Format | None = None,  # noqa: A002 - as it is called everywhere
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> Ingested:
    """Put everything that can be read from an input into a store.

    Ids are determined by content: what is in the store already is left as it is, so that an import
    that was cut short is simply repeated.

    Parameters
    ----------
    store : Store
        Where it goes.
    path : str | Path
        A file, a folder, or ``"-"`` for standard input.
    format, options, progress
        As for :func:`backtalk.formats.read`.

    Raises
    ------
    BacktalkError
        If there is nothing to read, or nobody knows how.
    """
    result = read(path, format=format, options=options, progress=progress)
    with Rejects(path) as rejects:
        sorter = _Sorter(rejects)
        added = store.add_cases(sorter.cases(result))
        if sorter.loose:
            added += store.add(*sorter.loose)
    return Ingested(
        rows=sorter.rows,
        added=added,
        rejected=rejects.count,
        rejects=rejects.path,
        first_reason=sorter.first_reason,
    )
