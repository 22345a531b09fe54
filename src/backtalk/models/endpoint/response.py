"""Parsing of responses of OpenAI-compatible servers, complete or streamed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from backtalk.feedback.chat_answer import answer_reasoning, answer_text, other_parts
from backtalk.feedback.interaction import Message
from backtalk.models.endpoint.answer_checks import log_probabilities, without_begun_text
from backtalk.models.protocol import (
    Completion,
    FinishReason,
    Request,
    TokenAlternatives,
    Usage,
)

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


MALFORMED = (ValueError, AttributeError, TypeError, LookupError, AssertionError)
"""Exceptions raised while parsing a response that violates the protocol."""


def parse_completion(
    response: Any, request: Request, *, model: str
) -> tuple[Completion, Usage | None]:
    """Return the completion in a response, and the usage if the server reports it.

    Parameters
    ----------
    response : Any
        Response of the client, or the completion assembled from a stream as a dictionary.
    request : Request
        Request that it answers.
    model : str
        Name of the model, if the response has none.

    Raises
    ------
    MALFORMED
        If the response violates the protocol.
    """
    body = response
    if not isinstance(response, dict):
        last = [message.to_dict() for message in request.messages[-1:]]
        body = without_begun_text(as_dict(response), last)
    if not body.get("choices"):
        raise ValueError(f"it has no choices: {str(response)[:80]}")
    (choice,) = body["choices"][:1]
    answer = choice["message"]
    text = _replace_surrogates(answer_text(answer))
    usage = body.get("usage")
    (log_probability,) = log_probabilities(
        {**body, "choices": [choice]}, has_stop=bool(request.sampling.stop)
    )
    return Completion(
        text=text,
        finish_reason=_REASONS.get(choice.get("finish_reason") or "", "stop"),
        model=body.get("model") or model,
        log_probability=log_probability,
        message=_message(answer, text),
        reasoning=_replace_surrogates(answer_reasoning(answer)) or None,
        tokens=_tokens(choice.get("logprobs")),
    ), None if usage is None else Usage(
        1, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    )


def as_dict(model: Any) -> dict[str, Any]:
    """Return an object of the client as a dictionary; what the protocol does not know stays."""
    fields: dict[str, Any] = model.model_dump(mode="json", warnings=False)
    return fields


def _message(answer: Mapping[str, Any], text: str) -> Message | None:
    """Return the message of an answer whose text is not all of it."""
    calls = [
        {name: value for name, value in call.items() if value is not None}
        for call in answer.get("tool_calls") or ()
    ]
    if not calls and answer.get("function_call"):
        calls = [{"type": "function", "function": answer["function_call"]}]
    parts = other_parts(answer)
    if not calls and not parts:
        return None
    begin = [{"type": "text", "text": text}] if text else []
    content = (*begin, *parts) if parts else text or None
    return Message(role="assistant", content=content, tool_calls=tuple(calls))


def _tokens(logprobs: Any) -> tuple[TokenAlternatives, ...] | None:
    """Return the tokens with their alternatives, or ``None`` if none were reported."""
    content = (logprobs or {}).get("content") or ()
    if not any(token.get("top_logprobs") for token in content):
        return None
    return tuple(
        TokenAlternatives(
            text=_replace_surrogates(token["token"]),
            alternatives={
                _replace_surrogates(other["token"]): other["logprob"]
                for other in token.get("top_logprobs") or ()
                if math.isfinite(other["logprob"])
            },
        )
        for token in content
    )


def _replace_surrogates(text: str) -> str:
    """Return a text in which lone surrogates, which are not characters, are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
