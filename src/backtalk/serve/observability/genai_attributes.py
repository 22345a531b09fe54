"""Span attributes of requests and completions, by OpenTelemetry's GenAI conventions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from backtalk.feedback.chat_answer import answer_reasoning, is_reasoning_part
from backtalk.serve.interaction_log import RequestRecord
from backtalk.serve.redaction import Redactor

Attribute = str | bool | int | float | Sequence[str]

_REQUEST_NUMBERS = {
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


def request_attributes(operation: str, body: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return the attributes of a request, without message content.

    >>> request_attributes("chat", {"model": "small", "n": 2})["gen_ai.request.choice.count"]
    2
    """
    attributes: dict[str, Attribute] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": body["model"],
    }
    attributes |= {
        name: body[field] for field, name in _REQUEST_NUMBERS.items() if _is_number(body.get(field))
    }
    if _is_number(body.get("n")) and body["n"] != 1:
        attributes["gen_ai.request.choice.count"] = body["n"]
    if body.get("stream") is True:
        attributes["gen_ai.request.stream"] = True
    stop = body.get("stop")
    stops = [stop] if isinstance(stop, str) else stop
    if isinstance(stops, list) and all(isinstance(item, str) for item in stops):
        attributes["gen_ai.request.stop_sequences"] = stops
    return attributes


def response_attributes(completion: Mapping[str, Any]) -> dict[str, Attribute]:
    """Return the attributes of a completion, without message content."""
    attributes: dict[str, Attribute] = {}
    for name in ("id", "model"):
        if isinstance(completion.get(name), str):
            attributes[f"gen_ai.response.{name}"] = completion[name]
    choices = _shown_choices(completion)
    reasons = [str(c["finish_reason"]) for c in choices if c.get("finish_reason")]
    if reasons:
        attributes["gen_ai.response.finish_reasons"] = reasons
    usage = completion.get("usage")
    if isinstance(usage, dict):
        attributes |= {
            name: usage[field] for field, name in _USAGE.items() if _is_number(usage.get(field))
        }
    return attributes


def backtalk_attributes(record: RequestRecord) -> dict[str, str]:
    """Return Backtalk's own attributes of a request."""
    experiment = record.notes.get("experiment")
    attributes = {
        "backtalk.interaction": record.id,
        "backtalk.project": record.project,
        "backtalk.policy": record.policy,
        "backtalk.experiment": experiment.get("name") if isinstance(experiment, dict) else None,
        "gen_ai.conversation.id": record.session,
    }
    return {name: value for name, value in attributes.items() if value is not None}


def address_attributes(url: str) -> dict[str, str | int]:
    """Return the attributes of a server's address.

    >>> address_attributes("https://example.org/v1")
    {'server.address': 'example.org', 'server.port': 443}
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return {"server.address": parts.hostname or "", "server.port": port}


def input_messages(body: Mapping[str, Any], redactor: Redactor) -> str:
    """Return the messages of a request as JSON in the format of the conventions."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        prompt = body.get("prompt", body.get("input"))
        messages = [
            {"role": "user", "content": prompt if isinstance(prompt, str) else json.dumps(prompt)}
        ]
    return json.dumps([_message(item, redactor) for item in messages if isinstance(item, dict)])


def output_messages(completion: Mapping[str, Any], redactor: Redactor) -> str:
    """Return the messages of a completion as JSON in the format of the conventions."""
    messages = []
    for choice in _shown_choices(completion):
        content = choice.get("message", {"content": choice.get("text")})
        message = _message({"role": "assistant", **content}, redactor)
        messages.append({**message, "finish_reason": str(choice.get("finish_reason") or "error")})
    return json.dumps(messages)


def _message(message: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    role, content = str(message.get("role")), message.get("content")
    parts: list[dict[str, Any]] = []
    reasoning = answer_reasoning(message) if role == "assistant" else ""
    if role == "tool":
        response = redactor.text(_to_text(content))
        parts = [
            {"type": "tool_call_response", "id": message.get("tool_call_id"), "response": response}
        ]
    elif isinstance(content, str):
        parts = [{"type": "text", "content": redactor.text(content)}]
    elif isinstance(content, list):
        parts = [
            _message_part(item, redactor)
            for item in content
            if isinstance(item, dict) and not is_reasoning_part(item)
        ]
    if reasoning:
        parts.insert(0, {"type": "reasoning", "content": redactor.text(reasoning)})
    calls = message.get("tool_calls")
    for call in calls if isinstance(calls, list) else []:
        function = call.get("function") or {}
        parts.append(
            {
                "type": "tool_call",
                "id": call.get("id"),
                "name": function.get("name"),
                "arguments": redactor.text(_to_text(function.get("arguments"))),
            }
        )
    return {"role": role, "parts": parts}


def _message_part(item: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """Return a part of a message. Of images and audio, only the type is included."""
    if isinstance(item.get("text"), str):
        return {"type": "text", "content": redactor.text(item["text"])}
    return {"type": str(item.get("type"))}


def _to_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _shown_choices(completion: Mapping[str, Any]) -> list[dict[str, Any]]:
    value = completion.get("choices")
    choices = value if isinstance(value, list) else []
    return [choice for choice in choices if isinstance(choice, dict) and not choice.get("hidden")]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
