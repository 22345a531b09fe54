"""What an endpoint's failures mean, in the words of this library."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backtalk.models.errors import (
    AuthenticationError,
    BadRequest,
    ConnectionFailed,
    ContextTooLong,
    InvalidResponse,
    ModelError,
    RateLimited,
    RequestTimeout,
    UnknownModel,
)

if TYPE_CHECKING:
    from openai import APIStatusError, OpenAIError

_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_TOO_LONG = re.compile(
    r"maximum context length|context (?:size|window|length)|prompt is too long|too many tokens",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Where:
    """What was called, for the wording of errors."""

    model: str
    address: str
    key_variable: str
    key: str | None
    timeout: float
    retries: int


def explain_failure(error: OpenAIError, where: Where) -> ModelError:
    """Return the library's own error for one of the client's."""
    import openai  # noqa: PLC0415 - takes half a second to load

    if isinstance(error, openai.APIConnectionError):
        return _no_answer(error, where, timed_out=isinstance(error, openai.APITimeoutError))
    if isinstance(error, openai.APIStatusError):
        return _refusal(error, where)
    return InvalidResponse(
        f"{where.address} gave an answer for {where.model!r} that does not keep to the protocol: "
        f"{_said(error, where)}",
        "Check that the address is that of an OpenAI-compatible server; it often ends in /v1",
        may_have_cost=True,
    )


def _no_answer(error: OpenAIError, where: Where, *, timed_out: bool) -> ModelError:
    sent = type(error.__cause__).__name__ not in _NEVER_SENT
    tries = where.retries + 1
    if timed_out:
        return RequestTimeout(
            f"{where.address} did not answer for {where.model!r} within {where.timeout:g} seconds, "
            f"tried {tries} times",
            "Give it a longer timeout, or lower max_tokens or the concurrency",
            may_have_cost=sent,
        )
    return ConnectionFailed(
        f"{where.address} could not be reached for {where.model!r}, tried {tries} times",
        "Check that the server runs, and the address",
        may_have_cost=sent,
    )


def _refusal(error: APIStatusError, where: Where) -> ModelError:
    status, said = error.status_code, _said(error, where)
    named = f"{where.address} ({status})"
    if status in {401, 403}:
        missing = f"Set {where.key_variable} to a key for this address"
        wrong = f"Check that the key in {where.key_variable} is right and may use the model"
        return AuthenticationError(
            f"{named} does not let this key use {where.model!r}"
            if where.key
            else f"{named} wants a key for {where.model!r}",
            wrong if where.key else missing,
        )
    if status == 404:
        return UnknownModel(
            f"{named} has no model {where.model!r}",
            "Check the model's name, and the address, which often ends in /v1",
        )
    if status == 429:
        return RateLimited(
            f"{named} takes no more calls for {where.model!r}: {said}",
            "Wait, lower the concurrency, or raise the quota with the provider",
        )
    if status >= 500:
        return ConnectionFailed(
            f"{named} failed for {where.model!r}, tried {where.retries + 1} times: {said}",
            "See the server's log, or try again later",
        )
    if getattr(error, "code", None) in _TOO_LONG_CODES or _TOO_LONG.search(said):
        return ContextTooLong(
            f"The prompt is too long for {where.model!r} at {named}: {said}",
            "Shorten the prompt, lower max_tokens, or use a model with a longer context",
        )
    return BadRequest(
        f"{named} refused a request for {where.model!r}: {said}",
        "Change what it names, or leave it out",
    )


def _said(error: OpenAIError, where: Where) -> str:
    body: Any = getattr(error, "body", None)
    message = body.get("message") if isinstance(body, dict) else None
    said = " ".join(str(message or error).split())
    if where.key:
        said = said.replace(where.key, "***")
    return said if len(said) <= 240 else said[:237] + "..."
