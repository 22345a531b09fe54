"""Messages of inspect_ai's logs, converted to those of the OpenAI protocol."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic_core import to_json

from backtalk.feedback.interaction import Prompt
from backtalk.formats.chat import as_messages
from backtalk.formats.fields import Fields

_ATTACHMENT = "attachment://"


def resolve_attachments(sample: Fields) -> Fields:
    """Return a sample with long texts and images, which a log stores once, in their places."""
    attachments = sample.data.get("attachments")
    if not isinstance(attachments, dict) or not attachments:
        return sample
    names = ("input", "messages", "output", "scores", "target", "metadata")
    resolved = {
        name: _resolve(sample.data[name], attachments) for name in names if name in sample.data
    }
    return Fields({**sample.data, **resolved}, sample.path)


def _resolve(value: Any, attachments: Mapping[str, Any]) -> Any:
    if isinstance(value, str):
        is_reference = value.startswith(_ATTACHMENT)
        return attachments.get(value.removeprefix(_ATTACHMENT), value) if is_reference else value
    if isinstance(value, list):
        return [_resolve(item, attachments) for item in value]
    if isinstance(value, dict):
        return {name: _resolve(item, attachments) for name, item in value.items()}
    return value


def parse_messages(sample: Fields, name: str) -> Prompt:
    """Return the messages of a field, or a text as one user message.

    Tool calls and images get OpenAI's layout. Reasoning is left out.

    Raises
    ------
    RecordError
        If it is neither; the message names the position in the list.
    """
    value = sample.data.get(name)
    if isinstance(value, list):
        value = [_as_openai(item) if isinstance(item, dict) else item for item in value]
    return as_messages(value, sample.field_path(name))


def reasoning_of(output: Fields) -> str:
    """Return the reasoning of the last reply, empty if the log has none."""
    choices = output.data.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    content = message.get("content") if isinstance(message, dict) else None
    parts = content if isinstance(content, list) else []
    texts = [
        part["reasoning"]
        for part in parts
        if isinstance(part, dict) and isinstance(part.get("reasoning"), str)
    ]
    return "\n".join(texts)


def _as_openai(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    return {
        "role": message.get("role"),
        "content": _content(message),
        "tool_calls": [_call(item) for item in calls] if isinstance(calls, list) else calls,
        "tool_call_id": message.get("tool_call_id"),
    }


def _content(message: dict[str, Any]) -> Any:
    content, error = message.get("content"), message.get("error")
    if not content and isinstance(error, dict):
        return error.get("message")
    if not isinstance(content, list):
        return content
    parts = [_part(part) for part in content if not _is_reasoning(part)]
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    if len(parts) <= 1 and all(isinstance(text, str) for text in texts):
        return texts[0] if texts else ""
    return parts


def _is_reasoning(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "reasoning"


def _part(part: Any) -> Any:
    if not isinstance(part, dict):
        return part
    if part.get("type") == "text":
        return {"type": "text", "text": part.get("text")}
    if part.get("type") == "image":
        return {"type": "image_url", "image_url": {"url": part.get("image")}}
    return part


def _call(call: Any) -> Any:
    if not isinstance(call, dict) or not isinstance(call.get("function"), str):
        return call
    arguments = call.get("arguments")
    text = arguments if isinstance(arguments, str) else to_json(arguments or {}).decode()
    function = {"name": call["function"], "arguments": text}
    return {"id": call.get("id"), "type": "function", "function": function}
