"""Server-sent events: cut out of a stream of bytes, renamed, and put together as one answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]
from typing import Any

DONE = b"data: [DONE]\n\n"

_END = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_BREAK = re.compile(rb"\r\n|\n|\r")
_ID_FIRST = re.compile(r'\s*\{\s*"id"\s*:\s*("(?:[^"\\]|\\.)*"|null)')
_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Events:
    r"""Cuts a stream into events, each with the blank line that ends it.

    >>> events = Events()
    >>> list(events.feed(b"data: 1\n\ndata: 2\n")), events.rest
    ([b'data: 1\n\n'], b'data: 2\n')
    """

    def __init__(self) -> None:
        self.rest = b""
        """What came after the last whole event."""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take bytes and yield the events that they end."""
        self.rest += data
        while (result := _END.search(self.rest)) is not None:
            event, self.rest = self.rest[: result.end()], self.rest[result.end() :]
            yield event


def data_of(event: bytes) -> tuple[bytes, bytes, bytes]:
    """Return what stands before, in and after the data of an event of one line of data.

    Without such a line, all of it stands before.
    """
    results = [
        (start, end) for start, end in _line_spans(event) if event[start:end].startswith(b"data:")
    ]
    if len(results) != 1:
        return event, b"", b""
    start, end = results[0]
    start += 5
    while event[start : start + 1] == b" ":
        start += 1
    return event[:start], event[start:end], event[end:]


def _line_spans(event: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    for result in _BREAK.finditer(event):
        yield start, result.start()
        start = result.end()
    if start < len(event):
        yield start, len(event)


def with_id(text: str, id_: str) -> tuple[Any, str]:
    """Return the JSON in a text, and the text with its top-level id changed and nothing else.

    Text without an id stays as it is.

    >>> with_id('{"id": "1", "n": 1.50, "x": {"id": "1"}}', "talk")[1]
    '{"id": "talk", "n": 1.50, "x": {"id": "1"}}'

    Raises
    ------
    ValueError, RecursionError
        If it is not JSON.
    """
    value = json.loads(text)
    if not isinstance(value, dict) or "id" not in value:
        return value, text
    first = _ID_FIRST.match(text)
    start, end = first.span(1) if first else _span(text)
    return value, text[:start] + json.dumps(id_, ensure_ascii=False) + text[end:]


def _span(text: str) -> tuple[int, int]:
    """Return where the value of the last top-level ``id`` of a JSON object stands."""
    at = _after_space(text, 0) + 1
    results = (len(text), len(text))
    while True:
        at = _after_space(text, at)
        if text[at] == "}":
            return results
        name, at = scanstring(text, at + 1, False)
        start = _after_space(text, _after_space(text, at) + 1)
        _, at = _DECODER.raw_decode(text, start)
        if name == "id":
            results = (start, at)
        at = _after_space(text, at)
        if text[at] == ",":
            at += 1


def _after_space(text: str, at: int) -> int:
    result = _SPACE.match(text, at)
    if result is None:
        raise JSONDecodeError("expected a value", text, at)
    return result.end()


class Assembly:
    """Puts the chunks of a streamed answer together, as the answer that was not streamed.

    Works for chat completions and for plain ones.
    """

    def __init__(self) -> None:
        self._top: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self.finished = False
        """Whether every choice has come to its end."""

    def feed(self, chunk: Any) -> None:
        """Take a chunk; what is none is passed over."""
        if not isinstance(chunk, dict):
            return
        for name in ("id", "model", "created", "usage", "system_fingerprint"):
            if chunk.get(name) is not None:
                self._top[name] = chunk[name]
        for part in _dicts(chunk.get("choices")):
            index = part.get("index")
            choice = self._choices.setdefault(index if isinstance(index, int) else 0, {})
            self._add(choice, part)
        self.finished = bool(self._choices) and all(
            choice.get("finish_reason") for choice in self._choices.values()
        )

    def answer(self) -> dict[str, Any]:
        """Return the whole answer, as far as it came."""
        choices = [{"index": index, **choice} for index, choice in sorted(self._choices.items())]
        return {**self._top, "choices": choices}

    def _add(self, choice: dict[str, Any], part: dict[str, Any]) -> None:
        if part.get("finish_reason"):
            choice["finish_reason"] = part["finish_reason"]
        if isinstance(part.get("text"), str):
            choice["text"] = choice.get("text", "") + part["text"]
        _add_log_probabilities(choice, part.get("logprobs"))
        delta = part.get("delta")
        if not isinstance(delta, dict):
            return
        message = choice.setdefault("message", {"role": "assistant", "content": None})
        for name in ("content", "refusal", "reasoning_content"):
            if isinstance(delta.get(name), str):
                message[name] = (message.get(name) or "") + delta[name]
        for call in _dicts(delta.get("tool_calls")):
            _add_call(message.setdefault("tool_calls", []), call)


def _add_call(calls: list[dict[str, Any]], part: dict[str, Any]) -> None:
    index = part.get("index")
    place = index if isinstance(index, int) and 0 <= index <= len(calls) else len(calls)
    if place == len(calls):
        calls.append({"type": "function", "function": {"name": "", "arguments": ""}})
    call = calls[place]
    for name in ("id", "type"):
        if isinstance(part.get(name), str):
            call[name] = part[name]
    said = part.get("function")
    if isinstance(said, dict):
        for name in ("name", "arguments"):
            if isinstance(said.get(name), str):
                call["function"][name] += said[name]


def _add_log_probabilities(choice: dict[str, Any], part: Any) -> None:
    if isinstance(part, dict) and isinstance(part.get("content"), list):
        kept = choice.setdefault("logprobs", {"content": []})
        kept["content"] += part["content"]


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
