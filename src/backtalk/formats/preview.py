r"""First rows of an input as a person would read them.

>>> from pathlib import Path
>>> from tempfile import mkdtemp
>>> path = Path(mkdtemp()) / "pairs.jsonl"
>>> _ = path.write_text('{"prompt": "2 + 2?", "chosen": "4", "rejected": "5", "split": "test"}')
>>> print("\n".join(read_preview(path, rows=1)[0].lines()[1:]))
row 1
  user      2 + 2?
  answer 0  4
  answer 1  5
  unknown human prefers answer 0 to answer 1
4 columns: 3 read, 1 kept as metadata (split)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backtalk.feedback.case import Case
from backtalk.feedback.describe import describe_feedback, describe_message, shorten
from backtalk.feedback.interaction import Response
from backtalk.formats.columns import is_empty, is_person_column
from backtalk.formats.format import Format, RowData
from backtalk.formats.read import (
    OWN_FORMAT,
    RECOGNITION_ROWS,
    ParsedRow,
    named_format,
    parse_row,
    recognised_format,
)
from backtalk.formats.readers import Meter, RejectedRow, Row, Source, find_sources, read_rows
from backtalk.formats.readers.row import place

if TYPE_CHECKING:
    from backtalk.formats.mapping import RowMapping

_MAX_TEXT = 200
"""Maximum length, in characters, of a message or an answer."""
_MAX_COLUMNS = 8
"""Maximum number of columns that are listed."""
_COLUMN_ROWS = 100
"""Number of rows whose columns are counted."""


@dataclass(frozen=True)
class Preview:
    """First rows of a file, and what becomes of its columns."""

    source: str
    """Name of the file."""
    format: str
    """Name and title of the format."""
    rows: tuple[ParsedRow | RejectedRow, ...]
    read: tuple[str, ...]
    """Columns that are read."""
    metadata: tuple[str, ...]
    """Columns that are kept as metadata."""
    left_out: tuple[str, ...]
    """Columns that are left out."""

    def lines(self) -> list[str]:
        """Return the preview as lines of text."""
        lines = [f"{self.source}: {self.format}"]
        for number, row in enumerate(self.rows, 1):
            if isinstance(row, RejectedRow):
                where = "" if row.line == number else f" ({place(row.source, row.line)})"
                lines.append(f"row {number} is rejected: {row.reason}{where}")
                continue
            lines.append(f"row {number}")
            for case in row.cases:
                lines += [f"  {line}" for line in case_lines(case)]
            lines += [f"  {describe_feedback(item)}" for item in row.feedback]
        return [*lines, self._column_line()]

    def _column_line(self) -> str:
        total = len(self.read) + len(self.metadata) + len(self.left_out)
        parts = [f"{len(self.read)} read"] + [
            f"{len(names)} {fate} ({_listed(names)})"
            for names, fate in ((self.metadata, "kept as metadata"), (self.left_out, "left out"))
            if names
        ]
        return f"{total} columns: {', '.join(parts)}"


def _listed(names: tuple[str, ...]) -> str:
    more = len(names) - _MAX_COLUMNS
    return ", ".join(names[:_MAX_COLUMNS]) + (f" and {more} more" if more > 0 else "")


def case_lines(case: Case) -> list[str]:
    """Return a case as lines of text: the prompt by role, the answers, the feedback."""
    entries: list[tuple[str, str]] = [
        (message.role, describe_message(message) or "(empty)")
        for message in case.interaction.prompt
    ]
    for response in case.interaction.responses:
        model = f" ({response.model})" if response.model else ""
        entries += _response_entries(f"answer {response.id}{model}", response)
    width = max(len(label) for label, _ in entries)
    lines = [f"{label:{width}}  {shorten(text, _MAX_TEXT)}" for label, text in entries]
    return lines + [describe_feedback(item) for item in case.feedback]


def _response_entries(label: str, response: Response) -> list[tuple[str, str]]:
    if not response.messages:
        return [(label, response.text or "(empty)")]
    return [
        (label if index == 0 else f"  {message.role}", describe_message(message) or "(empty)")
        for index, message in enumerate(response.messages)
    ]


def read_preview(
    path: str | Path,
    *,
    format: str | RowMapping | Format | None = None,  # noqa: A002 - the usual name of the option
    options: Mapping[str, Any] | None = None,
    rows: int = 3,
    files: int | None = None,
) -> list[Preview]:
    """Return the first rows of each file of an input, parsed, without storing anything.

    Parameters
    ----------
    path : str or Path
        A file, a folder, or ``"-"`` for standard input, which is then read.
    format, options
        See :func:`backtalk.formats.read`.
    rows : int, default 3
        Number of rows of each file.
    files : int, optional
        Number of files of a folder. Default: all.

    Raises
    ------
    BacktalkError
        If there is nothing to read, or the format is not known.
    """
    sources = find_sources(path)[:files]
    previews = (_preview_source(source, format, options, rows) for source in sources)
    return [item for item in previews if item is not None]


def read_first_rows(path: str | Path, rows: int = 100) -> list[RowData]:
    """Return the data of the first valid rows of an input.

    Parameters
    ----------
    path : str or Path
        A file, a folder, whose first file is read, or ``"-"`` for standard input.
    rows : int, default 100
        Maximum number of rows.

    Raises
    ------
    BacktalkError
        If there is nothing to read.
    """
    source = find_sources(path)[0]
    first = islice(read_rows(source, Meter(None, [source])), rows)
    return [row.data for row in first if isinstance(row, Row)]


def _preview_source(
    source: Source,
    format: str | RowMapping | Format | None,  # noqa: A002 - the usual name of the option
    options: Mapping[str, Any] | None,
    count: int,
) -> Preview | None:
    stream = read_rows(source, Meter(None, [source]))
    head = list(islice(stream, max(count, RECOGNITION_ROWS, _COLUMN_ROWS)))
    valid = [row for row in head if isinstance(row, Row)]
    if not head:
        return None
    chosen = named_format(format)
    if chosen is not None:
        parse = chosen.parser(options)
    elif valid:
        chosen, parse = recognised_format(valid, options)
    else:
        rejected = tuple(row for row in head[:count] if isinstance(row, RejectedRow))
        return Preview(source.name, "no valid row", rejected, (), (), ())
    remaining: Iterable[Row | RejectedRow] = stream if chosen.preprocess is not None else ()
    combined = _combine(chosen, chain(head, remaining))
    is_own = chosen.name == OWN_FORMAT
    parsed = tuple(
        row if isinstance(row, RejectedRow) else parse_row(row, parse, own=is_own)
        for row in islice(combined, count)
    )
    names = list(dict.fromkeys(name for row in valid for name in row.data))
    metadata = _metadata_names(parsed)
    used = _read_names(chosen, names, valid)
    return Preview(
        source=source.name,
        format=f"{chosen.name} ({chosen.title})",
        rows=parsed,
        read=tuple(name for name in names if name in used),
        metadata=tuple(name for name in names if name not in used and name in metadata),
        left_out=tuple(name for name in names if name not in used and name not in metadata),
    )


def _combine(chosen: Format, rows: Iterator[Row | RejectedRow]) -> Iterator[Row | RejectedRow]:
    return rows if chosen.preprocess is None else chosen.preprocess(rows)


def _read_names(chosen: Format, names: list[str], rows: list[Row]) -> set[str]:
    """Return the names of the columns that a format reads, and that have a value in some row."""
    if chosen.columns is None:
        return set(names)
    filled = {name for row in rows for name, value in row.data.items() if not is_empty(value)}
    return {
        name
        for name in names
        if name in chosen.columns
        or (chosen.reads_person and is_person_column(name) and name in filled)
    }


def _metadata_names(rows: Iterable[ParsedRow | RejectedRow]) -> set[str]:
    names: set[str] = set()
    for row in rows:
        if isinstance(row, RejectedRow):
            continue
        for case in row.cases:
            names.update(case.interaction.metadata)
            for response in case.interaction.responses:
                names.update(response.metadata)
            for item in case.feedback:
                names.update(item.metadata)
        for item in row.feedback:
            names.update(item.metadata)
    return names
