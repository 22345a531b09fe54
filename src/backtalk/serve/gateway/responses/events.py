"""Conversion of the chunks of a chat completion to the events of a streamed response."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from backtalk.serve.errors import APIError
from backtalk.serve.gateway.responses.output import (
    ResponseContext,
    call_item,
    failed_fields,
    final_fields,
    logprob,
    message_item,
    output_text,
    reasoning_item,
)
from backtalk.serve.gateway.translation.chunks import ChunkReader, Delta

Event = dict[str, Any]


class ResponseEvents:
    """Events of one streamed response.

    Parameters
    ----------
    context : ResponseContext
        Request that the response answers.
    """

    def __init__(self, context: ResponseContext) -> None:
        self._context = context
        self._reader = ChunkReader()
        self._items: list[_Item] = []
        self._calls: dict[int, _Item] = {}
        self._open: _Item | None = None
        self._sequence = 0

    @property
    def is_finished(self) -> bool:
        """If true, a chunk has named the reason of the answer's end."""
        return self._reader.finish_reason is not None

    def start(self) -> Iterator[Event]:
        """Yield the events before the first chunk."""
        response = self._context.response()
        yield self._event("response.created", response=response)
        yield self._event("response.in_progress", response=response)

    def feed(self, chunk: Mapping[str, Any]) -> Iterator[Event]:
        """Yield the events of a chunk."""
        delta = self._reader.read(chunk)
        if delta.reasoning:
            yield from self._add("reasoning", delta.reasoning)
        if delta.text:
            yield from self._add("text", delta.text, delta)
        if delta.refusal:
            yield from self._add("refusal", delta.refusal)
        for position, arguments in delta.calls:
            yield from self._add_to_call(position, arguments)

    def finish(self) -> Iterator[Event]:
        """Yield the events after the last chunk."""
        for position in range(len(self._reader.calls)):
            if position not in self._calls:
                yield from self._add_to_call(position, "{}")
        if not self._items:
            yield from self._add("text", "")
        yield from self._close()
        for item in self._calls.values():
            yield from self._done(item)
        output = [item.value for item in self._items]
        response = self._response(
            **final_fields(self._reader.finish_reason, self._reader.usage, output), output=output
        )
        yield self._event(f"response.{response['status']}", response=response)

    def fail(self, error: APIError) -> Iterator[Event]:
        """Yield the event that ends the stream with an error."""
        output = [{**item.value, "status": "incomplete"} for item in self._items]
        response = self._response(**failed_fields(error), output=output)
        yield self._event("response.failed", response=response)

    def _response(self, **fields: Any) -> dict[str, Any]:
        model = {"model": self._reader.model} if self._reader.model else {}
        return {**self._context.response(), **model, **fields}

    def _event(self, kind: str, **fields: Any) -> Event:
        event = {"type": kind, "sequence_number": self._sequence, **fields}
        self._sequence += 1
        return event

    def _add(self, kind: str, text: str, delta: Delta | None = None) -> Iterator[Event]:
        """Yield the events of an addition to the reasoning or to a part of the message."""
        is_same_item = self._open is not None and self._open.is_reasoning == (kind == "reasoning")
        if not is_same_item:
            yield from self._close()
            yield from self._open_item(kind)
        item = self._open
        assert item is not None
        if item.kind != kind:
            yield from self._close_part(item)
            yield from self._open_part(item, kind)
        if not text:
            return
        part = item.part
        part[_FIELD[kind]] += text
        extra: dict[str, Any] = {}
        if kind == "text":
            extra = {"logprobs": [logprob(token) for token in (delta.logprobs if delta else ())]}
            part["logprobs"] += extra["logprobs"]
        yield self._event(f"{_EVENT[kind]}.delta", **item.place(), delta=text, **extra)

    def _open_item(self, kind: str) -> Iterator[Event]:
        count = sum(not item.is_call for item in self._items)
        if kind == "reasoning":
            value = reasoning_item(self._context, "", status="in_progress")
        else:
            value = message_item(self._context, [], status="in_progress")
        if any(item.value["id"] == value["id"] for item in self._items):
            value["id"] += f"_{count}"
        self._open = _Item(value, len(self._items))
        self._items.append(self._open)
        added = {**value, "content": []}
        yield self._event("response.output_item.added", output_index=self._open.index, item=added)

    def _open_part(self, item: _Item, kind: str) -> Iterator[Event]:
        item.kind = kind
        part = output_text("") if kind == "text" else {"type": _PART[kind], _FIELD[kind]: ""}
        item.value["content"].append(part)
        yield self._event("response.content_part.added", **item.place(), part=_copy(part))

    def _close(self) -> Iterator[Event]:
        """Yield the events that end the reasoning or the message in progress."""
        item, self._open = self._open, None
        if item is not None:
            yield from self._close_part(item)
            yield from self._done(item)

    def _close_part(self, item: _Item) -> Iterator[Event]:
        if item.kind is None:
            return
        part = _copy(item.part)
        extra = {"logprobs": part["logprobs"]} if item.kind == "text" else {}
        text = {_FIELD[item.kind]: part[_FIELD[item.kind]]}
        yield self._event(f"{_EVENT[item.kind]}.done", **item.place(), **text, **extra)
        yield self._event("response.content_part.done", **item.place(), part=part)

    def _done(self, item: _Item) -> Iterator[Event]:
        item.value["status"] = "completed"
        if item.is_call:
            arguments = item.value["arguments"]
            name = item.value["name"]
            yield self._event(
                "response.function_call_arguments.done",
                item_id=item.value["id"], output_index=item.index, name=name, arguments=arguments,
            )  # fmt: skip
        value = _copy(item.value)
        yield self._event("response.output_item.done", output_index=item.index, item=value)

    def _add_to_call(self, position: int, arguments: str) -> Iterator[Event]:
        """Yield the events of an addition to a call.

        A call is announced with its first arguments, when its name is complete.
        """
        if not arguments:
            return
        item = self._calls.get(position)
        if item is None:
            yield from self._open_call(position)
            item = self._calls[position]
        item.value["arguments"] += arguments
        yield self._event(
            "response.function_call_arguments.delta",
            item_id=item.value["id"], output_index=item.index, delta=arguments,
        )  # fmt: skip

    def _open_call(self, position: int) -> Iterator[Event]:
        yield from self._close()
        call = self._reader.calls.call(position)
        value = call_item(self._context, call, position, status="in_progress")
        value["arguments"] = ""
        item = self._calls[position] = _Item(value, len(self._items))
        self._items.append(item)
        yield self._event("response.output_item.added", output_index=item.index, item=dict(value))


class _Item:
    """Item of the output in progress."""

    def __init__(self, value: dict[str, Any], index: int) -> None:
        self.value = value
        self.index = index
        self.kind: str | None = None
        """Kind of the part in progress."""

    @property
    def is_reasoning(self) -> bool:
        """If true, it is reasoning and not a message."""
        return bool(self.value["type"] == "reasoning")

    @property
    def is_call(self) -> bool:
        """If true, it is a function call."""
        return bool(self.value["type"] == "function_call")

    @property
    def part(self) -> dict[str, Any]:
        """Part in progress."""
        part: dict[str, Any] = self.value["content"][-1]
        return part

    def place(self) -> dict[str, Any]:
        """Return the fields that locate the part in progress."""
        last = len(self.value["content"]) - 1
        return {"item_id": self.value["id"], "output_index": self.index, "content_index": last}


_FIELD = {"reasoning": "text", "text": "text", "refusal": "refusal"}
_PART = {"reasoning": "reasoning_text", "refusal": "refusal"}
_EVENT = {
    "reasoning": "response.reasoning_text",
    "text": "response.output_text",
    "refusal": "response.refusal",
}


def _copy(value: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of an item or a part, which changes no more."""
    copied = dict(value)
    for name in ("content", "logprobs"):
        if isinstance(copied.get(name), list):
            copied[name] = [dict(item) for item in copied[name]]
    return copied
