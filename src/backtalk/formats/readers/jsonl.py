"""Reader of JSON lines: one object per line; blank lines are skipped."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import Any, BinaryIO

from pydantic_core import from_json

from backtalk.formats.readers.arrow import nan_to_null
from backtalk.formats.readers.row import RejectedRow, Row

_LINE_PREFIX = "at line 1 column"


def jsonl_rows(stream: BinaryIO, source: str) -> Iterator[Row | RejectedRow]:
    """Yield the rows of a stream of JSON lines."""
    for number, line in enumerate(stream, 1):
        text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
        row = json_row(source, number, text)
        if row is not None:
            yield row


def json_row(source: str, number: int, text: bytes) -> Row | RejectedRow | None:
    """Parse one JSON object, ``None`` if the text is blank.

    Parameters
    ----------
    source : str
        Name of the input.
    number : int
        Line or row number, from 1.
    text : bytes
        JSON text.
    """
    try:
        data = parse_json(text)
    except ValueError as error:
        if not text.strip():
            return None
        reason = str(error).replace(_LINE_PREFIX, "at column")
        return RejectedRow(source, number, f"not JSON: {reason}", as_text(text))
    if type(data) is dict:
        return Row(source, number, data)
    return RejectedRow(source, number, "a row must be a JSON object, {…}", data)


def parse_json(text: bytes | str) -> Any:
    """Parse JSON; NaN, which Python and pandas write, becomes null.

    Raises
    ------
    ValueError
        If it is not JSON or not UTF-8, or has an infinite number.
    """
    try:
        return from_json(text, allow_inf_nan=False)
    except ValueError:
        if (b"NaN" if isinstance(text, bytes) else "NaN") not in text:  # type: ignore[operator]
            raise
        return nan_to_null(from_json(text))


def as_text(raw: bytes) -> str:
    """Decode bytes as UTF-8; invalid bytes become lone surrogates."""
    return raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
