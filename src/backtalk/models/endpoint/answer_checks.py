"""Checks of what servers say of an answer: its log-probabilities, its tokens, and its beginning.

Servers differ. llama.cpp omits or merges log-probabilities at a stop text, reports the tokens of
one answer for several, and repeats the text that an answer continues.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.feedback.chat_answer import content_text


def log_probabilities(completion: Mapping[str, Any], *, has_stop: bool) -> list[float | None]:
    """Return the log-probability of each choice, in nats; ``None`` if it is unknown.

    It is unknown where it is not reported, or where the number of its entries is not the number of
    tokens that the usage reports. Without usage, it is unknown if the request has a stop text.

    Parameters
    ----------
    completion : Mapping[str, Any]
        Completion of the chat protocol.
    has_stop : bool
        If true, the request has a stop text.
    """
    choices = completion.get("choices") or []
    entries = [_entries(choice) for choice in choices]
    tokens = _reported_tokens(completion)
    count = sum(map(len, entries))
    if has_stop if tokens is None else count != tokens:
        return [None] * len(entries)
    return [_total(item) for item in entries]


def count_completion_tokens(completion: Mapping[str, Any]) -> int | None:
    """Return the number of tokens of all choices, ``None`` if no usage is reported.

    Some servers report the tokens of one choice for several. The log-probabilities, or the pieces
    of a stream, then show that there were more: each is a token at least.
    """
    tokens = _reported_tokens(completion)
    value = completion.get("choices")
    choices = [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
    if tokens is None or len(choices) < 2:
        return tokens
    return max(tokens, sum(map(_least_tokens, choices)))


def _least_tokens(choice: Mapping[str, Any]) -> int:
    pieces = choice.get("pieces")
    return max(len(_entries(choice)), pieces if isinstance(pieces, int) else 1)


def begun_text(messages: Any) -> str:
    """Return the text of the last message if it is an assistant's, which the answer continues."""
    last = messages[-1] if isinstance(messages, Sequence) and messages else None
    if not isinstance(last, Mapping) or last.get("role") != "assistant" or last.get("tool_calls"):
        return ""
    return content_text(last.get("content"))


def without_begun_text(completion: Mapping[str, Any], messages: Any) -> Mapping[str, Any]:
    """Return a completion with the continuation only, if its choices repeat the begun text.

    An answer to messages whose last one is by the assistant continues that message.

    Parameters
    ----------
    completion : Mapping[str, Any]
        Completion of the chat protocol that was not streamed.
    messages : Any
        Messages of the request.
    """
    begun = begun_text(messages)
    choices = completion.get("choices")
    if not begun or not isinstance(choices, list):
        return completion
    return {**completion, "choices": [_continuation(choice, begun) for choice in choices]}


def _continuation(choice: Any, begun: str) -> Any:
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return choice
    content = message.get("content")
    if not isinstance(content, str | list) or not content_text(content).startswith(begun):
        return choice
    return {**choice, "message": {**message, "content": _without_start(content, len(begun))}}


def _without_start(content: str | list[Any], length: int) -> str | list[Any]:
    """Return the content of a message without the first characters of its text."""
    if isinstance(content, str):
        return content[length:]
    parts = []
    for part in content:
        text = content_text([part])
        rest, length = text[length:], max(length - len(text), 0)
        if rest == text:
            parts.append(part)
        elif rest:
            fields = part if isinstance(part, dict) else {"type": "text"}
            parts.append({**fields, "text": rest})
    return parts


def _reported_tokens(completion: Mapping[str, Any]) -> int | None:
    usage = completion.get("usage")
    tokens = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return tokens if isinstance(tokens, int) else None


def _entries(choice: Any) -> list[Any]:
    logprobs = choice.get("logprobs") if isinstance(choice, Mapping) else None
    if not isinstance(logprobs, Mapping):
        return []
    listed = (logprobs.get("content"), logprobs.get("refusal"))
    return [entry for entries in listed if isinstance(entries, list) for entry in entries]


def _total(entries: Sequence[Any]) -> float | None:
    """Return the sum of the log-probabilities, ``None`` if there are none or one is no number."""
    if not entries:
        return None
    try:
        total = math.fsum(float(token["logprob"]) for token in entries)
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    return min(total, 0.0) if math.isfinite(total) else None
