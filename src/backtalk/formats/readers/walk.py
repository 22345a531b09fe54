"""The rows of one input, whatever it is written in."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from backtalk.formats.readers.delimited import delimited_rows
from backtalk.formats.readers.files import DAMAGE, REJECTED, Meter, Source, opened
from backtalk.formats.readers.json_values import json_rows
from backtalk.formats.readers.jsonl import json_row, jsonl_rows
from backtalk.formats.readers.parquet import parquet_rows
from backtalk.formats.readers.row import RejectedRow, Row

Reader = Callable[[BinaryIO, str], Iterator[Row | RejectedRow]]

_READERS: dict[str, Reader] = {
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".json": json_rows,
    ".csv": delimited_rows,
    ".tsv": partial(delimited_rows, separators="\t"),
    ".parquet": parquet_rows,
}


def rows(source: Source, meter: Meter) -> Iterator[Row | RejectedRow]:
    """Yield the rows of an input, lazily and at flat memory.

    What cannot be read comes as a ``RejectedRow`` in its place, and reading goes on.
    """
    last = 0
    try:
        with opened(source, meter) as stream:
            reader = _READERS.get(source.ending) or _by_content(stream)
            for row in reader(stream, source.name):
                last = row.line
                yield _again(row) if source.name.endswith(REJECTED) else row
    except DAMAGE as error:
        yield RejectedRow(source.name, last + 1 if last else 0, f"cut off or damaged: {error}", "")


def _by_content(stream: io.BufferedReader) -> Reader:
    head = stream.peek(64)[:64]
    if head.startswith(b"PAR1"):
        return parquet_rows
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return {b"{": jsonl_rows, b"[": json_rows}.get(begin, delimited_rows)


def _again(row: Row | RejectedRow) -> Row | RejectedRow:
    """Return the row that was set aside, to be tried again as it stands now."""
    if isinstance(row, RejectedRow) or set(row.data) != {"source", "line", "reason", "row"}:
        return row
    kept = row.data["row"]
    if isinstance(kept, str):
        again = json_row(row.source, row.line, kept.encode("utf-8", "surrogateescape"))
        return RejectedRow(row.source, row.line, "row: empty", kept) if again is None else again
    if isinstance(kept, dict):
        return Row(row.source, row.line, kept)
    return RejectedRow(row.source, row.line, "row: a row must be a JSON object, {…}", kept)
