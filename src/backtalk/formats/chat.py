"""Chat messages as other programs write them, read as messages, and split where two part."""

from __future__ import annotations

from typing import Any, get_args

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Message, Role, as_prompt

_ROLES = {**{role: role for role in get_args(Role)}, "function": "tool"}
_READ = {"role", "content", "name", "tool_calls", "tool_call_id", "function_call", "weight"}


def as_messages(value: Any, where: str) -> tuple[Message, ...]:
    """Return messages from a list of them, or from a text, which is one user message.

    A ``function_call``, the older way to write it, becomes a tool call.

    Raises
    ------
    RecordError
        If it is neither; the message says where in the list.
    """
    if isinstance(value, str):
        return as_prompt(value)
    if not isinstance(value, list) or not value:
        raise RecordError(f"{where}: expected a text or a list of messages")
    return tuple(_message(item, f"{where}.{i}") for i, item in enumerate(value))


def _message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise RecordError(f"{where}: expected a message, with role and content")
    role = item.get("role")
    role = _ROLES.get(role) if isinstance(role, str) else None
    if role is None:
        raise RecordError(
            f"{where}.role: expected one of {', '.join(_ROLES)}, got {item.get('role')!r}"
        )
    content = item.get("content")
    if content is not None and not isinstance(content, (str, list)):
        raise RecordError(f"{where}.content: expected a text or a list of parts")
    calls = item.get("tool_calls") or []
    if not isinstance(calls, list):
        raise RecordError(f"{where}.tool_calls: expected a list")
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


def unread(value: Any, where: str) -> dict[str, Any]:
    """Return what stands in messages that a ``Message`` has no field for, by its path."""
    if not isinstance(value, list):
        return {}
    return {
        f"{where}.{i}.{name}": content
        for i, item in enumerate(value)
        if isinstance(item, dict)
        for name, content in item.items()
        if name not in _READ and content is not None
    }


def dumped(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Return messages as other programs read them."""
    return [message.to_dict() for message in messages]


def parting(
    one: tuple[Message, ...], other: tuple[Message, ...]
) -> tuple[tuple[Message, ...], tuple[Message, ...], tuple[Message, ...]]:
    """Split two conversations into what they share and how each goes on.

    What they share ends before an assistant's turn, so that it can be answered.

    Raises
    ------
    RecordError
        If they share nothing that could be answered.
    """
    shared = 0
    for ours, theirs in zip(one, other, strict=False):
        if ours != theirs:
            break
        shared += 1
    while shared > 0 and not (_answers(one, shared) and _answers(other, shared)):
        shared -= 1
    if shared == 0:
        raise RecordError(
            "chosen and rejected share no beginning that both go on to answer",
            "Give the prompt in a field of its own",
        )
    return one[:shared], one[shared:], other[shared:]


def _answers(messages: tuple[Message, ...], at: int) -> bool:
    return at < len(messages) and messages[at].role == "assistant"
