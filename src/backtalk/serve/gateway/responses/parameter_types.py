"""Types of the parameters of the Responses API that its translation reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtalk.serve.gateway.translation.parameters import (
    BOOLEAN,
    COUNT,
    LIST,
    NUMBER,
    OBJECT,
    POSITIVE,
    TEXT,
    TEXT_OR_LIST,
    TEXT_OR_OBJECT,
    TEXTS,
    Types,
    check_types,
)
from backtalk.serve.gateway.translation.refusals import invalid

_TYPES: Types = {
    "instructions": TEXT,
    "max_output_tokens": POSITIVE,
    "tools": LIST,
    "tool_choice": TEXT_OR_OBJECT,
    "text": OBJECT,
    "reasoning": OBJECT,
    "store": BOOLEAN,
    "metadata": OBJECT,
    "previous_response_id": TEXT,
    "include": TEXTS,
    "stream": BOOLEAN,
    "stream_options": OBJECT,
    "background": BOOLEAN,
    "max_tool_calls": COUNT,
    "top_logprobs": COUNT,
    "parallel_tool_calls": BOOLEAN,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "user": TEXT,
    "safety_identifier": TEXT,
    "prompt_cache_key": TEXT,
    "prompt_cache_options": OBJECT,
    "service_tier": TEXT,
}
_TEXT_TYPES: Types = {"format": OBJECT, "verbosity": TEXT}
_SCHEMA_TYPES: Types = {"name": TEXT, "schema": OBJECT, "description": TEXT, "strict": BOOLEAN}
_TOOL_TYPES: Types = {"name": TEXT, "description": TEXT, "parameters": OBJECT, "strict": BOOLEAN}
_REASONING_TYPES: Types = {"effort": TEXT, "summary": TEXT}

_ITEM_TYPES: Mapping[str, tuple[Types, tuple[str, ...]]] = {
    "message": ({"content": TEXT_OR_LIST}, ("content",)),
    "reasoning": ({"summary": LIST, "content": LIST}, ()),
    "function_call": (
        {"name": TEXT, "call_id": TEXT, "id": TEXT, "arguments": TEXT},
        ("name",),
    ),
    "function_call_output": ({"call_id": TEXT, "output": TEXT_OR_LIST}, ("call_id", "output")),
}
"""Types and required parameters of items, by the type of the item."""

_TEXT_PART: tuple[Types, tuple[str, ...]] = ({"text": TEXT}, ("text",))
_PART_TYPES: Mapping[str, tuple[Types, tuple[str, ...]]] = {
    "input_text": _TEXT_PART,
    "output_text": _TEXT_PART,
    "text": _TEXT_PART,
    "refusal": ({"refusal": TEXT}, ("refusal",)),
    "input_image": ({"image_url": TEXT, "file_id": TEXT, "detail": TEXT}, ()),
    "input_audio": ({"input_audio": OBJECT}, ("input_audio",)),
    "input_file": (dict.fromkeys(("file_data", "file_id", "file_url", "filename"), TEXT), ()),
}
"""Types and required parameters of parts, by the type of the part."""


def check_request(body: Mapping[str, Any]) -> None:
    """Check the types of the parameters of a request, except those of its input items.

    Raises
    ------
    APIError
        If one is not valid; the error names it.
    """
    check_types(body, _TYPES)
    if body.get("text") is not None:
        _check_text(body["text"])
    if body.get("reasoning") is not None:
        check_types(body["reasoning"], _REASONING_TYPES, "reasoning")
    for index, tool in enumerate(body.get("tools") or ()):
        path = f"tools[{index}]"
        check_types(tool, {"type": TEXT}, path, required={"type"})
        if tool["type"] == "function":
            check_types(tool, _TOOL_TYPES, path, required={"name"})
    if isinstance(body.get("tool_choice"), dict):
        _check_choice(body["tool_choice"])


def check_item(item: Mapping[str, Any], kind: str, path: str) -> None:
    """Check the types of the parameters of an input item.

    Parameters
    ----------
    item : Mapping[str, Any]
        Item.
    kind : str
        Type of the item.
    path : str
        Path of the item in the request.
    """
    types, required = _ITEM_TYPES[kind]
    check_types(item, types, path, required=required)
    if kind == "function_call" and not (item.get("call_id") or item.get("id")):
        raise invalid(f"{path}.call_id", TEXT.description)
    for name in ("summary", "content") if kind == "reasoning" else ():
        for index, part in enumerate(item.get(name) or ()):
            check_types(part, {"text": TEXT}, f"{path}.{name}[{index}]", required={"text"})


def check_part(part: Any, path: str) -> None:
    """Check the types of the parameters of a part of a message.

    Parameters
    ----------
    part : Any
        Part.
    path : str
        Path of the part in the request.
    """
    check_types(part, {"type": TEXT}, path, required={"type"})
    types, required = _PART_TYPES.get(part["type"], ({}, ()))
    check_types(part, types, path, required=required)
    if part["type"] == "input_audio":
        names = {"data": TEXT, "format": TEXT}
        check_types(part["input_audio"], names, f"{path}.input_audio", required=names)
    sources = {"input_image": ("image_url", "file_id"), "input_file": ("file_data", "file_id")}
    names_of_sources = sources.get(part["type"], ())
    if names_of_sources and not any(part.get(name) for name in (*names_of_sources, "file_url")):
        raise invalid(f"{path}.{names_of_sources[0]}", TEXT.description)


def _check_text(text: Mapping[str, Any]) -> None:
    check_types(text, _TEXT_TYPES, "text")
    layout = text.get("format")
    if layout is None:
        return
    check_types(layout, {"type": TEXT}, "text.format", required={"type"})
    if layout["type"] == "json_schema":
        check_types(layout, _SCHEMA_TYPES, "text.format", required={"name", "schema"})


def _check_choice(choice: Mapping[str, Any]) -> None:
    check_types(choice, {"type": TEXT}, "tool_choice", required={"type"})
    if choice["type"] == "function":
        check_types(choice, {"name": TEXT}, "tool_choice", required={"name"})
    if choice["type"] == "allowed_tools":
        types = {"tools": LIST, "mode": TEXT}
        check_types(choice, types, "tool_choice", required={"tools"})
        for index, tool in enumerate(choice["tools"]):
            check_types(tool, {"name": TEXT}, f"tool_choice.tools[{index}]")
