"""Server-sent events: splitting a byte stream, and replacing ids."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

DONE = b"data: [DONE]\n\n"

_EVENT_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LINE_BREAK = re.compile(rb"\r\n|\n|\r")
_ID_FIRST = re.compile(r'\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*"|null)')
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class EventSplitter:
    r"""Splits a byte stream into events, each with the blank line that ends it.

    >>> splitter = EventSplitter()
    >>> list(splitter.feed(b"data: 1\n\ndata: 2\n")), splitter.remainder
    ([b'data: 1\n\n'], b'data: 2\n')
    """

    def __init__(self) -> None:
        self.remainder = b""
        """Bytes after the last complete event."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes and yield the events that they complete."""
        self.remainder += data
        while (match := _EVENT_END.search(self.remainder)) is not None:
            event, self.remainder = self.remainder[: match.end()], self.remainder[match.end() :]
            yield event


def split_data(event: bytes) -> tuple[bytes, bytes, bytes]:
    """Return the bytes before, in and after the data of an event that has one data line.

    If it has none or several, all bytes are in the first part.
    """
    spans = [
        (start, end) for start, end in _line_spans(event) if event[start:end].startswith(b"data:")
    ]
    if len(spans) != 1:
        return event, b"", b""
    start, end = spans[0]
    start += 5
    while event[start : start + 1] == b" ":
        start += 1
    return event[:start], event[start:end], event[end:]


def _line_spans(event: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    for match in _LINE_BREAK.finditer(event):
        yield start, match.start()
        start = match.end()
    if start < len(event):
        yield start, len(event)


def replace_id(text: str, id_: str) -> tuple[Any, str]:
    """Return parsed JSON, and its text with a new top-level id and no other changes.

    A completion without an id gets one. Other text without an id is returned unchanged.

    >>> replace_id('{"id": "1", "n": 1.50, "x": {"id": "1"}}', "new")[1]
    '{"id": "new", "n": 1.50, "x": {"id": "1"}}'
    >>> replace_id('{"choices": []}', "new")[1]
    '{"id": "new", "choices": []}'

    Raises
    ------
    ValueError, RecursionError
        If the text is not JSON.
    """
    value = json.loads(text)
    if not isinstance(value, dict):
        return value, text
    if "id" not in value:
        if not isinstance(value.get("choices"), list):
            return value, text
        start = text.index("{") + 1
        return value, f'{text[:start]}"id": {json.dumps(id_, ensure_ascii=False)}, {text[start:]}'
    first = _ID_FIRST.match(text)
    start, end = first.span(1) if first else _id_span(text)
    return value, text[:start] + json.dumps(id_, ensure_ascii=False) + text[end:]


def _id_span(text: str) -> tuple[int, int]:
    """Return the span of the value of the last top-level ``id`` in a JSON object."""
    at = _skip_space(text, 0) + 1
    span = (len(text), len(text))
    while True:
        at = _skip_space(text, at)
        if text[at] == "}":
            return span
        name, at = scanstring(text, at + 1, False)
        start = _skip_space(text, _skip_space(text, at) + 1)
        _, at = _DECODER.raw_decode(text, start)
        if name == "id":
            span = (start, at)
        at = _skip_space(text, at)
        if text[at] == ",":
            at += 1


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    if match is None:
        raise JSONDecodeError("expected a value", text, at)
    return match.end()
