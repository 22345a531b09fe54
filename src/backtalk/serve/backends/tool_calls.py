"""Tool calls in the text of a model on this machine, in the formats that chat templates teach.

- Hermes, as Qwen, SmolLM and many others write it: an object with ``name`` and ``arguments``
  between ``<tool_call>`` and ``</tool_call>`` for each call, after text if there is any.
- Mistral: a list of such objects, after ``[TOOL_CALLS]`` or, where that is a special token of the
  tokenizer, nothing.
- Llama 3: the whole text is one object with ``name`` and ``parameters``, or several of them with
  semicolons between them, after ``<|python_tag|>`` or nothing.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any
from uuid import uuid4

from backtalk.feedback import Message
from backtalk.models import Completion

_HERMES, _HERMES_END = "<tool_call>", "</tool_call>"
_MISTRAL = "[TOOL_CALLS]"
_PYTHON_TAG = "<|python_tag|>"
_MARKERS = (_HERMES, _MISTRAL, _PYTHON_TAG)
_HERMES_CALL = re.compile(rf"\s*{_HERMES}(.*?)(?:{_HERMES_END}\s*|\s*$)", re.DOTALL)
_DECODER = json.JSONDecoder()


def tool_names(body: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of the functions that the model may call, by the body of a request."""
    tools = body.get("tools")
    if not isinstance(tools, list) or body.get("tool_choice") == "none":
        return frozenset()
    functions = [tool.get("function") for tool in tools if isinstance(tool, Mapping)]
    names = [function.get("name") for function in functions if isinstance(function, Mapping)]
    return frozenset(name for name in names if isinstance(name, str))


def with_tool_calls(completion: Completion, names: Collection[str]) -> Completion:
    """Return a completion with the tool calls in its text as such.

    Calls that are malformed, or of a tool that there is not, stay text.

    Parameters
    ----------
    completion : Completion
        Completion as the model wrote it.
    names : collection of str
        Names of the tools.
    """
    parsed = parse_tool_calls(completion.text)
    if parsed is None or any(name not in names for name, _ in parsed[1]):
        return completion
    content, calls = parsed
    message = Message(
        role="assistant",
        content=content or None,
        tool_calls=tuple(
            {
                "id": f"call_{uuid4().hex[:24]}",
                "type": "function",
                "function": {"name": name, "arguments": json.dumps(arguments, ensure_ascii=False)},
            }
            for name, arguments in calls
        ),
    )
    return completion.model_copy(
        update={"text": content, "message": message, "finish_reason": "tool_calls"}
    )


def parse_tool_calls(text: str) -> tuple[str, list[tuple[str, dict[str, Any]]]] | None:
    """Return the text before the calls, and each call's name and arguments.

    ``None`` if there is no call, or one of them is malformed.

    >>> parse_tool_calls('Wait.<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>')
    ('Wait.', [('add', {'a': 1})])
    >>> parse_tool_calls('[TOOL_CALLS] [{"name": "now", "arguments": {}}]')
    ('', [('now', {})])
    >>> parse_tool_calls("Hello") is None
    True
    """
    start = text.find(_HERMES)
    if start >= 0:
        calls, end = [], start
        while match := _HERMES_CALL.match(text, end):
            calls.append(_call(_parse(match[1])))
            end = match.end()
        return _checked(text[:start], calls) if end == len(text) else None
    start = text.find(_MISTRAL)
    if start >= 0:
        values = _parse(text[start + len(_MISTRAL) :])
        return _checked(text[:start], map(_call, values)) if isinstance(values, list) else None
    whole = text.strip().removeprefix(_PYTHON_TAG).strip()
    if whole.startswith("["):
        values = _parse(whole)
        return _checked("", map(_call, values)) if isinstance(values, list) else None
    if not whole.startswith("{"):
        return None
    return _checked("", map(_call, _parse_objects(whole)))


def text_before_tool_calls(text: str) -> str:
    """Return the beginning of a growing text that no tool call can be part of.

    >>> text_before_tool_calls("Wait. <tool_c"), text_before_tool_calls('{"name"')
    ('Wait.', '')
    """
    if text.lstrip().startswith(("{", "[")):
        return ""
    end = len(text)
    for marker in _MARKERS:
        start = text.find(marker)
        if start >= 0:
            end = min(end, start)
        for length in range(min(len(marker) - 1, len(text)), 0, -1):
            if text.endswith(marker[:length]):
                end = min(end, len(text) - length)
                break
    return text[:end].rstrip()


def _checked(
    content: str, calls: Iterable[tuple[str, dict[str, Any]] | None]
) -> tuple[str, list[tuple[str, dict[str, Any]]]] | None:
    parsed = list(calls)
    valid = [call for call in parsed if call is not None]
    return (content.rstrip(), valid) if valid and len(valid) == len(parsed) else None


def _call(value: Any) -> tuple[str, dict[str, Any]] | None:
    """Return the name and the arguments of a call, ``None`` if it is malformed."""
    if not isinstance(value, dict):
        return None
    name = value.get("name")
    arguments = value.get("arguments", value.get("parameters"))
    if isinstance(arguments, str):
        arguments = _parse(arguments)
    if not isinstance(name, str) or not name or not isinstance(arguments, dict):
        return None
    return name, arguments


def _parse(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _parse_objects(text: str) -> list[Any]:
    """Return JSON values with semicolons or white space between them; ``None`` for other text."""
    values: list[Any] = []
    while text:
        try:
            value, end = _DECODER.raw_decode(text)
        except (ValueError, RecursionError):
            return [None]
        values.append(value)
        text = text[end:].lstrip().removeprefix(";").lstrip()
    return values
