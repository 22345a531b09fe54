"""Conversion of the chunks of a chat completion to the events of a streamed message."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from backtalk.serve.errors import APIError
from backtalk.serve.gateway.messages.errors import error_body
from backtalk.serve.gateway.messages.output import MessageContext, message_usage, tool_use
from backtalk.serve.gateway.translation.chunks import ChunkReader

Event = dict[str, Any]


class MessageEvents:
    """Events of one streamed message.

    Blocks follow one another. The arguments of a call that begins before the previous call is
    complete are sent after it.

    Parameters
    ----------
    context : MessageContext
        Request that the message answers.
    """

    def __init__(self, context: MessageContext) -> None:
        self._context = context
        self._reader = ChunkReader()
        self._count = 0
        self._open: str | int | None = None
        """Type of the block in progress, or position of the call in progress."""
        self._sent: dict[int, str] = {}
        self._is_started = False
        self._is_refused = False

    @property
    def is_finished(self) -> bool:
        """If true, a chunk has named the reason of the answer's end."""
        return self._reader.finish_reason is not None

    def start(self) -> Iterator[Event]:
        """Yield the events before the first chunk: none, as the first chunk names the model."""
        return iter(())

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a chunk."""
        delta = self._reader.read(chunk)
        yield from self._start()
        if delta.reasoning and self._context.is_thinking_shown:
            yield from self._add("thinking", "thinking", delta.reasoning)
        if delta.text:
            yield from self._add("text", "text", delta.text)
        if delta.refusal:
            self._is_refused = True
            yield from self._add("text", "text", delta.refusal)
        for position, arguments in delta.calls:
            if arguments:
                yield from self._add_to_call(position)

    def finish(self) -> Iterator[Event]:
        """Yield the events after the last chunk."""
        yield from self._start()
        for position in range(len(self._reader.calls)):
            yield from self._send_call(position)
        if not self._count:
            yield from self._add("text", "text", "")
        yield from self._close()
        reason = "content_filter" if self._is_refused else self._reader.finish_reason
        has_calls = len(self._reader.calls) > 0
        delta = self._context.stop(reason, self._reader.stop_reason, has_calls=has_calls)
        usage = message_usage(self._reader.usage)
        yield {"type": "message_delta", "delta": delta, "usage": usage}
        yield {"type": "message_stop"}

    def fail(self, error: APIError) -> Iterator[Event]:
        """Yield the event that ends the stream with an error."""
        yield error_body(error.status, error.message)

    def _start(self) -> Iterator[Event]:
        if self._is_started:
            return
        self._is_started = True
        model = {"model": self._reader.model} if self._reader.model else {}
        yield {"type": "message_start", "message": self._context.message(**model)}

    def _add(self, kind: str, field: str, text: str) -> Iterator[Event]:
        if self._open != kind:
            yield from self._close()
            signature = {"signature": ""} if kind == "thinking" else {}
            yield self._begin(kind, {"type": kind, field: "", **signature})
        if text:
            yield self._delta({"type": f"{kind}_delta", field: text})

    def _add_to_call(self, position: int) -> Iterator[Event]:
        if self._open == position:
            yield from self._send_arguments(position)
        elif position not in self._sent and (
            not isinstance(self._open, int) or self._is_complete(self._open)
        ):
            yield from self._open_call(position)
            yield from self._send_arguments(position)

    def _send_call(self, position: int) -> Iterator[Event]:
        """Yield what is left of a call."""
        if self._open != position and position not in self._sent:
            yield from self._open_call(position)
        if self._open == position:
            yield from self._send_arguments(position)

    def _open_call(self, position: int) -> Iterator[Event]:
        yield from self._close()
        call = self._reader.calls.call(position)
        self._sent[position] = ""
        yield self._begin(position, tool_use(call, self._context, position, with_input=False))

    def _send_arguments(self, position: int) -> Iterator[Event]:
        arguments = str(self._reader.calls.call(position)["function"]["arguments"])
        piece = arguments[len(self._sent[position]) :]
        if piece:
            self._sent[position] = arguments
            yield self._delta({"type": "input_json_delta", "partial_json": piece})

    def _is_complete(self, position: int) -> bool:
        arguments = self._reader.calls.call(position)["function"]["arguments"]
        try:
            json.loads(arguments)
        except ValueError:
            return False
        return True

    def _begin(self, kind: str | int, block: dict[str, Any]) -> Event:
        self._open = kind
        self._count += 1
        return {"type": "content_block_start", "index": self._count - 1, "content_block": block}

    def _delta(self, delta: dict[str, Any]) -> Event:
        return {"type": "content_block_delta", "index": self._count - 1, "delta": delta}

    def _close(self) -> Iterator[Event]:
        if self._open == "thinking":
            yield self._delta({"type": "signature_delta", "signature": ""})
        if self._open is not None:
            self._open = None
            yield {"type": "content_block_stop", "index": self._count - 1}
