"""Responses of a completion, as they are stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.feedback.chat_answer import (
    answer_reasoning,
    answer_text,
    answer_tool_calls,
    other_parts,
)
from backtalk.models.endpoint.answer_checks import log_probabilities

_METADATA_FIELDS = ("finish_reason", "score", "hidden", "rewritten_request", "error")
"""Fields of a choice that are copied to the metadata of its response."""


def chat_responses(
    completion: Mapping[str, Any], *, has_stop: bool = False
) -> list[dict[str, Any]]:
    """Return the responses of a chat completion.

    Parameters
    ----------
    completion : Mapping[str, Any]
        Completion as it was sent, or assembled from a stream.
    has_stop : bool, default False
        If true, the request has a stop text.
    """
    choices = numbered_choices(completion)
    known = log_probabilities({**completion, "choices": choices}, has_stop=has_stop)
    return [
        _chat_response(choice, completion, log_probability)
        for choice, log_probability in zip(choices, known, strict=True)
    ]


def text_responses(
    choices: Sequence[Mapping[str, Any]], completion: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Return the responses to one prompt of a text completion, numbered from 0.

    Parameters
    ----------
    choices : sequence of Mapping[str, Any]
        Choices for the prompt.
    completion : Mapping[str, Any]
        Completion that they are part of.
    """
    return [
        _response(index, str(choice.get("text") or ""), choice, completion)
        for index, choice in enumerate(choices)
    ]


def numbered_choices(completion: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the choices of a completion, numbered anew if two have the same index."""
    value = completion.get("choices")
    if not isinstance(value, list):
        return []
    choices = [item for item in value if isinstance(item, dict)]
    indices = [_index(choice) for choice in choices]
    if len(set(indices)) == len(choices):
        return list(choices)
    return [{**choice, "index": i} for i, choice in enumerate(choices)]


def _chat_response(
    choice: Mapping[str, Any], completion: Mapping[str, Any], log_probability: float | None
) -> dict[str, Any]:
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    response = _response(_index(choice), answer_text(message), choice, completion)
    if log_probability is not None:
        response["log_probability"] = log_probability
    if reasoning := answer_reasoning(message):
        response["reasoning"] = reasoning
    if messages := _messages(message, response["text"]):
        response["messages"] = messages
    return response


def _messages(message: Mapping[str, Any], text: str) -> list[dict[str, Any]]:
    """Return the messages of an answer whose text is not all of it."""
    calls = answer_tool_calls(message)
    parts = other_parts(message)
    content: Any = text or None
    if parts:
        content = [*([{"type": "text", "text": text}] if text else []), *parts]
    if not calls and not parts:
        return []
    fields = {"tool_calls": calls} if calls else {}
    return [{"role": "assistant", "content": content, **fields}]


def _response(
    index: int, text: str, choice: Mapping[str, Any], completion: Mapping[str, Any]
) -> dict[str, Any]:
    response: dict[str, Any] = {"id": str(index), "text": text, "sample": index}
    if isinstance(completion.get("model"), str) and completion["model"]:
        response["model"] = completion["model"]
    if choice.get("log_probability") is not None:
        response["log_probability"] = choice["log_probability"]
    metadata = {name: choice[name] for name in _METADATA_FIELDS if choice.get(name) is not None}
    if metadata:
        response["metadata"] = metadata
    return response


def _index(choice: Mapping[str, Any]) -> int:
    index = choice.get("index")
    return index if isinstance(index, int) and index >= 0 else 0
