"""Reading of the completions of an upstream, whole or streamed, with the id of the interaction."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from backtalk.models.endpoint.stream_assembler import StreamAssembler
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.sse import replace_id, split_data


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

    Parameters
    ----------
    id_ : str
        Id that replaces the upstream's own.
    """

    def __init__(self, id_: str) -> None:
        self._id = id_
        self._assembler = StreamAssembler()
        self._is_complete = False

    @property
    def is_complete(self) -> bool:
        """If true, the last event has been read."""
        return self._is_complete

    def read(self, event: bytes) -> bytes:
        """Read an event and return it with the new id."""
        before, data, after = split_data(event)
        if data.strip() == b"[DONE]":
            self._is_complete = True
        if not data.startswith(b"{"):
            return event
        try:
            chunk, text = replace_id(data.decode("utf-8"), self._id)
        except (ValueError, RecursionError):
            return event
        self._assembler.feed(chunk)
        return before + text.encode("utf-8") + after

    def completion(self) -> dict[str, Any]:
        """Return the completion so far."""
        return self._assembler.completion()
