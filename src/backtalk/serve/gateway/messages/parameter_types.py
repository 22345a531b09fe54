"""Types of the parameters of Anthropic's Messages API that its translation reads."""

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
    TEXTS,
    Types,
    check_types,
)

_TYPES: Types = {
    "messages": LIST,
    "system": TEXT_OR_LIST,
    "max_tokens": POSITIVE,
    "stop_sequences": TEXTS,
    "tools": LIST,
    "tool_choice": OBJECT,
    "thinking": OBJECT,
    "metadata": OBJECT,
    "output_config": OBJECT,
    "output_format": OBJECT,
    "service_tier": TEXT,
    "stream": BOOLEAN,
    "temperature": NUMBER,
    "top_p": NUMBER,
    "top_k": COUNT,
    "cache_control": OBJECT,
}
_NESTED: Mapping[str, tuple[Types, tuple[str, ...]]] = {
    "thinking": ({"type": TEXT, "budget_tokens": POSITIVE, "display": TEXT}, ("type",)),
    "metadata": ({"user_id": TEXT}, ()),
    "output_config": ({"effort": TEXT, "format": OBJECT}, ()),
    "tool_choice": ({"type": TEXT, "disable_parallel_tool_use": BOOLEAN}, ("type",)),
    "output_format": ({"type": TEXT}, ("type",)),
}
"""Types and required parameters in objects, by the name of the object."""

_TOOL_TYPES: Types = {"name": TEXT, "description": TEXT, "input_schema": OBJECT, "strict": BOOLEAN}

_BLOCK_TYPES: Mapping[str, tuple[Types, tuple[str, ...]]] = {
    "text": ({"text": TEXT}, ("text",)),
    "thinking": ({"thinking": TEXT}, ("thinking",)),
    "tool_use": ({"id": TEXT, "name": TEXT, "input": OBJECT}, ("id", "name")),
    "tool_result": (
        {"tool_use_id": TEXT, "content": TEXT_OR_LIST, "is_error": BOOLEAN},
        ("tool_use_id",),
    ),
    "image": ({"source": OBJECT}, ("source",)),
    "document": (
        {"source": OBJECT, "title": TEXT, "context": TEXT, "citations": OBJECT},
        ("source",),
    ),
}
"""Types and required parameters of blocks, by the type of the block."""

_SOURCE_TYPES: Mapping[str, Types] = {
    "base64": {"media_type": TEXT, "data": TEXT},
    "url": {"url": TEXT},
    "text": {"data": TEXT},
    "content": {"content": TEXT_OR_LIST},
}
"""Types of the parameters of sources, all required, by the type of the source."""


def check_request(body: Mapping[str, Any]) -> None:
    """Check the types of the parameters of a request, except those of its messages.

    Raises
    ------
    APIError
        If one is not valid; the error names it.
    """
    check_types(body, _TYPES, required={"messages"})
    for name, (types, required) in _NESTED.items():
        if body.get(name) is not None:
            check_types(body[name], types, name, required=required)
    if (body.get("tool_choice") or {}).get("type") == "tool":
        check_types(body["tool_choice"], {"name": TEXT}, "tool_choice", required={"name"})
    for index, tool in enumerate(body.get("tools") or ()):
        path = f"tools[{index}]"
        check_types(tool, {"type": TEXT}, path)
        if tool.get("type") in (None, "custom"):
            check_types(tool, _TOOL_TYPES, path, required={"name"})
    config = body.get("output_config") or {}
    for path, layout in (
        ("output_config.format", config.get("format")),
        ("output_format", body.get("output_format")),
    ):
        if layout is not None:
            check_types(layout, {"type": TEXT}, path, required={"type"})
        if layout is not None and layout["type"] == "json_schema":
            check_types(layout, {"schema": OBJECT}, path, required={"schema"})


def check_block(block: Any, path: str) -> None:
    """Check the types of the parameters of a block of a message.

    Parameters
    ----------
    block : Any
        Block.
    path : str
        Path of the block in the request.
    """
    check_types(block, {"type": TEXT}, path, required={"type"})
    types, required = _BLOCK_TYPES.get(block["type"], ({}, ()))
    check_types(block, types, path, required=required)
    if block["type"] not in {"image", "document"}:
        return
    source = block["source"]
    check_types(source, {"type": TEXT}, f"{path}.source", required={"type"})
    names = _SOURCE_TYPES.get(source["type"], {})
    check_types(source, names, f"{path}.source", required=names)
    if block.get("citations") is not None:
        check_types(block["citations"], {"enabled": BOOLEAN}, f"{path}.citations")
