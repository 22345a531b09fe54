"""Translation of the errors of the ``openai`` client and of streams into this library's."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from backtalk.models.endpoint.dialect import server_message
from backtalk.models.endpoint.response import MALFORMED, as_dict
from backtalk.models.endpoint.stream_assembler import ERROR_EVENT
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

_SAMPLING = ("temperature", "top_p", "max_tokens", "max_completion_tokens", "stop")
_NEVER_SENT = {"ConnectError", "ConnectTimeout", "PoolTimeout"}
_TOO_LONG_CODES = {"context_length_exceeded", "exceed_context_size_error"}
_TOO_LONG = re.compile(
    r"maximum context length|context (?:size|window|length)|prompt is too long|too many tokens",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class EndpointInfo:
    """Description of an endpoint, for error messages."""

    model: str
    address: str
    key_variable: str
    """Name of the environment variable that holds the key."""
    key: str | None
    timeout: float
    """Timeout of an attempt, in seconds."""
    retries: int


def translate_error(error: OpenAIError, endpoint: EndpointInfo) -> ModelError:
    """Return this library's error for one of the client's."""
    import openai  # noqa: PLC0415 - takes half a second to load

    if isinstance(error, openai.APIConnectionError):
        return _connection_error(
            error, endpoint, timed_out=isinstance(error, openai.APITimeoutError)
        )
    if isinstance(error, openai.APIStatusError):
        return _status_error(error, endpoint)
    return InvalidResponse(
        f"The response of {endpoint.address} for {endpoint.model!r} violates the protocol: "
        f"{_message(error, endpoint)}",
        "Check that the address is that of an OpenAI-compatible server; it often ends in /v1",
        may_have_cost=True,
    )


def incomplete_answer(completion: Mapping[str, Any], endpoint: EndpointInfo) -> ModelError | None:
    """Return the error for an answer that is not whole, ``None`` for others.

    Parameters
    ----------
    completion : Mapping[str, Any]
        Completion assembled from a stream.
    endpoint : EndpointInfo
        Endpoint that streamed it.
    """
    error = _error_in(completion)
    if error is None and not completion.get("cut"):
        return None
    reason = completion.get("cut", ERROR_EVENT)
    message = server_message(error)
    return InvalidResponse(
        f"The stream of {endpoint.address} for {endpoint.model!r} ended {reason}"
        + (f": {_printable(message, endpoint)}" if message else ""),
        "See the server's log, or try again later",
        may_have_cost=True,
    )


def reported_error(response: Any, endpoint: EndpointInfo) -> ModelError | None:
    """Return the error that an answer reports, or its first choice; ``None`` if it has none.

    Parameters
    ----------
    response : Any
        Answer of the client that was not streamed.
    endpoint : EndpointInfo
        Endpoint that gave it.
    """
    try:
        error = _error_in(as_dict(response))
    except MALFORMED:
        return None
    if error is None:
        return None
    message = _printable(server_message(error) or str(error), endpoint)
    return InvalidResponse(
        f"The response of {endpoint.address} for {endpoint.model!r} has an error: {message}",
        "See the server's log, or try again later",
        may_have_cost=True,
    )


def _error_in(completion: Mapping[str, Any]) -> Any:
    """Return the error of a completion or of one of its choices, ``None`` if there is none."""
    parts = [completion, *(completion.get("choices") or ())]
    return next((part["error"] for part in parts if part.get("error")), None)


def _connection_error(error: OpenAIError, endpoint: EndpointInfo, *, timed_out: bool) -> ModelError:
    sent = type(error.__cause__).__name__ not in _NEVER_SENT
    tries = endpoint.retries + 1
    if timed_out:
        return RequestTimeout(
            f"{endpoint.address} did not answer for {endpoint.model!r} within "
            f"{endpoint.timeout:g} seconds, tried {tries} times",
            "Use a longer timeout, or lower max_tokens or the concurrency",
            may_have_cost=sent,
        )
    return ConnectionFailed(
        f"{endpoint.address} could not be reached for {endpoint.model!r}"
        + (f", tried {tries} times" if tries > 1 else ""),
        "Check that the server runs, and the address",
        may_have_cost=sent,
    )


def _status_error(error: APIStatusError, endpoint: EndpointInfo) -> ModelError:
    status, message = error.status_code, _message(error, endpoint)
    server = f"{endpoint.address} ({status})"
    if status in {401, 403}:
        return _authentication_error(server, endpoint)
    if status == 404:
        return UnknownModel(
            f"{server} has no model {endpoint.model!r}",
            "Check the model's name, and the address, which often ends in /v1",
        )
    if status == 429:
        return RateLimited(
            f"{server} accepts no more calls for {endpoint.model!r}: {message}",
            "Wait, lower the concurrency, or raise the quota with the provider",
        )
    if status >= 500:
        return ConnectionFailed(
            f"{server} failed for {endpoint.model!r}, tried {endpoint.retries + 1} times: "
            f"{message}",
            "See the server's log, or try again later",
        )
    if str(getattr(error, "code", None)) in _TOO_LONG_CODES or _TOO_LONG.search(message):
        return ContextTooLong(
            f"The prompt is too long for {endpoint.model!r} at {server}: {message}",
            "Shorten the prompt, lower max_tokens, or use a model with a longer context",
        )
    return BadRequest(
        f"{server} rejected a request for {endpoint.model!r}: {message}",
        _mend_of_parameter(message),
    )


def _mend_of_parameter(message: str) -> str:
    names = [name for name in _SAMPLING if re.search(rf"(?<!\w){name}(?!\w)", message)]
    if names:
        return (
            f"Remove or change {names[0]} under `sampling` in the policy's decoder; without it, "
            "the server's default applies"
        )
    if "logprob" in message:
        return "Remove log_probabilities from the policy's model"
    return "Correct or remove the parameter that it names"


def _authentication_error(server: str, endpoint: EndpointInfo) -> AuthenticationError:
    if endpoint.key:
        return AuthenticationError(
            f"{server} does not let this key use {endpoint.model!r}",
            f"Check that the key in {endpoint.key_variable} is right and may use the model",
        )
    return AuthenticationError(
        f"{server} requires a key for {endpoint.model!r}",
        f"Set {endpoint.key_variable} to a key for this address",
    )


def _message(error: OpenAIError, endpoint: EndpointInfo) -> str:
    """Return the server's message in one line, shortened and without the key."""
    message = server_message(getattr(error, "body", None)) or " ".join(str(error).split())
    return _printable(message, endpoint)


def _printable(message: str, endpoint: EndpointInfo) -> str:
    if endpoint.key:
        message = message.replace(endpoint.key, "***")
    return message if len(message) <= 240 else message[:237] + "..."
