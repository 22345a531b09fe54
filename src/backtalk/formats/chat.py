"""Chat messages in the OpenAI layout: parsing, and splitting two conversations at a fork."""

from __future__ import annotations

from typing import Any, get_args

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Message, Prompt, Role, as_prompt

_ROLES = {**{role: role for role in get_args(Role)}, "function": "tool"}
_PARSED_FIELDS = {
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "weight",
}


def as_messages(value: Any, path: str) -> Prompt:
    """Parse a list of messages, or a text, which is one user message.

    A ``function_call``, the older form, becomes a tool call.

    Parameters
    ----------
    value : Any
        JSON data.
    path : str
        Path of the value, for error messages.

    Raises
    ------
    RecordError
        If it is neither; the message names the position in the list.
    """
    if isinstance(value, str):
        return as_prompt(value)
    if not isinstance(value, list) or not value:
        raise RecordError(f"{path}: expected a text or a list of messages")
    return tuple(_parse_message(item, f"{path}.{i}") for i, item in enumerate(value))


def _parse_message(item: Any, path: str) -> Message:
    if not isinstance(item, dict):
        raise RecordError(f"{path}: expected a message, with role and content")
    role = item.get("role")
    role = _ROLES.get(role) if isinstance(role, str) else None
    if role is None:
        raise RecordError(
            f"{path}.role: expected one of {', '.join(_ROLES)}, got {item.get('role')!r}"
        )
    content = item.get("content")
    if content is not None and not isinstance(content, (str, list)):
        raise RecordError(f"{path}.content: expected a text or a list of parts")
    calls = item.get("tool_calls") or []
    if not isinstance(calls, list):
        raise RecordError(f"{path}.tool_calls: expected a list")
    if item.get("function_call"):
        calls = [{"type": "function", "function": item["function_call"]}]
    return Message.model_validate(
        {
            "role": role,
            "content": tuple(content) if isinstance(content, list) else content,
            "name": item.get("name") or None,
            "tool_calls": tuple(calls),
            "tool_call_id": item.get("tool_call_id") or None,
        }
    )


def unknown_fields(value: Any, path: str) -> dict[str, Any]:
    """Return the fields of messages for which ``Message`` has no place, by path."""
    if not isinstance(value, list):
        return {}
    return {
        f"{path}.{i}.{name}": content
        for i, item in enumerate(value)
        if isinstance(item, dict)
        for name, content in item.items()
        if name not in _PARSED_FIELDS and content is not None
    }


def split_common_prefix(a: Prompt, b: Prompt) -> tuple[Prompt, Prompt, Prompt]:
    """Split two conversations into their common prompt and the continuation of each.

    The common prompt ends before an assistant's turn, so that both continuations answer it.

    Raises
    ------
    RecordError
        If they have no common prompt.
    """
    length = 0
    for message_a, message_b in zip(a, b, strict=False):
        if message_a != message_b:
            break
        length += 1
    while length > 0 and not (_is_assistant(a, length) and _is_assistant(b, length)):
        length -= 1
    if length == 0:
        raise RecordError(
            "chosen and rejected have no common prompt that both answer",
            "Give the prompt in a field of its own",
        )
    return a[:length], a[length:], b[length:]


def _is_assistant(messages: Prompt, index: int) -> bool:
    return index < len(messages) and messages[index].role == "assistant"
