"""Reading what an OpenAI-compatible server answers, whole or piece by piece."""

from __future__ import annotations

import math
from typing import Any

from backtalk.feedback.interaction import Message
from backtalk.models.protocol import Completion, FinishReason, Usage

_REASONS: dict[str, FinishReason] = {
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


MALFORMED = (ValueError, AttributeError, TypeError, IndexError, AssertionError)
"""What reading a reply raises that does not keep to the protocol."""


def as_completion(reply: Any, *, model: str) -> tuple[Completion, Usage | None]:
    """Return the completion in a reply, and the tokens used where the server says so.

    Raises
    ------
    MALFORMED
        If the reply is not one of the protocol's.
    """
    if not getattr(reply, "choices", None):
        raise ValueError(f"it has no choices: {str(reply)[:80]}")
    choice = reply.choices[0]
    said = choice.message
    text = _valid(said.content or getattr(said, "refusal", None) or "")
    calls = tuple(call.model_dump(mode="json", exclude_none=True) for call in said.tool_calls or ())
    message = Message(role="assistant", content=text or None, tool_calls=calls) if calls else None
    used = reply.usage
    return Completion(
        text=text,
        finish_reason=_REASONS.get(choice.finish_reason or "", "stop"),
        model=reply.model or model,
        log_probability=_total(choice.logprobs),
        message=message,
    ), None if used is None else Usage(1, used.prompt_tokens or 0, used.completion_tokens or 0)


def piece_of(chunk: Any) -> str:
    """Return the text that a chunk of a stream adds."""
    return (chunk.choices[0].delta.content or "") if chunk.choices else ""


def _total(log_probabilities: Any) -> float | None:
    """Return the summed log-probability, ``None`` where it was not reported."""
    content = getattr(log_probabilities, "content", None)
    if not content:
        return None
    total = math.fsum(token.logprob for token in content)
    return min(total, 0.0) if math.isfinite(total) else None


def _valid(text: str) -> str:
    """Return a text without lone surrogates, which are not characters."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
