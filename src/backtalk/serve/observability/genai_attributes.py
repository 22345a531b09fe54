"""What a trace says of a request and its answer, in the words of the GenAI conventions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from backtalk.serve.interaction_log import RequestRecord
from backtalk.serve.redaction import Redactor

Attribute = str | bool | int | float | Sequence[str]

_NUMBERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
}
_USAGE = {
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
}


def of_request(operation: str, asked: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return what a request asks for, without what it says.

    >>> of_request("chat", {"model": "small", "n": 2})["gen_ai.request.choice.count"]
    2
    """
    results: dict[str, Attribute] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": asked["model"],
    }
    results |= {name: asked[key] for key, name in _NUMBERS.items() if _is_number(asked.get(key))}
    if _is_number(asked.get("n")) and asked["n"] != 1:
        results["gen_ai.request.choice.count"] = asked["n"]
    if asked.get("stream") is True:
        results["gen_ai.request.stream"] = True
    stop = asked.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if isinstance(stops, list) and all(isinstance(item, str) for item in stops):
        results["gen_ai.request.stop_sequences"] = stops
    return results


def of_answer(answer: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return what is known of an answer, without what it says."""
    results: dict[str, Attribute] = {}
    for name in ("id", "model"):
        if isinstance(answer.get(name), str):
            results[f"gen_ai.response.{name}"] = answer[name]
    reasons = [str(choice["finish_reason"]) for choice in _shown(answer) if _ended(choice)]
    if reasons:
        results["gen_ai.response.finish_reasons"] = reasons
    usage = answer.get("usage")
    if isinstance(usage, dict):
        results |= {name: usage[key] for key, name in _USAGE.items() if _is_number(usage.get(key))}
    return results


def of_exchange(exchange: RequestRecord) -> dict[str, str]:
    """Return what only Backtalk knows of an answer."""
    experiment = exchange.notes.get("experiment")
    known = {
        "backtalk.interaction": exchange.id,
        "backtalk.project": exchange.project,
        "backtalk.policy": exchange.policy,
        "backtalk.experiment": experiment.get("name") if isinstance(experiment, dict) else None,
        "gen_ai.conversation.id": exchange.session,
    }
    return {name: value for name, value in known.items() if value is not None}


def of_address(url: str) -> dict[str, str | int]:
    """Return where a server is.

    >>> of_address("https://example.org/v1")
    {'server.address': 'example.org', 'server.port': 443}
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def input_messages(asked: Mapping[str, Any], redactor: Redactor) -> str:
    """Return what was asked as the conventions' messages, in JSON."""
    messages = asked.get("messages")
    if not isinstance(messages, list):
        said = asked.get("prompt", asked.get("input"))
        messages = [
            {"role": "user", "content": said if isinstance(said, str) else json.dumps(said)}
        ]
    return json.dumps([_message(item, redactor) for item in messages if isinstance(item, dict)])


def output_messages(answer: Mapping[str, Any], redactor: Redactor) -> str:
    """Return what was answered as the conventions' messages, in JSON."""
    results = []
    for choice in _shown(answer):
        message = choice.get("message", {"content": choice.get("text")})
        said = _message({"role": "assistant", **message}, redactor)
        results.append({**said, "finish_reason": str(choice.get("finish_reason") or "error")})
    return json.dumps(results)


def _message(message: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    role, content = str(message.get("role")), message.get("content")
    parts: list[dict[str, Any]] = []
    if role == "tool":
        response = redactor.text(_text(content))
        parts = [
            {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": response}
        ]
    elif isinstance(content, str):
        parts = [{"type": "text", "content": redactor.text(content)}]
    elif isinstance(content, list):
        parts = [_part(item, redactor) for item in content if isinstance(item, dict)]
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        said = call.get("function") or {}
        arguments = redactor.text(_text(said.get("arguments")))
        parts.append(
            {
                "type": "tool_call",
                "id": call.get("id"),
                "name": said.get("name"),
                "arguments": arguments,
            }
        )
    return {"role": role, "parts": parts}


def _part(item: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return a part of a message; images and sounds are only named."""
    if isinstance(item.get("text"), str):
        return {"type": "text", "content": redactor.text(item["text"])}
    return {"type": str(item.get("type"))}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown(answer: Mapping[str, Any]) -> list[dict[str, Any]]:
    choices = answer.get("choices")
    results = choices if isinstance(choices, list) else []
    return [item for item in results if isinstance(item, dict) and not item.get("hidden")]


def _ended(choice: Mapping[str, Any]) -> bool:
    return bool(choice.get("finish_reason"))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
