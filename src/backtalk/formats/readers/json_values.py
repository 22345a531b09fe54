"""Reader of JSON files: an array of objects, or a sequence of objects, in constant memory."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

from backtalk.formats.readers.jsonl import json_row
from backtalk.formats.readers.row import RejectedRow, Row

_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|["\[\]{},]', re.DOTALL)
_CHUNK_BYTES = 1 << 18


def json_rows(stream: BinaryIO, source: str) -> Iterator[Row | RejectedRow]:
    """Yield the rows of a stream of JSON, numbered from 1."""
    for number, text in enumerate(_values(stream), 1):
        row = json_row(source, number, text)
        yield RejectedRow(source, number, "empty", "") if row is None else row


def _values(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the text of each value.

    Only strings and brackets are parsed, so that an invalid value with matching brackets does not
    affect the others.
    """
    text = stream.read(_CHUNK_BYTES).removeprefix(codecs.BOM_UTF8)
    array_depth = 1 if text.lstrip().startswith(b"[") else 0
    start = position = depth = 0
    has_more = True
    while has_more:
        for token in _TOKEN.finditer(text, position):
            symbol = token[0]
            if symbol == b'"':
                position = token.start()
                break
            position = token.end()
            if symbol in {b"[", b"{"}:
                if depth < array_depth:
                    if text[start : token.start()].strip():
                        yield text[start : token.start()]
                    start = position
                depth += 1
            elif symbol in {b"]", b"}"}:
                depth = max(depth - 1, 0)
                if depth == 0:
                    value = text[start : token.start() if array_depth else position]
                    if value.strip():
                        yield value
                    start = position
            elif symbol == b"," and depth == array_depth == 1:
                yield text[start : token.start()]
                start = position
        chunk = stream.read(_CHUNK_BYTES)
        has_more = bool(chunk)
        text = text[start:] + chunk
        position -= start
        start = 0
    if text.strip() or depth > 0:
        yield text
