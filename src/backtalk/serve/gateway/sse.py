"""Server-sent events: splitting a byte stream, and replacing ids."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterable, Iterator
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

DONE = b"data: [DONE]\n\n"

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_BLANK_LINES = (b"\n\n", b"\n\r", b"\r\r")
"""End of a line and beginning of the blank line after it."""
_LINE = re.compile(rb"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+$")
_FIELDS = (b"data:", b"event:", b"id:", b"retry:", b":")
"""Beginnings of the lines of a stream of events."""
_ID_BYTES = 1_024
"""Number of bytes in which an id is looked for without parsing."""
_ID_FIRST = re.compile(r'\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*"|null)')
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class EventSplitter:
    r"""Splits a byte stream into events, each with the blank line that ends it.

    The time is linear in the number of bytes, however large an event and however small its pieces.

    >>> splitter = EventSplitter()
    >>> list(splitter.feed(b"data: 1\n\ndata: 2\n")), splitter.remainder
    ([b'data: 1\n\n'], b'data: 2\n')
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._pieces: list[bytes] = []
        """Pieces after the buffer that hold no line break, most of those of a large event."""

    @property
    def remainder(self) -> bytes:
        """Bytes after the last complete event."""
        return b"".join((self._buffer, *self._pieces))

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Add bytes and yield the events that they complete."""
        self._pieces.append(data)
        if b"\n" not in data and b"\r" not in data:
            return
        buffer, start = self._buffer, 0
        buffer += b"".join(self._pieces)
        self._pieces.clear()
        for end in event_ends(buffer, max(0, len(buffer) - len(data) - 1)):
            with memoryview(buffer) as view:
                event = bytes(view[start:end])
            yield event
            start = end
        del buffer[:start]


def event_ends(buffer: bytearray, start: int) -> Iterator[int]:
    r"""Yield the end of each blank line at or after a position.

    The next blank line of each kind is searched once, however many of another kind precede it.

    Parameters
    ----------
    buffer : bytearray
        Bytes, which do not change meanwhile.
    start : int
        Position.

    Examples
    --------
    >>> list(event_ends(bytearray(b"1\n\n2\r\n\r\n3"), 0))
    [3, 8]
    """
    positions = {blank: buffer.find(blank, start) for blank in _BLANK_LINES}
    while (first := min((at for at in positions.values() if at >= 0), default=-1)) >= 0:
        end = first + 2
        if buffer[end - 1 : end + 1] == b"\r\n":
            end += 1
        yield end
        for blank, at in positions.items():
            if 0 <= at < end:
                positions[blank] = buffer.find(blank, end)


async def iterate(events: Iterable[bytes]) -> AsyncIterator[bytes]:
    """Yield events that are there already, as the body of a response."""
    for event in events:
        yield event


def is_event_stream(start: bytes) -> bool | None:
    """Return true if a body that starts so is a stream of events, ``None`` if it is too short.

    >>> is_event_stream(b"data: {"), is_event_stream(b'{"id": 1}'), is_event_stream(b" da")
    (True, False, None)
    """
    text = start.removeprefix(_BYTE_ORDER_MARK).lstrip()
    if text.startswith(_FIELDS):
        return True
    return None if any(field.startswith(text) for field in _FIELDS) else False


def split_data(event: bytes) -> tuple[bytes, bytes, bytes]:
    r"""Return the bytes before, in and after the data of an event.

    Data in several lines is joined to one line, with spaces, which JSON ignores. If there is no
    data, all bytes are in the first part.

    >>> split_data(b"event: x\ndata: 1\n\n")
    (b'event: x\ndata: ', b'1', b'\n\n')
    """
    if event.startswith(_BYTE_ORDER_MARK):
        before, data, after = split_data(event.removeprefix(_BYTE_ORDER_MARK))
        return _BYTE_ORDER_MARK + before, data, after
    end = len(event)
    while end and event[end - 1] in b"\r\n":
        end -= 1
    if event.startswith(b"data:") and event.find(b"\n", 0, end) == event.find(b"\r", 0, end) == -1:
        start = 5
        while event.startswith(b" ", start):
            start += 1
        return event[:start], event[start:end], event[end:]
    lines = _LINE.findall(event)
    indices = [index for index, line in enumerate(lines) if line.startswith(b"data:")]
    if not indices:
        return event, b"", b""
    if len(indices) == 1:
        (index,) = indices
        line = lines[index]
        data = line[5:].strip(b" \r\n")
        start = line.index(data, 5)
        before, after = b"".join(lines[:index]), b"".join(lines[index + 1 :])
        return before + line[:start], data, line[start + len(data) :] + after
    other = b"".join(line for line in lines if line.strip() and not line.startswith(b"data:"))
    data = b" ".join(lines[index][5:].strip(b" \r\n") for index in indices)
    return other + b"data: ", data, b"\n\n"


def replace_first_id(data: bytes, id_: str) -> bytes | None:
    """Return JSON with a new id without parsing it, ``None`` if its first member is not the id.

    Parameters
    ----------
    data : bytes
        JSON object.
    id_ : str
        New id.
    """
    match = _ID_FIRST.match(data[:_ID_BYTES].decode("utf-8", "ignore"))
    if match is None:
        return None
    start = match.start(1)
    end = start + len(match[1].encode("utf-8"))
    return b"".join((data[:start], json.dumps(id_).encode(), memoryview(data)[end:]))


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
