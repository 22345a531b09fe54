"""Answers of upstreams that have the Messages API: their ids, and their completions."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from backtalk.models.endpoint.stream_assembler import ERROR_EVENT, NO_FINISH_REASON
from backtalk.serve.gateway.messages.content import chat_call
from backtalk.serve.gateway.sse import split_data
from backtalk.serve.gateway.translation.json_ids import replace_strings

_FINISH_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_CHAT_BLOCKS = frozenset({"text", "thinking", "tool_use"})
_DELTA_FIELDS = {
    "text_delta": ("text", "text"),
    "thinking_delta": ("thinking", "thinking"),
    "signature_delta": ("signature", "signature"),
    "input_json_delta": ("partial_json", "json"),
}
"""Field of a delta, and the field of its block that it adds to."""


def read_message(content: bytes, id_: str) -> tuple[dict[str, Any] | None, bytes]:
    """Return the completion in a body, ``None`` if it has none, and the body with another id."""
    try:
        text = content.decode("utf-8")
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None, content
    if not isinstance(value, dict) or not isinstance(value.get("content"), list):
        return None, content
    return to_completion(value), replace_strings(text, {"id": id_}).encode("utf-8")


class MessageStreamReader:
    """Reader of the events of a streamed message.

    Parameters
    ----------
    id_ : str
        Id that replaces the upstream's own.
    """

    def __init__(self, id_: str) -> None:
        self._id = id_
        self._message: dict[str, Any] = {}
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._pieces: dict[Any, dict[str, list[str]]] = {}
        self._error: Any = None
        self.is_complete = False
        """If true, the last event has been read."""

    def read(self, event: bytes) -> bytes:
        """Read an event and return it with the new id."""
        before, data, after = split_data(event)
        try:
            text = data.decode("utf-8")
            value = json.loads(text)
        except (ValueError, RecursionError):
            return event
        if not isinstance(value, dict):
            return event
        self._add(value)
        if value.get("type") != "message_start":
            return event
        forwarded = replace_strings(text, {"id": self._id}, within="message")
        return before + forwarded.encode("utf-8") + after

    def completion(self) -> dict[str, Any]:
        """Return the message so far as a chat completion."""
        completion = to_completion({**self._message, "content": self._content()})
        if self._error is not None:
            return {**completion, "error": self._error, "cut": ERROR_EVENT}
        if not self.is_complete and completion["choices"]:
            return {**completion, "cut": NO_FINISH_REASON}
        return completion

    def _add(self, event: dict[str, Any]) -> None:
        kind, index, delta = event.get("type"), event.get("index"), event.get("delta")
        if kind == "message_start" and isinstance(event.get("message"), dict):
            self._message = dict(event["message"])
        elif kind == "content_block_start" and isinstance(event.get("content_block"), dict):
            self._blocks[index] = event["content_block"]
        elif kind == "content_block_delta" and isinstance(delta, dict):
            self._add_delta(index, delta)
        elif kind == "message_delta" and isinstance(delta, dict):
            usage = {**(self._message.get("usage") or {}), **(event.get("usage") or {})}
            self._message |= {**delta, "usage": usage}
        elif kind == "message_stop":
            self.is_complete = True
        elif kind == "error":
            self._error = event.get("error") or event

    def _add_delta(self, index: Any, delta: dict[str, Any]) -> None:
        block = self._blocks.setdefault(index, {})
        if isinstance(delta.get("citation"), dict):
            block["citations"] = [*(block.get("citations") or ()), delta["citation"]]
        own, field = _DELTA_FIELDS.get(str(delta.get("type")), ("", ""))
        if isinstance(delta.get(own), str):
            self._pieces.setdefault(index, {}).setdefault(field, []).append(delta[own])

    def _content(self) -> list[dict[str, Any]]:
        content = []
        for index, block in self._blocks.items():
            texts = {name: "".join(pieces) for name, pieces in self._pieces.get(index, {}).items()}
            arguments = texts.pop("json", None)
            added = {name: str(block.get(name) or "") + text for name, text in texts.items()}
            if arguments is not None:
                added["input"] = _parsed(arguments)
            content.append({**block, **added})
        return content


def to_completion(message: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message as a chat completion.

    The field ``native`` has the message, if it has blocks that chat messages do not have. A message
    without content has no choices.
    """
    blocks = [block for block in message.get("content") or () if isinstance(block, dict)]
    texts = {
        "content": _join(blocks, "text", "text"),
        "reasoning_content": _join(blocks, "thinking", "thinking"),
    }
    answer: dict[str, Any] = {"role": "assistant", "content": None}
    answer |= {name: text for name, text in texts.items() if text}
    calls = [_chat_call(block) for block in blocks if block.get("type") == "tool_use"]
    if calls:
        answer["tool_calls"] = calls
    choice: dict[str, Any] = {"index": 0, "message": answer}
    if message.get("stop_reason"):
        reason = str(message["stop_reason"])
        choice["finish_reason"] = _FINISH_REASONS.get(reason, reason)
    completion = {
        **{name: message[name] for name in ("id", "model") if message.get(name)},
        "choices": [choice] if blocks else [],
    }
    if not {block.get("type") for block in blocks} <= _CHAT_BLOCKS:
        completion["native"] = message
    if isinstance(message.get("usage"), dict):
        completion["usage"] = _chat_usage(message["usage"])
    return completion


def _chat_call(block: Mapping[str, Any]) -> dict[str, Any]:
    value = block.get("input")
    call = chat_call({**block, "input": None if isinstance(value, str) else value})
    if isinstance(value, str):
        call["function"]["arguments"] = value
    return call


def _join(blocks: list[dict[str, Any]], kind: str, field: str) -> str:
    return "".join(str(block.get(field) or "") for block in blocks if block.get("type") == kind)


def _parsed(arguments: str) -> Any:
    """Return the input of a tool, as text if it is not complete."""
    try:
        return json.loads(arguments) if arguments else {}
    except ValueError:
        return arguments


def _chat_usage(usage: Mapping[str, Any]) -> dict[str, Any]:
    read, created = (
        usage.get(name) or 0 for name in ("cache_read_input_tokens", "cache_creation_input_tokens")
    )
    prompt = (usage.get("input_tokens") or 0) + read + created
    completion = usage.get("output_tokens") or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": read},
    }
