"""A request and its answer, as an interaction."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from backtalk.errors import RecordError
from backtalk.feedback import Interaction, Message
from backtalk.feedback.record import new_id
from backtalk.formats.chat import as_messages

_NOT_KEPT = frozenset({"messages", "prompt", "stream", "stream_options", "user", "n"})


@dataclass(frozen=True)
class RequestRecord:
    """What was asked of the gateway, by whom, and what answered."""

    id: str
    """The interaction's id, which is the answer's too."""
    project: str
    asked: Mapping[str, Any]
    """The body of the request."""
    user: str | None = None
    session: str | None = None
    parent: str | None = None
    policy: str | None = None
    propensity: float | None = None
    policies: Mapping[str, str] = field(default_factory=dict)
    """The policy that wrote each response, by the response's id, where several did."""
    notes: dict[str, Any] = field(default_factory=dict)
    """What else is known: the upstream, the caller's key."""


def interaction_id(project: str, default: str) -> str:
    """Return a fresh id; outside the gateway's own project it begins with the project's name.

    So that feedback finds the project, where the caller may work in several.
    """
    return new_id() if project == default else f"{project}:{new_id()}"


def project_of(id_: str) -> str | None:
    """Return the project that an id begins with, if it begins with one.

    >>> project_of("mail:0123"), project_of("0123")
    ('mail', None)
    """
    project, colon, _ = id_.rpartition(":")
    return project if colon and project else None


def chat_interactions(exchange: RequestRecord, answer: Mapping[str, Any]) -> list[Interaction]:
    """Return the interaction of a chat completion, as a list of one."""
    prompt = _prompt(exchange.asked.get("messages"))
    responses = [_chat_response(choice, answer) for choice in _choices(answer)]
    return [_interaction(exchange, exchange.id, prompt, responses, answer)]


def text_interactions(exchange: RequestRecord, answer: Mapping[str, Any]) -> list[Interaction]:
    """Return the interactions of a plain completion, one a prompt.

    The first has the answer's id, the second that id with ``-1`` behind it, and so on.
    """
    prompts = text_prompts(exchange.asked.get("prompt"))
    choices = _choices(answer)
    each = max(1, len(choices) // max(1, len(prompts)))
    results = []
    for index, prompt in enumerate(prompts):
        own = choices[index * each : (index + 1) * each]
        responses = [
            _response(i, str(choice.get("text") or ""), choice, answer)
            for i, choice in enumerate(own)
        ]
        id_ = exchange.id if index == 0 else f"{exchange.id}-{index}"
        results.append(_interaction(exchange, id_, (Message.user(prompt),), responses, answer))
    return results


def text_prompts(prompt: Any) -> list[str]:
    """Return the prompts of a plain completion as texts; tokens are written as JSON."""
    if isinstance(prompt, str):
        return [prompt]
    if isinstance(prompt, list) and prompt:
        if all(isinstance(item, str) for item in prompt):
            return list(prompt)
        if all(isinstance(item, list) for item in prompt):
            return [json.dumps(item) for item in prompt]
    return [json.dumps(prompt)]


def _prompt(messages: Any) -> tuple[Message, ...]:
    try:
        return as_messages(messages, "messages")
    except (RecordError, ValidationError):
        return (Message.user(json.dumps(sanitise_json(messages), ensure_ascii=False)),)


def _interaction(
    exchange: RequestRecord,
    id_: str,
    prompt: tuple[Message, ...],
    responses: Sequence[dict[str, Any]],
    answer: Mapping[str, Any],
) -> Interaction:
    request = {name: v for name, v in exchange.asked.items() if name not in _NOT_KEPT}
    own = request.pop("metadata", None)
    metadata = {**own} if isinstance(own, dict) else {}
    metadata["gateway"] = {
        **exchange.notes,
        "request": request,
        **{name: answer[name] for name in ("usage",) if answer.get(name)},
    }
    for response in responses:
        if (writer := exchange.policies.get(response["id"])) is not None:
            response["policy"] = writer
    fields = {
        "id": id_,
        "prompt": prompt,
        "responses": responses,
        "shown": [
            response["id"]
            for response in responses
            if not response.get("metadata", {}).get("hidden")
        ],
        "user": exchange.user,
        "session": exchange.session,
        "parent": exchange.parent,
        "policy": exchange.policy,
        "propensity": exchange.propensity,
        "metadata": metadata,
    }
    try:
        return Interaction.model_validate(fields)
    except ValidationError:
        fields["prompt"] = [message.to_dict() for message in prompt]
        return Interaction.model_validate(sanitise_json(fields))


def _chat_response(choice: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    text = message.get("content") or message.get("refusal") or ""
    if isinstance(text, list):
        text = "".join(str(part.get("text", "")) for part in text if isinstance(part, dict))
    result = _response(_index(choice), str(text), choice, answer)
    calls = message.get("tool_calls")
    if message.get("function_call"):
        calls = [{"type": "function", "function": message["function_call"]}]
    if isinstance(calls, list) and calls:
        result["messages"] = [{"role": "assistant", "content": text or None, "tool_calls": calls}]
    return result


def _response(
    index: int, text: str, choice: Mapping[str, Any], answer: Mapping[str, Any]
) -> dict[str, Any]:
    results: dict[str, Any] = {"id": str(index), "text": text, "sample": index}
    if isinstance(answer.get("model"), str) and answer["model"]:
        results["model"] = answer["model"]
    total = _total(choice.get("logprobs"))
    if total is not None:
        results["log_probability"] = total
    metadata = {
        name: choice[name]
        for name in ("finish_reason", "score", "hidden")
        if choice.get(name) is not None
    }
    if metadata:
        results["metadata"] = metadata
    return results


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) and index >= 0 else 0


def _choices(answer: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    choices = answer.get("choices")
    if not isinstance(choices, list):
        return []
    results = (
        [item for item in choices if isinstance(item, dict)] if isinstance(choices, list) else []
    )
    indices = [_index(choice) for choice in results]
    if len(set(indices)) == len(results):
        return list(results)
    return [{**choice, "index": i} for i, choice in enumerate(results)]


def _total(logprobs: Any) -> float | None:
    """Return the summed log-probability, ``None`` where it was not reported."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    try:
        total = math.fsum(float(token["logprob"]) for token in content)
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return min(total, 0.0) if math.isfinite(total) else None


def sanitise_json(value: Any) -> Any:
    r"""Return JSON without what no database holds: lone surrogates, infinity, what is no number.

    >>> cleaned({"a": "x\ud800", "b": float("inf")})
    {'a': 'x\ufffd', 'b': 'inf'}
    """
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [sanitise_json(item) for item in value]
    if isinstance(value, dict):
        return {sanitise_json(name): sanitise_json(item) for name, item in value.items()}
    return value
