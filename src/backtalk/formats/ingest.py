"""Import of a file into a store: known records are left unchanged, invalid rows are rejected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.feedback import AnyFeedback
from backtalk.feedback.case import Case
from backtalk.formats.read import ParsedRow, read
from backtalk.formats.readers import Progress, RejectedRow
from backtalk.formats.rejects import Rejects
from backtalk.formats.unusual import Unusual
from backtalk.store.inserts import AddResult
from backtalk.store.store import Store

if TYPE_CHECKING:
    from backtalk.formats import Format, RowMapping


@dataclass(frozen=True)
class IngestResult:
    """Counts of an import, and the file of rejected rows."""

    rows: int
    """Number of rows read, rejected rows included."""
    added: AddResult
    rejected: int
    """Number of rejected rows."""
    rejects: Path | None
    """File of rejected rows, with line numbers and reasons; ``None`` if there were none."""
    first_reason: str
    """Position of the first rejected row and the reason; empty if there was none."""
    unusual: tuple[str, ...] = ()
    """Lines about what was unusual, such as empty answers; see
    :class:`~backtalk.formats.unusual.Unusual`."""


@dataclass
class _RowSorter:
    """Separates cases, feedback without an interaction, and rejected rows."""

    rejects: Rejects
    unusual: Unusual
    rows: int = 0
    first_reason: str = ""
    system_feedback: list[AnyFeedback] = field(default_factory=list)

    def cases(self, rows: Iterator[ParsedRow | RejectedRow]) -> Iterator[Case]:
        for row in rows:
            self.rows += 1
            if isinstance(row, RejectedRow):
                if not self.rejects.count:
                    self.first_reason = f"{row.source}, line {row.line}: {row.reason}"
                self.rejects.add(row)
            else:
                self.system_feedback += row.feedback
                for case in row.cases:
                    self.unusual.add(case)
                    yield case


def ingest(
    store: Store,
    path: str | Path,
    *,
    format: str | RowMapping | Format | None = None,  # noqa: A002 - the usual name of the option
    options: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> IngestResult:
    """Import all valid rows of an input into a store.

    Ids are determined by content, and records that the store has are left unchanged. An import
    that was interrupted can therefore be repeated.

    Parameters
    ----------
    store : Store
        Store to import into.
    path : str or Path
        A file, a folder, or ``"-"`` for standard input.
    format, options, progress
        See :func:`backtalk.formats.read`.

    Raises
    ------
    BacktalkError
        If there is nothing to read, or the format is not known.
    """
    rows = read(path, format=format, options=options, progress=progress)
    unusual = Unusual()
    with Rejects(path) as rejects, unusual.collect_notes():
        sorter = _RowSorter(rejects, unusual)
        added = store.add_cases(sorter.cases(rows))
        if sorter.system_feedback:
            added += store.add(*sorter.system_feedback)
    return IngestResult(
        rows=sorter.rows,
        added=added,
        rejected=rejects.count,
        rejects=rejects.path,
        first_reason=sorter.first_reason,
        unusual=tuple(unusual.lines()),
    )
