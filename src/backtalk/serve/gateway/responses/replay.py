"""Events of a response that is stored, as if it were streamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import count
from typing import Any

Event = dict[str, Any]


def replay_events(response: Mapping[str, Any], *, starting_after: int = -1) -> Iterator[Event]:
    """Yield the events of a response.

    Parameters
    ----------
    response : Mapping[str, Any]
        Stored response.
    starting_after : int, default -1
        Sequence number of the last event that the caller has.
    """
    numbers = count()
    for event in _events(response):
        numbered = {**event, "sequence_number": next(numbers)}
        if numbered["sequence_number"] > starting_after:
            yield numbered


def _events(response: Mapping[str, Any]) -> Iterator[Event]:
    begun = {**response, "status": "in_progress", "output": [], "usage": None}
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(response["output"]):
        place = {"output_index": index}
        empty: dict[str, Any] = {name: [] for name in ("content", "summary") if item.get(name)}
        if item.get("type") == "function_call":
            empty = {"arguments": ""}
        begun_item = {**item, **empty, "status": "in_progress"}
        yield {"type": "response.output_item.added", **place, "item": begun_item}
        yield from _item_events(item, {"item_id": item.get("id"), **place})
        yield {"type": "response.output_item.done", **place, "item": item}
    status = response.get("status")
    last = status if status in {"completed", "incomplete", "failed"} else "completed"
    yield {"type": f"response.{last}", "response": response}


def _item_events(item: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[Event]:
    if item.get("type") == "function_call":
        kind, arguments = "response.function_call_arguments", item.get("arguments")
        yield {"type": f"{kind}.delta", **place, "delta": arguments}
        yield {"type": f"{kind}.done", **place, "name": item.get("name"), "arguments": arguments}
    for index, part in enumerate(item.get("summary") or ()):
        at, kind = {**place, "summary_index": index}, "response.reasoning_summary"
        yield {"type": f"{kind}_part.added", **at, "part": {**part, "text": ""}}
        yield {"type": f"{kind}_text.delta", **at, "delta": part.get("text")}
        yield {"type": f"{kind}_text.done", **at, "text": part.get("text")}
        yield {"type": f"{kind}_part.done", **at, "part": part}
    for index, part in enumerate(item.get("content") or ()):
        yield from _part_events(part, {**place, "content_index": index})


def _part_events(part: Mapping[str, Any], place: Mapping[str, Any]) -> Iterator[Event]:
    kind = str(part.get("type"))
    field = "refusal" if kind == "refusal" else "text"
    logprobs = {"logprobs": part.get("logprobs") or []} if kind == "output_text" else {}
    yield {"type": "response.content_part.added", **place, "part": {**part, field: ""}}
    yield {"type": f"response.{kind}.delta", **place, "delta": part.get(field), **logprobs}
    yield {"type": f"response.{kind}.done", **place, field: part.get(field), **logprobs}
    yield {"type": "response.content_part.done", **place, "part": part}
