"""Text, reasoning and tool calls of an assistant's message, as servers of chats write them.

A message has its text in ``content``, as a string or as a list of parts. Reasoning comes in a field
of its own (``reasoning_content``, ``reasoning``, ``thinking``, ``reasoning_details``) or as parts
of the content. The functions read a complete message and the delta of a streamed one alike.

>>> parts = [{"type": "thinking", "thinking": "Six times seven."}, {"type": "text", "text": "42"}]
>>> answer_text({"content": parts}), answer_reasoning({"content": parts})
('42', 'Six times seven.')
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
"""Fields of a message that hold reasoning. A server that sends several repeats it in each."""

_REASONING_PARTS = frozenset(
    {
        "thinking", "reasoning", "reasoning_text", "summary_text", "redacted_thinking",
        "reasoning.text", "reasoning.summary", "reasoning.encrypted",
    }
)  # fmt: skip
"""Types of parts that hold reasoning; that of some of them is encrypted."""

_TEXT_PARTS = frozenset({"text", "output_text", "refusal", ""})

_MAX_DEPTH = 16
"""Number of lists and parts in which reasoning may be nested."""


def answer_text(message: Mapping[str, Any]) -> str:
    """Return the text of a message: its content, its refusal, or the transcript of its speech."""
    if text := content_text(message.get("content")):
        return text
    refusal = message.get("refusal")
    if refusal:
        return str(refusal)
    audio = message.get("audio")
    transcript = audio.get("transcript") if isinstance(audio, dict) else None
    return transcript if isinstance(transcript, str) else ""


def content_text(content: Any) -> str:
    """Return the text of a message's content, a string or a list of parts."""
    if isinstance(content, list):
        return "".join(_part_text(part) for part in content)
    return str(content) if content else ""


def answer_reasoning(message: Mapping[str, Any]) -> str:
    """Return the reasoning of a message, empty if it has none."""
    for name in REASONING_FIELDS:
        if message.get(name) and (text := _reasoning_text(message[name])):
            return text
    content = message.get("content")
    if not isinstance(content, list):
        return ""
    return "".join(_reasoning_text(part) for part in content if is_reasoning_part(part))


def answer_tool_calls(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the tool calls of a message; ``function_call``, the older form, is one.

    >>> answer_tool_calls({"function_call": {"name": "time", "arguments": "{}"}})
    [{'type': 'function', 'function': {'name': 'time', 'arguments': '{}'}}]
    """
    listed = message.get("tool_calls")
    calls = [call for call in listed if isinstance(call, dict)] if isinstance(listed, list) else []
    if not calls and isinstance(message.get("function_call"), dict):
        return [{"type": "function", "function": message["function_call"]}]
    return calls


def other_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parts of a message that are neither text nor reasoning, such as images."""
    listed = [message.get("content"), message.get("images")]
    return [
        part
        for parts in listed
        if isinstance(parts, list)
        for part in parts
        if isinstance(part, dict)
        and not is_reasoning_part(part)
        and (_type(part) not in _TEXT_PARTS or not _part_text(part))
    ]


def is_reasoning_part(part: Any) -> bool:
    """Return true if a part of a message's content holds reasoning."""
    return isinstance(part, dict) and _type(part) in _REASONING_PARTS


def _type(part: Mapping[str, Any]) -> str:
    """Return the type of a part, empty if it is no text."""
    value = part.get("type")
    return value if isinstance(value, str) else ""


def _part_text(part: Any) -> str:
    """Return the text of a part of the content; empty if it is reasoning or has none."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or is_reasoning_part(part):
        return ""
    text = part.get("text") or part.get("refusal")
    return text if isinstance(text, str) else ""


def _reasoning_text(value: Any, *, depth: int = 0) -> str:
    """Return the text of reasoning, which may be nested in parts."""
    if isinstance(value, str):
        return value
    if depth == _MAX_DEPTH:
        return ""
    if isinstance(value, list):
        return "".join(_reasoning_text(item, depth=depth + 1) for item in value)
    if isinstance(value, dict):
        for name in ("thinking", "text", "content", "summary", "reasoning"):
            if value.get(name) and (text := _reasoning_text(value[name], depth=depth + 1)):
                return text
    return ""
