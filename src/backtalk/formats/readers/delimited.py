"""Rows of comma-, semicolon- or tab-separated text with a header."""

from __future__ import annotations

import csv
import io
from collections import deque
from collections.abc import Iterator
from typing import Any, BinaryIO

from backtalk.feedback.record import repeated
from backtalk.formats.readers.row import RejectedRow, Row

_LONGEST_FIELD = 1 << 24


class _Lines:
    """Lines that can be given back, so that a quote left open costs its own line only."""

    def __init__(self, lines: Iterator[str]) -> None:
        self._lines = lines
        self._again: deque[str] = deque()
        self.taken: list[str] = []

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        return line

    def give_back(self, keep: int) -> str:
        """Give back all lines taken but the first ``keep``, which are returned."""
        self._again.extendleft(reversed(self.taken[keep:]))
        return "".join(self.taken[:keep])


def delimited_rows(
    stream: BinaryIO, source: str, *, separators: str = ",;\t"
) -> Iterator[Row | RejectedRow]:
    """Yield the rows of a stream; the separator is the one that the header has most of."""
    # The default of 128 KiB is less than a long answer; there is no setting for one reader alone.
    csv.field_size_limit(_LONGEST_FIELD)
    text = io.TextIOWrapper(
        stream, encoding="utf-8-sig", errors="surrogateescape", newline="", write_through=True
    )
    lines = _Lines(iter(text))
    header = next((line for line in lines if line.strip()), "")
    separator = max(separators, key=header.count)
    names = next(csv.reader([header], delimiter=separator), [])
    if (twice := repeated(names)) is not None:
        yield RejectedRow(source, 0, f"the header names the column {twice!r} twice", header)
        return
    reader = csv.reader(lines, delimiter=separator, strict=True)
    number = 0
    while True:
        lines.taken.clear()
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number += 1
            line = lines.give_back(1).rstrip("\r\n")
            yield RejectedRow(source, number, f"not a row of {len(names)} fields: {error}", line)
            reader = csv.reader(lines, delimiter=separator, strict=True)
            continue
        if not fields:
            continue
        number += 1
        if len(fields) == len(names):
            yield _checked(source, number, dict(zip(names, fields, strict=True)))
            continue
        reason = f"{len(fields)} fields where the header has {len(names)}"
        if len(lines.taken) == 1:
            yield RejectedRow(source, number, reason, _as_far_as_named(names, fields))
        else:
            yield RejectedRow(source, number, reason, lines.give_back(1).rstrip("\r\n"))
            reader = csv.reader(lines, delimiter=separator, strict=True)


def _checked(source: str, number: int, data: dict[str, Any]) -> Row | RejectedRow:
    try:
        "".join(data.values()).encode()
    except UnicodeEncodeError:
        return RejectedRow(source, number, "not UTF-8", data)
    return Row(source, number, data)


def _as_far_as_named(names: list[str], fields: list[str]) -> dict[str, Any]:
    named: dict[str, Any] = dict(zip(names, fields, strict=False))
    if len(fields) > len(names):
        named["(more)"] = fields[len(names) :]
    return named
