"""Answers of upstreams that have the Responses API: their ids, and their completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from backtalk.models.endpoint.stream_assembler import ERROR_EVENT, NO_FINISH_REASON
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.responses.input import item_reasoning
from backtalk.serve.gateway.sse import split_data
from backtalk.serve.gateway.translation.json_ids import replace_strings

_FINISH_REASONS = {"max_output_tokens": "length", "content_filter": "content_filter"}
_UNFINISHED = frozenset({"queued", "in_progress"})
_LAST_EVENTS = frozenset({"response.completed", "response.incomplete", "response.failed"})


class ResponseBody:
    """Reader of responses that are not streamed.

    Parameters
    ----------
    previous : str, optional
        Id of the response that the request continues, as the caller knows it.
    """

    def __init__(self, previous: str | None = None) -> None:
        self._previous = previous

    def __call__(self, content: bytes, id_: str) -> tuple[dict[str, Any] | None, bytes]:
        """Return the completion in a body, ``None`` if it has none, and the body with new ids."""
        try:
            text = content.decode("utf-8")
            value = json.loads(text)
        except (ValueError, RecursionError):
            return None, content
        if not isinstance(value, dict) or not isinstance(value.get("output"), list):
            return None, content
        if value.get("status") in _UNFINISHED:
            return None, content  # background responses are polled by the upstream's id
        forwarded = replace_strings(text, new_ids(id_, self._previous))
        return to_completion(value), forwarded.encode("utf-8")


class ResponseStreamReader:
    """Reader of the events of a streamed response.

    Parameters
    ----------
    id_ : str
        Id that replaces the upstream's own.
    previous : str, optional
        Id of the response that the request continues, as the caller knows it.
    """

    def __init__(self, id_: str, previous: str | None = None) -> None:
        self._ids = new_ids(id_, previous)
        self._response: dict[str, Any] | None = None
        self._events: list[bytes] = []
        self._error: Any = None
        self.is_complete = False
        """If true, the last event has been read."""

    def read(self, event: bytes) -> bytes:
        """Read an event and return it with the new ids."""
        before, data, after = split_data(event)
        if b'"response"' not in data and b'"error"' not in data:
            self._events.append(data)
            return event
        try:
            text = data.decode("utf-8")
            value = json.loads(text)
        except (ValueError, RecursionError):
            return event
        if not isinstance(value, dict):
            return event
        if value.get("type") == "error":
            self._error = value.get("error") or value
        if not isinstance(value.get("response"), dict):
            self._events.append(data)
            return event
        self._response = value["response"]
        self.is_complete = value.get("type") in _LAST_EVENTS
        forwarded = replace_strings(text, self._ids, within="response")
        return before + forwarded.encode("utf-8") + after

    def completion(self) -> dict[str, Any]:
        """Return the response so far as a chat completion."""
        response = dict(self._response or {})
        if not self.is_complete:
            response["status"] = "incomplete" if self._error is None else "failed"
        if isinstance(self._error, dict):
            names = ("code", "message")
            response["error"] = {name: self._error.get(name) for name in names}
        if not response.get("output"):
            response["output"] = assemble_output(self._events)
        completion = to_completion(response)
        if self._error is not None:
            return {**completion, "error": self._error, "cut": ERROR_EVENT}
        if not self.is_complete and completion["choices"]:
            return {**completion, "cut": NO_FINISH_REASON}
        return completion


class UnreadStream:
    """Reader of a stream that is forwarded unchanged and not logged.

    Parameters
    ----------
    id_ : str
        Id of the interaction, which is not used.
    """

    is_complete = False

    def __init__(self, id_: str) -> None:
        del id_

    def read(self, event: bytes) -> bytes:
        """Return an event."""
        return event

    def completion(self) -> dict[str, Any]:
        """Return an empty completion."""
        return {}


def unread_body(content: bytes, id_: str) -> tuple[None, bytes]:
    """Return a body that is forwarded unchanged and not logged."""
    del id_
    return None, content


def new_ids(id_: str, previous: str | None) -> dict[str, str]:
    """Return the ids that replace those of an upstream, by name of the field."""
    return {"id": id_, **({"previous_response_id": previous} if previous else {})}


def response_error_event(error: APIError) -> bytes:
    """Return the event that ends a streamed response with an error."""
    fields = {"code": error.code, "message": error.message, "param": error.param}
    event = {"type": "error", "sequence_number": 0, **fields}
    return b"event: error\ndata: " + to_json(event) + b"\n\n"


def to_completion(response: Mapping[str, Any]) -> dict[str, Any]:
    """Return a response as a chat completion, with the response itself in the field ``native``.

    A response without output has no choices.
    """
    items = [item for item in response.get("output") or () if isinstance(item, dict)]
    message: dict[str, Any] = {"role": "assistant", "content": None}
    message |= _texts(items)
    calls = [_chat_call(item) for item in items if item.get("type") == "function_call"]
    if calls:
        message["tool_calls"] = calls
    choice: dict[str, Any] = {"index": 0, "message": message}
    if (reason := _finish_reason(response, has_calls=bool(calls))) is not None:
        choice["finish_reason"] = reason
    tokens = [token for part in _parts(items) for token in part.get("logprobs") or ()]
    if tokens:
        choice["logprobs"] = {"content": tokens}
    completion = {
        **{name: response[name] for name in ("id", "model") if response.get(name)},
        "choices": [choice] if items else [],
        "native": response,
    }
    if isinstance(response.get("error"), dict):
        completion |= {"error": response["error"], "cut": ERROR_EVENT}
    if (usage := _chat_usage(response.get("usage"))) is not None:
        completion["usage"] = usage
    return completion


def assemble_output(events: list[bytes]) -> list[dict[str, Any]]:
    """Return the output of a stream that ended before its response did.

    Parameters
    ----------
    events : list of bytes
        Data of the events so far.
    """
    items: dict[Any, dict[str, Any]] = {}
    for data in events:
        try:
            event = json.loads(data)
        except (ValueError, RecursionError):
            continue
        if isinstance(event, dict):
            _add_event(items, event)
    return [
        {**item, "status": "incomplete"} if item.get("status") in _UNFINISHED else item
        for item in items.values()
    ]


def _add_event(items: dict[Any, dict[str, Any]], event: Mapping[str, Any]) -> None:
    item, kind = event.get("item"), str(event.get("type"))
    if isinstance(item, dict):
        key = event.get("output_index", item.get("id"))
        items[key] = item
        return
    key = event.get("output_index", event.get("item_id"))
    delta = event.get("delta")
    if not kind.endswith(".delta") or not isinstance(delta, str) or key not in items:
        return
    if kind == "response.function_call_arguments.delta":
        items[key]["arguments"] = (items[key].get("arguments") or "") + delta
    elif kind in _DELTA_PARTS:
        part_type, field, place = _DELTA_PARTS[kind]
        parts = items[key][place] = items[key].get(place) or []
        if not parts or parts[-1].get("type") != part_type:
            parts.append({"type": part_type, field: ""})
        parts[-1][field] += delta


_DELTA_PARTS = {
    "response.output_text.delta": ("output_text", "text", "content"),
    "response.refusal.delta": ("refusal", "refusal", "content"),
    "response.reasoning_text.delta": ("reasoning_text", "text", "content"),
    "response.reasoning_summary_text.delta": ("summary_text", "text", "summary"),
}


def _texts(items: list[dict[str, Any]]) -> dict[str, str]:
    parts = _parts(items)
    texts = {
        "content": "".join(str(p.get("text") or "") for p in parts if p.get("type") != "refusal"),
        "refusal": "".join(str(p["refusal"]) for p in parts if p.get("refusal")),
        "reasoning_content": "".join(
            item_reasoning(item) for item in items if item.get("type") == "reasoning"
        ),
    }
    return {name: text for name, text in texts.items() if text}


def _parts(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        part
        for item in items
        if item.get("type") == "message"
        for part in item.get("content") or ()
        if isinstance(part, dict)
    ]


def _chat_call(item: Mapping[str, Any]) -> dict[str, Any]:
    function = {"name": item.get("name") or "", "arguments": item.get("arguments") or ""}
    return {"id": item.get("call_id") or item.get("id"), "type": "function", "function": function}


def _finish_reason(response: Mapping[str, Any], *, has_calls: bool) -> str | None:
    details = response.get("incomplete_details")
    if isinstance(details, dict):
        return _FINISH_REASONS.get(str(details.get("reason")), str(details.get("reason")))
    if response.get("status") != "completed":
        return None
    return "tool_calls" if has_calls else "stop"


def _chat_usage(usage: Any) -> dict[str, Any] | None:
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("input_tokens") or 0, usage.get("output_tokens") or 0
    details = {
        f"{side}_tokens_details": usage[f"{name}_tokens_details"]
        for side, name in (("prompt", "input"), ("completion", "output"))
        if isinstance(usage.get(f"{name}_tokens_details"), dict)
    }
    total = usage.get("total_tokens") or prompt + completion
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": total,
        **details,
    }
