"""Inputs and outputs of traces as messages: texts, chat messages, requests, replies, arguments.

>>> [message.text for message in read_input({"question": "Is it open?"}, "input")]
['Is it open?']
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from pydantic_core import to_json

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Message, Prompt
from backtalk.formats.cell_values import is_json_cell, parse_cell
from backtalk.formats.chat import as_messages, same_message
from backtalk.formats.columns import is_empty
from backtalk.formats.fields import Fields
from backtalk.formats.prompts import PROMPT_COLUMNS, has_prompt, read_prompt, with_system
from backtalk.formats.unusual import note_unusual

_ROLES = {"human": "user", "ai": "assistant", "model": "assistant", "AIMessageChunk": "assistant"}
_TYPES = {"human", "ai", "system", "tool", "function", "developer", "AIMessageChunk"}
"""Types of LangChain's messages, which have no role."""
_NUMBER = re.compile(r"\d{9,}(\.\d*)?")
_MAX_SECONDS = 1e11
_JSON_NOTE = "input or output that is neither a text nor messages, read as its JSON"


def read_input(value: Any, path: str) -> Prompt:
    """Return the prompt that the input of a trace is.

    It may be a text, messages, a request to a chat API, an object with the columns of a prompt, or
    the arguments of a function. Any other value is the text of its JSON.

    Parameters
    ----------
    value : Any
        JSON data, or its text.
    path : str
        Path of the value, for error messages.

    Raises
    ------
    RecordError
        If it is empty, or a message in it is not valid.
    """
    value = parse_text(value)
    if is_empty(value):
        raise RecordError(f"{path}: missing", "A trace needs an input to be a prompt")
    if isinstance(value, str):
        return (Message.user(value),)
    if _is_messages(value):
        return _messages(value, path)
    if isinstance(value, dict):
        prompt = _object_input(value, path)
        if prompt is not None:
            return prompt
    elif isinstance(value, list) and len(value) == 1:
        return read_input(value[0], f"{path}.0")
    return (Message.user(_as_json(value)),)


def read_output(value: Any, prompt: Prompt, path: str) -> tuple[Prompt, tuple[Message, ...]]:
    """Return the prompt and the answer, given the output of a trace.

    An output that repeats the prompt is cut after it. Turns of the user in it belong to the prompt.

    Parameters
    ----------
    value : Any
        JSON data, or its text.
    prompt : tuple of Message
        Messages of the input.
    path : str
        Path of the value, for error messages.

    Returns
    -------
    tuple
        The prompt, and the messages of the answer; none if the output is empty.
    """
    value = parse_text(value)
    messages = () if is_empty(value) else _output_messages(value, path)
    repeated = len(messages) > len(prompt) and all(
        same_message(a, b) for a, b in zip(prompt, messages, strict=False)
    )
    if repeated:
        messages = messages[len(prompt) :]
    questions = [
        i for i, message in enumerate(messages) if message.role not in {"assistant", "tool"}
    ]
    cut = questions[-1] + 1 if questions else 0
    return (*prompt, *messages[:cut]), messages[cut:]


def _output_messages(value: Any, path: str) -> tuple[Message, ...]:
    if isinstance(value, str):
        return (Message.assistant(value),)
    if _is_messages(value):
        return _messages(value, path)
    reply = _reply(value) if isinstance(value, dict) else None
    if isinstance(reply, str):
        return (Message.assistant(reply),)
    if reply is not None:
        return _messages(reply, path)
    return (Message.assistant(_as_json(value)),)


def _object_input(value: dict[str, Any], path: str) -> Prompt | None:
    """Return the prompt of a request, of a message or of the columns of a prompt."""
    fields = Fields(value, path)
    if _is_message(value):
        return _messages([value], path)
    if _is_messages(value.get("messages")):
        system = value.get("system")
        messages = _messages(value["messages"], f"{path}.messages")
        return with_system(fields, messages) if isinstance(system, str) else messages
    if set(value) <= {"args", "kwargs"}:
        items = [item for item in (value.get("args"), value.get("kwargs")) if not is_empty(item)]
        return read_input(items[0], path) if len(items) == 1 else None
    if "model" in value and not is_empty(value.get("prompt", value.get("input"))):
        name = "prompt" if "prompt" in value else "input"
        messages = read_input(value[name], f"{path}.{name}")
        request = Fields({"system": value.get("instructions")}, path)
        return with_system(request, messages)
    filled = {name for name, item in value.items() if not is_empty(item)}
    if filled <= set(PROMPT_COLUMNS) and has_prompt(fields):
        return read_prompt(fields)
    (only, *others) = filled or {""}
    text = value.get(only)
    return (Message.user(text),) if isinstance(text, str) and not others else None


def _reply(value: dict[str, Any]) -> Any:
    """Return the text or the messages of a reply, ``None`` if it is neither."""
    if _is_message(value):
        return [value]
    if _is_messages(value.get("messages")):
        return value["messages"]
    if value.get("type") == "message" and "content" in value:
        return [{"role": "assistant", "content": value["content"]}]
    choices = value.get("choices")
    if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], dict):
        message = choices[0].get("message")
        return [message] if isinstance(message, dict) else choices[0].get("text")
    output = value.get("output")
    if isinstance(output, list) and all(map(_is_message, output)) and output:
        return output
    texts = [item for item in value.values() if not is_empty(item)]
    return texts[0] if len(texts) == 1 and isinstance(texts[0], str) else None


def parse_text(value: Any) -> Any:
    """Return the list or object that a text is the JSON of, else the value itself."""
    if not is_json_cell(value):
        return value
    try:
        return parse_cell(value, "")
    except RecordError:
        return value


def _is_message(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    has_role = isinstance(value.get("role"), str) and bool(
        {"content", "tool_calls", "function_call", "parts"} & set(value)
    )
    return has_role or "from" in value or (str(value.get("type")) in _TYPES and "content" in value)


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _messages(items: list[Any], path: str) -> Prompt:
    return as_messages([_as_openai(item) for item in items], path)


def _as_openai(item: Mapping[str, Any]) -> dict[str, Any]:
    """Return a message in OpenAI's layout."""
    role = item.get("role", item.get("type"))
    calls = item.get("tool_calls")
    changes: dict[str, Any] = {"role": _ROLES.get(str(role), role)} if role is not None else {}
    if isinstance(calls, list):
        changes["tool_calls"] = [_call(call) for call in calls]
    if isinstance(item.get("content"), dict):
        changes["content"] = [item["content"]]
    return {**item, **changes}


def _call(call: Any) -> Any:
    """Return a tool call in OpenAI's layout; LangChain's have ``name`` and ``args``."""
    if not isinstance(call, dict) or "args" not in call or "name" not in call:
        return call
    return function_call(call.get("id"), call["name"], call["args"])


def function_call(id: Any, name: Any, arguments: Any) -> dict[str, Any]:  # noqa: A002
    """Return a tool call in OpenAI's layout.

    Parameters
    ----------
    id : Any
        Id of the call, ``None`` if it has none.
    name : Any
        Name of the tool.
    arguments : Any
        Arguments as JSON data, or as the text of their JSON.
    """
    text = arguments if isinstance(arguments, str) else _dump(arguments or {})
    call = {"id": id, "type": "function", "function": {"name": name, "arguments": text}}
    return {key: value for key, value in call.items() if value is not None}


def read_time(fields: Fields, *names: str) -> datetime | None:
    """Return the time of the first of these fields that is there, ``None`` if none is.

    Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970.

    Parameters
    ----------
    fields : Fields
        Fields of a row.
    *names : str
        Names of the fields.

    Raises
    ------
    RecordError
        If it is no time.
    """
    name = next((name for name in names if name in fields), None)
    if name is None:
        return None
    value = fields.data[name]
    if isinstance(value, bool) or not _NUMBER.fullmatch(str(value)):
        return fields.timestamp(name)
    number = float(value)
    while number > _MAX_SECONDS:
        number /= 1000
    return Fields({name: number}, fields.path).timestamp(name)


def _as_json(value: Any) -> str:
    note_unusual(_JSON_NOTE)
    return _dump(value)


def _dump(value: Any) -> str:
    return to_json(value).decode()
