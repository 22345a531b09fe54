"""Inputs and outputs of TensorZero's inferences, converted to messages of the OpenAI protocol."""

from __future__ import annotations

from typing import Any

from pydantic_core import to_json

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Message, Prompt
from backtalk.formats.fields import Fields
from backtalk.formats.importers.trace_tools.messages import function_call
from backtalk.formats.unusual import note_unusual

_TEMPLATE_NOTE = "message made from a template, read as the JSON of its arguments"
_ROLES = ("user", "assistant", "system")


def read_input(fields: Fields) -> Prompt:
    """Return the prompt of an inference; thoughts are left out.

    Raises
    ------
    RecordError
        If it has no messages, or a content block of an unknown kind.
    """
    messages: list[Message] = []
    if "system" in fields:
        messages.append(Message.system(_template(fields, "system")))
    if "messages" in fields:
        for message in fields.objects("messages"):
            messages += _message(message)
    if not messages:
        raise fields.error("messages", "missing")
    return tuple(messages)


def read_answer(value: Any, path: str) -> tuple[Message, ...]:
    """Return the messages of an output: content blocks, an object with ``raw``, or a text.

    Parameters
    ----------
    value : Any
        JSON data; ``None`` for no output.
    path : str
        Path of the value, for error messages.

    Raises
    ------
    RecordError
        If it is none of them.
    """
    if value is None:
        return ()
    if isinstance(value, str):
        return (Message.assistant(value),)
    if isinstance(value, list):
        return tuple(_message(Fields({"role": "assistant", "content": value}, path)))
    if isinstance(value, dict) and {"raw", "parsed"} & set(value):
        raw, parsed = value.get("raw"), value.get("parsed")
        if isinstance(raw, str):
            return (Message.assistant(raw),)
        return () if parsed is None else (Message.assistant(to_json(parsed).decode()),)
    raise RecordError(f"{path}: expected content blocks, or an object with raw and parsed")


def _message(fields: Fields) -> list[Message]:
    """Return the messages that one message is: results of tools are messages of their own."""
    role = fields.text("role")
    if role not in _ROLES:
        raise fields.error("role", f"expected one of {', '.join(_ROLES)}, got {role!r}")
    content = fields.data.get("content")
    if isinstance(content, str):
        return [Message(role=role, content=content)]  # type: ignore[arg-type]
    results: list[Message] = []
    calls: list[dict[str, Any]] = []
    parts: list[dict[str, Any]] = []
    for block in fields.objects("content"):
        kind = block.text("type")
        if kind == "tool_result":
            results.append(_tool_result(block))
        elif kind == "tool_call":
            calls.append(_tool_call(block))
        elif kind != "thought":
            parts.append(_part(block, kind))
    if results and not parts and not calls:
        return results
    message = Message.model_validate(
        {"role": role, "content": _content(parts, bool(calls)), "tool_calls": tuple(calls)}
    )
    return [*results, message]


def _content(parts: list[dict[str, Any]], has_calls: bool) -> Any:
    if not parts:
        return None if has_calls else ""
    is_text = len(parts) == 1 and parts[0].get("type") == "text"
    return parts[0]["text"] if is_text else tuple(parts)


def _part(block: Fields, kind: str) -> dict[str, Any]:
    if kind == "template":
        return {"type": "text", "text": _template(block, "arguments")}
    if kind == "text":
        name = "text" if "text" in block else "value" if "value" in block else "arguments"
        return {"type": "text", "text": _template(block, name)}
    if kind == "raw_text":
        return {"type": "text", "text": block.text("value")}
    if kind in {"file", "image", "unknown"}:
        return dict(block.data)
    raise block.error("type", f"a content block of the unknown kind {kind!r}")


def _template(fields: Fields, name: str) -> str:
    """Return a text, or the JSON of a template's arguments."""
    value = fields.data.get(name)
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise fields.error(name, f"expected a text or the arguments of a template, got {value!r}")
    note_unusual(_TEMPLATE_NOTE)
    return to_json(value).decode()


def _tool_call(block: Fields) -> dict[str, Any]:
    raw = "raw_arguments" in block
    name = block.text("raw_name") if "raw_name" in block else block.text("name")
    arguments = block.data["raw_arguments"] if raw else block.data.get("arguments")
    return function_call(block.data.get("id"), name, arguments)


def _tool_result(block: Fields) -> Message:
    return Message(
        role="tool",
        content=block.text("result"),
        tool_call_id=block.optional_text("id"),
        name=block.optional_text("name"),
    )
