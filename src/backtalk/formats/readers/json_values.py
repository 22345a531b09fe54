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
    floor = 1 if text.lstrip().startswith(b"[") else 0
    begin = at = depth = 0
    more = True
    while more:
        for token in _TOKEN.finditer(text, at):
            mark = token[0]
            if mark == b'"':
                at = token.start()
                break
            at = token.end()
            if mark in {b"[", b"{"}:
                if depth < floor:
                    if text[begin : token.start()].strip():
                        yield text[begin : token.start()]
                    begin = at
                depth += 1
            elif mark in {b"]", b"}"}:
                depth = max(depth - 1, 0)
                if depth == 0:
                    value = text[begin : token.start() if floor else at]
                    if value.strip():
                        yield value
                    begin = at
            elif mark == b"," and depth == floor == 1:
                yield text[begin : token.start()]
                begin = at
        chunk = stream.read(_CHUNK_BYTES)
        more = bool(chunk)
        text = text[begin:] + chunk
        at -= begin
        begin = 0
    if text.strip() or depth > 0:
        yield text
