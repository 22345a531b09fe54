"""Parsing of responses of OpenAI-compatible servers, complete or streamed."""

from __future__ import annotations

import math
from typing import Any

from backtalk.feedback.interaction import Message
from backtalk.models.protocol import Completion, FinishReason, TokenAlternatives, Usage

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


MALFORMED = (ValueError, AttributeError, TypeError, IndexError, AssertionError)
"""Exceptions raised while parsing a response that violates the protocol."""


def parse_completion(response: Any, *, model: str) -> tuple[Completion, Usage | None]:
    """Return the completion in a response, and the usage if the server reports it.

    Raises
    ------
    MALFORMED
        If the response violates the protocol.
    """
    if not getattr(response, "choices", None):
        raise ValueError(f"it has no choices: {str(response)[:80]}")
    choice = response.choices[0]
    answer = choice.message
    text = _replace_surrogates(answer.content or getattr(answer, "refusal", None) or "")
    calls = tuple(
        call.model_dump(mode="json", exclude_none=True) for call in answer.tool_calls or ()
    )
    message = Message(role="assistant", content=text or None, tool_calls=calls) if calls else None
    used = response.usage
    return Completion(
        text=text,
        finish_reason=_REASONS.get(choice.finish_reason or "", "stop"),
        model=response.model or model,
        log_probability=_total(choice.logprobs),
        message=message,
        tokens=_tokens(choice.logprobs),
    ), None if used is None else Usage(1, used.prompt_tokens or 0, used.completion_tokens or 0)


def chunk_text(chunk: Any) -> str:
    """Return the text in a chunk of a stream."""
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _total(log_probabilities: Any) -> float | None:
    """Return the sum of the log-probabilities, or ``None`` if they were not reported."""
    content = getattr(log_probabilities, "content", None)
    if not content:
        return None
    total = math.fsum(token.logprob for token in content)
    return min(total, 0.0) if math.isfinite(total) else None


def _tokens(log_probabilities: Any) -> tuple[TokenAlternatives, ...] | None:
    """Return the tokens with their alternatives, or ``None`` if none were reported."""
    content = getattr(log_probabilities, "content", None) or ()
    if not any(token.top_logprobs for token in content):
        return None
    return tuple(
        TokenAlternatives(
            text=_replace_surrogates(token.token),
            alternatives={
                _replace_surrogates(other.token): other.logprob
                for other in token.top_logprobs or ()
                if math.isfinite(other.logprob)
            },
        )
        for token in content
    )


def _replace_surrogates(text: str) -> str:
    """Return a text in which lone surrogates, which are not characters, are replaced."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
