"""Conversion of requests of the Responses API to chat completions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.serve.gateway.responses.input import chat_messages
from backtalk.serve.gateway.responses.parameter_types import check_request
from backtalk.serve.gateway.translation.refusals import cannot_express, invalid

_DROPPED = frozenset(
    {
        "input", "instructions", "max_output_tokens", "tools", "tool_choice", "text", "reasoning",
        "store", "metadata", "previous_response_id", "include", "stream_options", "truncation",
        "max_tool_calls", "background", "top_logprobs", "prompt_cache_options",
    }
)  # fmt: skip
"""Fields that are converted, or that say nothing about the answer of a chat completion."""

_REFUSED = (
    "conversation", "prompt", "context_management", "moderation", "background_options",
    "access_programs", "image",
)  # fmt: skip
"""Fields that chat completions have no place for."""

LOGPROBS = "message.output_text.logprobs"
"""Item of ``include`` that asks for log-probabilities."""


def chat_request(
    body: Mapping[str, Any], *, history: Sequence[Any] = (), strict: bool = True
) -> dict[str, Any]:
    """Return a request of the Responses API as a request for a chat completion.

    Fields that are no part of the Responses API, such as ``top_k``, are forwarded.

    Parameters
    ----------
    body : Mapping[str, Any]
        Body of the request, without references to items.
    history : sequence, default ()
        Chat messages of the response that the request continues.
    strict : bool, default True
        If false, leave out what chat completions cannot express, for the record of a request that
        is answered by the API itself.

    Raises
    ------
    APIError
        If chat completions cannot express the request; the message names the field.
    """
    if strict:
        _check(body)
    fields = {
        name: value
        for name, value in body.items()
        if value is not None and name not in _DROPPED and name not in _REFUSED
    }
    instructions = body.get("instructions")
    fields["messages"] = chat_messages(
        body.get("input"),
        instructions=instructions if isinstance(instructions, str) else None,
        history=history,
        strict=strict,
    )
    if body.get("max_output_tokens") is not None:
        fields["max_tokens"] = body["max_output_tokens"]
    return {
        **fields,
        **_tools(body, strict=strict),
        **_text(body),
        **_reasoning(body),
        **_logprobs(body),
        **({"stream_options": {"include_usage": True}} if body.get("stream") is True else {}),
    }


def _check(body: Mapping[str, Any]) -> None:
    for name in _REFUSED:
        if body.get(name):
            raise cannot_express(name)
    if body.get("background") is True:
        raise cannot_express("background", value=True)
    if body.get("truncation") not in (None, "disabled"):
        raise cannot_express("truncation", body["truncation"])
    if isinstance(body.get("instructions"), list):
        raise cannot_express("instructions", "a list of items")
    if not body.get("input") or not isinstance(body["input"], str | list):
        raise invalid("input", "a text or a list of items")
    check_request(body)


def _tools(body: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    tools, choice = body.get("tools"), body.get("tool_choice")
    if not isinstance(tools, list) or not tools:
        return {}
    converted = []
    for index, tool in enumerate(tools):
        if isinstance(tool, dict) and tool.get("type") == "function":
            converted.append(chat_tool(tool))
        elif strict:
            kind = tool.get("type") if isinstance(tool, dict) else tool
            raise cannot_express(f"tools[{index}].type", kind)
        else:
            converted.append(tool)
    fields: dict[str, Any] = {"tools": converted}
    if isinstance(choice, dict) and choice.get("type") == "allowed_tools":
        tools = choice["tools"] if isinstance(choice.get("tools"), list) else []
        names = [tool.get("name") for tool in tools if isinstance(tool, dict)]
        fields["tools"] = [tool for tool in converted if _function_name(tool) in names]
        fields["tool_choice"] = choice.get("mode") or "auto"
    elif isinstance(choice, dict) and choice.get("type") == "function":
        fields["tool_choice"] = {"type": "function", "function": {"name": choice.get("name")}}
    elif isinstance(choice, str):
        fields["tool_choice"] = choice
    elif choice is not None and strict:
        raise cannot_express(
            "tool_choice.type", choice.get("type") if isinstance(choice, dict) else choice
        )
    return fields


def _function_name(tool: Any) -> Any:
    function = tool.get("function") if isinstance(tool, dict) else None
    return function.get("name") if isinstance(function, dict) else None


def chat_tool(tool: Mapping[str, Any]) -> dict[str, Any]:
    """Return a function tool as chat completions have it.

    >>> chat_tool({"type": "function", "name": "time", "parameters": {}, "strict": None})
    {'type': 'function', 'function': {'name': 'time', 'parameters': {}}}
    """
    names = ("name", "description", "parameters", "strict")
    function = {name: tool[name] for name in names if tool.get(name) is not None}
    return {"type": "function", "function": function}


def _text(body: Mapping[str, Any]) -> dict[str, Any]:
    text = body.get("text")
    if not isinstance(text, dict):
        return {}
    fields = {} if text.get("verbosity") is None else {"verbosity": text["verbosity"]}
    layout = text.get("format")
    if not isinstance(layout, dict) or layout.get("type") in (None, "text"):
        return fields
    if layout["type"] != "json_schema":
        return {**fields, "response_format": layout}
    names = ("name", "description", "schema", "strict")
    schema = {name: layout[name] for name in names if layout.get(name) is not None}
    return {**fields, "response_format": {"type": "json_schema", "json_schema": schema}}


def _reasoning(body: Mapping[str, Any]) -> dict[str, Any]:
    reasoning = body.get("reasoning")
    if not isinstance(reasoning, dict) or reasoning.get("effort") is None:
        return {}
    return {"reasoning_effort": reasoning["effort"]}


def _logprobs(body: Mapping[str, Any]) -> dict[str, Any]:
    include, count = body.get("include"), body.get("top_logprobs")
    if not count and not (isinstance(include, list) and LOGPROBS in include):
        return {}
    return {"logprobs": True, **({"top_logprobs": count} if count else {})}
