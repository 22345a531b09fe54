"""Parts of an import: rows that were read, as the store inserts them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, NamedTuple

from backtalk.formats.read import ParsedRow, read
from backtalk.formats.readers import Progress, RejectedRow, find_sources
from backtalk.formats.text_pairs import TextPair
from backtalk.formats.unusual import Unusual
from backtalk.store.bulk_writer import ChunkBuilder, RecordChunk

if TYPE_CHECKING:
    from backtalk.formats import Format, RowMapping

PART_ROWS = 1_000
"""Number of rows of a part."""


class ImportPart(NamedTuple):
    """Rows that were read one after the other."""

    rows: int
    """Number of rows, rejected rows included."""
    chunk: RecordChunk
    rejected: tuple[RejectedRow, ...]
    feedback: tuple[ParsedRow, ...]
    """Rows with feedback whose interaction they do not have, without their cases."""


@dataclass(frozen=True)
class ImportRequest:
    """Input of an import, and the project that it is imported into."""

    path: str
    """A file, a folder, or ``"-"`` for standard input."""
    format: str | RowMapping | Format | None
    options: Mapping[str, Any] | None
    project_id: int

    @property
    def is_stdin(self) -> bool:
        """True if the input is standard input."""
        return self.path == "-"

    def size(self) -> int:
        """Return the size of the input in bytes, 0 for standard input."""
        sources = find_sources(self.path)
        return sum(source.path.stat().st_size for source in sources if source.path is not None)


def read_parts(
    request: ImportRequest, unusual: Unusual, progress: Progress | None
) -> Iterator[ImportPart]:
    """Yield the parts of an input.

    Parameters
    ----------
    request : ImportRequest
        Input.
    unusual : Unusual
        Counts of unusual content, to which that of the input is added.
    progress : callable or None
        Called with the number of bytes read and the total, ``None`` for standard input.

    Raises
    ------
    BacktalkError
        If there is nothing to read, or the format is not known.
    """
    rows = read(request.path, format=request.format, options=request.options, progress=progress)
    while part := list(islice(rows, PART_ROWS)):
        yield _make_part(part, request.project_id, unusual)


def _make_part(
    rows: list[ParsedRow | RejectedRow], project_id: int, unusual: Unusual
) -> ImportPart:
    builder = ChunkBuilder(project_id)
    rejected: list[RejectedRow] = []
    feedback: list[ParsedRow] = []
    for row in rows:
        if isinstance(row, RejectedRow):
            rejected.append(row)
            continue
        if row.feedback:
            feedback.append(row._replace(cases=()))
        for case in row.cases:
            unusual.add(case)
            if isinstance(case, TextPair):
                builder.add_pair(case.content())
            else:
                builder.add(case)
    return ImportPart(len(rows), builder.build(), tuple(rejected), tuple(feedback))
