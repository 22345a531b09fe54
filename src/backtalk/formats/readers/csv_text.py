"""Reader of comma-, semicolon- or tab-separated text with a header."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from backtalk.errors import RecordError
from backtalk.feedback.record import repeated
from backtalk.formats.readers.conversations import read_conversations
from backtalk.formats.readers.row import RejectedRow, Row

_MAX_FIELD_CHARACTERS = 1 << 24
_MISSING = frozenset({"", "nan", "NaN", "<NA>"})


class _PushbackLines:
    """Iterator over lines with pushback, so that an unclosed quote spoils only its own line."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._pushed_back: deque[str] = deque()
        self.read_lines: list[str] = []
        self.number = 0
        """Number of the last line, from 1."""

    def __iter__(self) -> _PushbackLines:
        return self

    def __next__(self) -> str:
        line = self._pushed_back.popleft() if self._pushed_back else next(self._lines)
        self.read_lines.append(line)
        self.number += 1
        return line

    def push_back(self, keep: int) -> str:
        """Push back all lines read except the first ``keep``, and return those."""
        self._pushed_back.extendleft(reversed(self.read_lines[keep:]))
        self.number -= len(self.read_lines) - keep
        return "".join(self.read_lines[:keep])


def csv_rows(
    stream: BinaryIO, source: str, *, separators: str = ",;\t"
) -> Iterator[Row | RejectedRow]:
    r"""Yield the rows of a stream, each with the number of the line on which it begins.

    The header is on the first line that is not blank. Blank lines and the further lines of a quoted
    cell count as lines of the file.

    Parameters
    ----------
    stream : BinaryIO
        Text in UTF-8.
    source : str
        Name of the input.
    separators : str, default ",;\t"
        Possible separators; the most frequent one in the header is used.
    """
    # The default of 128 KiB is less than a long response, and the limit is global.
    csv.field_size_limit(_MAX_FIELD_CHARACTERS)
    text = io.TextIOWrapper(
        stream, encoding="utf-8-sig", errors="surrogateescape", newline="", write_through=True
    )
    lines = _PushbackLines(iter(text))
    header = next((line for line in lines if line.strip()), "")
    separator = max(separators, key=header.count)
    names = _header_names(lines, header, separator)
    if (duplicate := repeated(names)) is not None:
        yield RejectedRow(source, 0, f"the header names the column {duplicate!r} twice", header)
        return
    reader = csv.reader(lines, delimiter=separator, strict=True)
    while True:
        lines.read_lines.clear()
        number = lines.number + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            line = lines.push_back(1).rstrip("\r\n")
            yield RejectedRow(source, number, f"not a row of {len(names)} fields: {error}", line)
            reader = csv.reader(lines, delimiter=separator, strict=True)
            continue
        if not fields:
            continue
        if len(fields) == len(names):
            yield _make_row(source, number, dict(zip(names, fields, strict=True)))
            continue
        reason = f"{len(fields)} fields where the header has {len(names)}"
        if len(lines.read_lines) == 1:
            yield RejectedRow(source, number, reason, _named_fields(names, fields))
        else:
            yield RejectedRow(source, number, reason, lines.push_back(1).rstrip("\r\n"))
            reader = csv.reader(lines, delimiter=separator, strict=True)


def _header_names(lines: _PushbackLines, header: str, separator: str) -> list[str]:
    """Return the names of the columns; a quoted name may continue on further lines."""
    lines.push_back(len(lines.read_lines) - 1)
    lines.read_lines.clear()
    try:
        return next(csv.reader(lines, delimiter=separator, strict=True), [])
    except csv.Error:
        lines.push_back(1)
        return next(csv.reader([header], delimiter=separator), [])


def _make_row(source: str, number: int, data: dict[str, Any]) -> Row | RejectedRow:
    """Return a row; an empty cell and pandas' words for a missing value are null."""
    try:
        "".join(data.values()).encode()
    except UnicodeEncodeError:
        return RejectedRow(source, number, "not UTF-8", data)
    cells = {name: None if cell in _MISSING else cell for name, cell in data.items()}
    try:
        return Row(source, number, read_conversations(cells, cells))
    except RecordError as error:
        return RejectedRow(source, number, str(error), data)


def _named_fields(names: list[str], fields: list[str]) -> dict[str, Any]:
    named: dict[str, Any] = dict(zip(names, fields, strict=False))
    if len(fields) > len(names):
        named["(more)"] = fields[len(names) :]
    return named
