"""Import of a file into a store: known records are left unchanged, invalid rows are rejected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.errors import BacktalkError
from backtalk.formats.import_parts import ImportPart, ImportRequest, read_parts
from backtalk.formats.read import ParsedRow
from backtalk.formats.readers import Progress, RejectedRow
from backtalk.formats.readers.row import place
from backtalk.formats.reading_process import ReadingProcess, is_suitable
from backtalk.formats.rejects import Rejects
from backtalk.formats.unusual import Unusual
from backtalk.store.inserts import AddResult
from backtalk.store.store import Store

if TYPE_CHECKING:
    from backtalk.formats import Format, RowMapping

_LONG, _SHORT = 100, 50
"""Maximum number of parts of a transaction with and without a second process."""
_LATE_SECONDS = 0.05
"""Time after which the next part is late, in seconds."""


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
class _Tally:
    """Rows of an import, apart from the cases."""

    rejects: Rejects
    rows: int = 0
    first_reason: str = ""
    feedback: list[ParsedRow] = field(default_factory=list)
    """Rows with feedback whose interaction they do not have."""

    def add(self, part: ImportPart) -> None:
        self.rows += part.rows
        self.feedback += part.feedback
        for row in part.rejected:
            self.reject(row)

    def reject(self, row: RejectedRow) -> None:
        if not self.rejects.count:
            where = f"{row.source}, {place(row.source, row.line)}" if row.line else row.source
            self.first_reason = f"{where}: {row.reason}"
        self.rejects.add(row)


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
    request = ImportRequest(str(path), format, options, store.project_id)
    unusual = Unusual()
    with Rejects(path) as rejects, store.bulk_writer() as writer:
        tally = _Tally(rejects)
        for parts, is_end in _transactions(request, unusual, progress):
            for part in parts:
                tally.add(part)
                writer.write(part.chunk)
            if is_end:
                writer.commit()
        writer.commit()
        added = writer.added + _add_feedback(store, tally)
    unusual.repeated_feedback = added.repeated
    return IngestResult(
        rows=tally.rows,
        added=added,
        rejected=rejects.count,
        rejects=rejects.path,
        first_reason=tally.first_reason,
        unusual=tuple(unusual.lines()),
    )


def _add_feedback(store: Store, tally: _Tally) -> AddResult:
    """Add feedback about interactions of other rows or about the system as a whole.

    Rows whose interactions are not in the store are rejected.
    """
    with suppress(BacktalkError):
        return store.add(*(item for row in tally.feedback for item in row.feedback))
    added = AddResult()
    for row in tally.feedback:
        try:
            added += store.add(*row.feedback)
        except BacktalkError as error:
            records = [item.to_dict() for item in row.feedback]
            tally.reject(RejectedRow(row.source, row.line, str(error), {"feedback": records}))
    return added


def _transactions(
    request: ImportRequest, unusual: Unusual, progress: Progress | None
) -> Iterator[tuple[list[ImportPart], bool]]:
    """Yield the parts of an input, and whether the transaction ends after them.

    Other programs that write to the store wait while a transaction is open. A large input is read
    by a second process; its parts are inserted as they arrive, and the transaction ends if one is
    late. Otherwise a transaction begins when all of its parts are read.
    """
    if is_suitable(request) and (process := ReadingProcess.start(request)) is not None:
        with process:
            for number, part in enumerate(process.parts(unusual, progress), 1):
                yield [part], number % _LONG == 0 or not process.is_ready(_LATE_SECONDS)
        return
    with unusual.collect_notes():
        parts = read_parts(request, unusual, progress)
        while group := list(islice(parts, _SHORT)):
            yield group, True
