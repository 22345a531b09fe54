"""Rows of one input of any file type."""

from __future__ import annotations

import codecs
import io
from collections.abc import Callable, Iterator
from functools import partial
from typing import BinaryIO

from backtalk.formats.readers.csv_text import csv_rows
from backtalk.formats.readers.files import READ_ERRORS, REJECTED, Meter, Source, open_source
from backtalk.formats.readers.inspect_log import inspect_log_rows
from backtalk.formats.readers.json_values import json_rows
from backtalk.formats.readers.jsonl import json_row, jsonl_rows
from backtalk.formats.readers.parquet import parquet_rows
from backtalk.formats.readers.row import RejectedRow, Row

Reader = Callable[[BinaryIO, str], Iterator[Row | RejectedRow]]

_READERS: dict[str, Reader] = {
    ".jsonl": jsonl_rows,
    ".ndjson": jsonl_rows,
    ".json": json_rows,
    ".csv": csv_rows,
    ".tsv": partial(csv_rows, separators="\t"),
    ".parquet": parquet_rows,
    ".eval": inspect_log_rows,
}
_SPREADSHEETS = (".xlsx", ".xls", ".ods", ".numbers")


def read_rows(source: Source, meter: Meter) -> Iterator[Row | RejectedRow]:
    """Yield the rows of an input, lazily and in constant memory.

    A row that cannot be read yields a ``RejectedRow``, and reading continues.
    """
    last_line = 0
    try:
        with open_source(source, meter) as stream:
            if (problem := _find_problem(source, stream)) is not None:
                yield RejectedRow(source.name, 0, problem, "")
                return
            reader = _READERS.get(source.ending) or _reader_by_content(stream)
            for row in reader(stream, source.name):
                last_line = row.line
                yield _retry(row) if source.name.endswith(REJECTED) else row
    except READ_ERRORS as error:
        yield RejectedRow(
            source.name, last_line + 1 if last_line else 0, f"truncated or damaged: {error}", ""
        )


def _find_problem(source: Source, stream: io.BufferedReader) -> str | None:
    """Return the reason why a file of a known but unsupported kind is not read."""
    head = stream.peek(4)[:4]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "the text is UTF-16. Save it as UTF-8"
    if source.name.lower().endswith(_SPREADSHEETS):
        return "a spreadsheet is not read. Save the sheet as CSV in UTF-8"
    return None


def _reader_by_content(stream: io.BufferedReader) -> Reader:
    head = stream.peek(64)[:64]
    if head.startswith(b"PAR1"):
        return parquet_rows
    if head.startswith(b"PK\x03\x04"):
        return inspect_log_rows
    first_byte = head.removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return {b"{": jsonl_rows, b"[": json_rows}.get(first_byte, csv_rows)


def _retry(row: Row | RejectedRow) -> Row | RejectedRow:
    """Return the original row from an entry in a file of rejected rows."""
    if isinstance(row, RejectedRow) or set(row.data) != {"source", "line", "reason", "row"}:
        return row
    original = row.data["row"]
    if isinstance(original, str):
        parsed = json_row(row.source, row.line, original.encode("utf-8", "surrogateescape"))
        if parsed is None:
            return RejectedRow(row.source, row.line, "row: empty", original)
        return parsed
    if isinstance(original, dict):
        return Row(row.source, row.line, original)
    return RejectedRow(row.source, row.line, "row: a row must be a JSON object, {…}", original)
