"""Reading of the completions of an upstream, whole or streamed, with the id of the interaction."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

from backtalk.models.endpoint.stream_assembler import StreamAssembler
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.sse import replace_first_id, replace_id, split_data
from backtalk.serve.gateway.stream_usage import hide_usage

_LARGE_CHUNK = 65_536
"""Size of a chunk in bytes above which it is not parsed before it is forwarded."""


def read_completion(content: bytes, id_: str) -> tuple[dict[str, Any] | None, bytes]:
    """Return the completion in a body, ``None`` if it has none, and the body with another id."""
    try:
        completion, text = replace_id(content.decode("utf-8"), id_)
    except (ValueError, RecursionError):
        return None, content
    if not isinstance(completion, dict) or not isinstance(completion.get("choices"), list):
        return None, content
    return completion, text.encode("utf-8")


def error_event(error: APIError) -> bytes:
    """Return the event that ends a stream with an error."""
    return b"data: " + to_json(error.body()) + b"\n\n"


class CompletionStreamReader:
    """Reader of the events of a streamed completion.

    Large chunks are parsed when the completion is assembled.

    Parameters
    ----------
    id_ : str
        Id that replaces the upstream's own.
    hides_usage : bool, default False
        If true, the caller has not requested the usage, and does not get it.
    choices : int, default 1
        Number of choices that the request asks for. A server that sends fewer may ignore that
        number; its answer is cut if the stream does not end with its last event.
    """

    def __init__(self, id_: str, *, hides_usage: bool = False, choices: int = 1) -> None:
        self._id = id_
        self._hides_usage = hides_usage
        self._assembler = StreamAssembler()
        self._choices = choices
        self._unread: list[Any] = []
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """If true, the last event has been read."""
        return self._is_complete

    def read(self, event: bytes) -> bytes:
        """Read an event and return it with the new id; empty if the caller does not get it."""
        before, data, after = split_data(event)
        if len(data) > _LARGE_CHUNK and (forwarded := replace_first_id(data, self._id)):
            self._unread.append(data)
            return b"".join((before, forwarded, after))
        if data.strip() == b"[DONE]":
            self._is_complete = True
        if not data.startswith(b"{"):
            return event
        try:
            chunk, text = replace_id(data.decode("utf-8"), self._id)
        except (ValueError, RecursionError):
            return event
        if self._unread:
            self._unread.append(chunk)
        else:
            self._assembler.feed(chunk)
        visible = hide_usage(chunk, text) if self._hides_usage else text
        return b"" if visible is None else before + visible.encode("utf-8") + after

    def completion(self) -> dict[str, Any]:
        """Return the completion so far."""
        for chunk in self._unread:
            self._assembler.feed(_parse(chunk) if isinstance(chunk, bytes) else chunk)
        self._unread.clear()
        return self._assembler.completion(expected=1 if self._is_complete else self._choices)


def _parse(data: bytes) -> Any:
    try:
        return from_json(data)  # three times as fast as the standard library's
    except ValueError:
        pass
    try:
        return json.loads(data)  # accepts lone surrogates
    except (ValueError, RecursionError):
        return None
