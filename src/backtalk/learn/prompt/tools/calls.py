"""Tool calls and trials: a call, its result, and whether it failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import JsonValue

from backtalk.feedback.describe import tool_call_parts
from backtalk.feedback.interaction import Message, Prompt
from backtalk.models.protocol import Completion

ToolDefinition = Mapping[str, Any]
"""Definition of a tool in the OpenAI protocol: ``{"type": "function", "function": {...}}``."""


@dataclass(frozen=True)
class ToolCall:
    """Call of a tool by name, with its arguments."""

    name: str
    arguments: Mapping[str, JsonValue] | None
    """Arguments by name; ``None`` if they are not a JSON object."""

    @property
    def key(self) -> str:
        """Text that is the same for equal calls only."""
        return json.dumps([self.name, self.arguments], sort_keys=True, ensure_ascii=False)


@dataclass(frozen=True)
class ToolTrial:
    """Call of a tool with its result."""

    call: ToolCall
    result: str
    """Text of the result, or of the error."""
    failed: bool
    request: Prompt | None = field(default=None, compare=False)
    """Messages up to the user's request that led to the call; ``None`` if nobody asked."""


def tool_calls(messages: Iterable[Message]) -> list[ToolCall]:
    """Return the calls in messages, in their order."""
    return [parse_call(call) for message in messages for call in message.tool_calls]


def parse_call(call: Mapping[str, JsonValue]) -> ToolCall:
    """Return a tool call of a message.

    >>> parse_call({"function": {"name": "find", "arguments": '{"day": "Sunday"}'}})
    ToolCall(name='find', arguments={'day': 'Sunday'})
    """
    name, text = tool_call_parts(call)
    try:
        arguments = json.loads(text or "{}")
    except ValueError:
        arguments = None
    return ToolCall(name, arguments if isinstance(arguments, dict) else None)


def calls_text(calls: Sequence[ToolCall]) -> str:
    """Return calls as JSON, as a text that :func:`parse_calls` reads."""
    return json.dumps(
        [{"name": call.name, "arguments": call.arguments} for call in calls], ensure_ascii=False
    )


def answer_with_calls(answer: Completion) -> str:
    """Return the tool calls of an answer as JSON, or its text if it calls none."""
    calls = tool_calls([answer.message]) if answer.message is not None else []
    return calls_text(calls) if calls else answer.text


def parse_calls(text: str) -> list[ToolCall]:
    """Return the calls that a text holds as JSON; none if it holds something else."""
    try:
        items = json.loads(text)
    except ValueError:
        return []
    return [
        ToolCall(str(item["name"]), item["arguments"])
        for item in (items if isinstance(items, list) else ())
        if isinstance(item, dict) and {"name", "arguments"} <= item.keys()
    ]


def definition_name(definition: ToolDefinition) -> str | None:
    """Return the name of a defined tool; ``None`` if it is no function."""
    function = definition.get("function")
    name = function.get("name") if isinstance(function, Mapping) else None
    return name if isinstance(name, str) else None


def definition_text(definition: ToolDefinition) -> str:
    """Return the description in a definition; empty if there is none."""
    function = definition.get("function")
    return str((function.get("description") if isinstance(function, Mapping) else "") or "")


_ERROR_START = re.compile(
    r"\s*(?:error|exception|traceback|failed|failure|invalid|bad request|usage:"
    r"|\w*(?:error|exception)\b\s*[:(])",
    re.IGNORECASE,
)
_MIN_ERROR_STATUS = 400


def is_failure(result: str) -> bool:
    """Return whether the text of a tool's result reports a failure.

    A JSON object fails if it has an ``error`` that is not empty, ``"success": false``,
    ``"ok": false``, ``"isError": true`` or a status from 400. Another text fails if it begins like
    an error message.

    >>> is_failure('{"error": "unknown city"}'), is_failure("ValueError: no"), is_failure("21 C")
    (True, True, False)
    """
    try:
        data = json.loads(result)
    except ValueError:
        return _ERROR_START.match(result) is not None
    if isinstance(data, str):
        return _ERROR_START.match(data) is not None
    if not isinstance(data, dict):
        return False
    status = data.get("status_code", data.get("status", data.get("code")))
    return (
        bool(data.get("error") or data.get("errors") or data.get("isError") or data.get("is_error"))
        or data.get("success") is False
        or data.get("ok") is False
        or status in {"error", "failed", "failure"}
        or (type(status) is int and _MIN_ERROR_STATUS <= status < 600)
    )
