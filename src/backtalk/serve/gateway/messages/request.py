"""Conversion of requests of Anthropic's Messages API to chat completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtalk.serve.gateway.messages.content import chat_messages
from backtalk.serve.gateway.messages.parameter_types import check_request
from backtalk.serve.gateway.translation.refusals import cannot_express, invalid

_CONVERTED = frozenset(
    {
        "messages", "system", "stop_sequences", "tools", "tool_choice", "thinking", "metadata",
        "output_config", "output_format", "service_tier", "cache_control", "diagnostics",
    }
)  # fmt: skip
"""Fields that are converted, or that say nothing about the answer of a chat completion."""

_REFUSED = (
    "container", "context_management", "mcp_servers", "inference_geo", "speed", "prefill",
    "user_profile_id", "workspace_id",
)  # fmt: skip
"""Fields that chat completions have no place for."""

_TOOL_CHOICES = {"auto": "auto", "any": "required", "none": "none"}
_EFFORTS = ((4_096, "low"), (16_384, "medium"))
"""Effort of reasoning for a budget below a number of tokens; above it is high."""


def chat_request(body: Mapping[str, Any], *, strict: bool = True) -> dict[str, Any]:
    """Return a request of the Messages API as a request for a chat completion.

    Fields that are in neither API are forwarded.

    Parameters
    ----------
    body : Mapping[str, Any]
        Body of the request.
    strict : bool, default True
        If false, leave out what chat completions cannot express, for the record of a request that
        is answered by the API itself.

    Raises
    ------
    APIError
        If chat completions cannot express the request; the message names the field.
    """
    if strict:
        for name in _REFUSED:
            if body.get(name):
                raise cannot_express(name)
        check_request(body)
    fields = {
        name: value
        for name, value in body.items()
        if value is not None and name not in _CONVERTED and name not in _REFUSED
    }
    fields["messages"] = chat_messages(
        body.get("messages"), system=body.get("system"), strict=strict
    )
    if body.get("stop_sequences"):
        fields["stop"] = body["stop_sequences"]
    if body.get("service_tier") == "standard_only":
        fields["service_tier"] = "default"
    if body.get("stream") is True:
        fields["stream_options"] = {"include_usage": True}
    metadata = body.get("metadata")
    if isinstance(metadata, dict) and metadata.get("user_id"):
        fields["user"] = metadata["user_id"]
    return {
        **fields,
        **_tools(body, strict=strict),
        **_output(body, strict=strict),
        **_effort(body),
    }


def check_limit(body: Mapping[str, Any]) -> None:
    """Check the token limit, which every request for a message has.

    Raises
    ------
    APIError
        If it is missing or not a positive integer.
    """
    limit = body.get("max_tokens")
    if type(limit) is not int or limit < 1:
        raise invalid("max_tokens", "a positive integer")


def is_thinking_shown(body: Mapping[str, Any]) -> bool:
    """Return true if a request asks for the model's thinking."""
    thinking = body.get("thinking")
    if not isinstance(thinking, dict) or thinking.get("display") == "omitted":
        return False
    return thinking.get("type") not in (None, "disabled")


def chat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a tool as chat completions have it.

    >>> chat_tool({"name": "time", "input_schema": {"type": "object"}})
    {'type': 'function', 'function': {'name': 'time', 'parameters': {'type': 'object'}}}
    """
    function = {
        name: tool[own]
        for name, own in (
            ("name", "name"),
            ("description", "description"),
            ("parameters", "input_schema"),
            ("strict", "strict"),
        )
        if tool.get(own) is not None
    }
    return {"type": "function", "function": function}


def _tools(body: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not isinstance(tools, list) or not tools:
        return {}
    converted = []
    for index, tool in enumerate(tools):
        if isinstance(tool, dict) and tool.get("type") in (None, "custom"):
            converted.append(chat_tool(tool))
        elif strict:
            kind = tool.get("type") if isinstance(tool, dict) else tool
            raise cannot_express(f"tools[{index}].type", kind)
        else:
            converted.append(tool)
    fields: dict[str, Any] = {"tools": converted}
    if not isinstance(choice, dict):
        return fields
    if choice.get("type") == "tool":
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(choice.get("type"), str) and choice["type"] in _TOOL_CHOICES:
        fields["tool_choice"] = _TOOL_CHOICES[choice["type"]]
    elif strict:
        raise invalid("tool_choice.type", "auto, any, tool or none")
    if choice.get("disable_parallel_tool_use"):
        fields["parallel_tool_calls"] = False
    return fields


def _output(body: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    config = body.get("output_config")
    layout = config.get("format") if isinstance(config, dict) else None
    name = "output_format" if layout is None else "output_config.format"
    layout = body.get("output_format") if layout is None else layout
    if layout is None:
        return {}
    kind = layout.get("type") if isinstance(layout, dict) else layout
    if not isinstance(layout, dict) or kind != "json_schema":
        if strict:
            raise cannot_express(f"{name}.type", kind)
        return {}
    schema = {"name": "answer", "schema": layout.get("schema"), "strict": True}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _effort(body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the effort of reasoning: the stated one, or that of the budget for thinking."""
    config = body.get("output_config")
    if isinstance(config, dict) and config.get("effort"):
        return {"reasoning_effort": config["effort"]}
    thinking = body.get("thinking")
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
    if type(budget) is not int:
        return {}
    return {"reasoning_effort": next((name for limit, name in _EFFORTS if budget < limit), "high")}
