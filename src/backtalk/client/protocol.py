"""Protocol between client and gateway, independent of the HTTP library.

A flow is a generator. It yields a request, receives the response, and returns the result. The
synchronous and the asynchronous client both run it.
"""

from __future__ import annotations

import random
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import from_json, to_json

from backtalk.errors import BacktalkError
from backtalk.feedback import AnyFeedback, new_id
from backtalk.feedback.record import Record

MAX_ROWS = 500
"""Maximum number of rows in one request."""

_BACKOFF = 0.5
"""Delay before the first retry, in seconds."""
_MAX_BACKOFF = 8.0
"""Maximum delay between retries, in seconds."""

FeedbackInput = AnyFeedback | Mapping[str, Any]
"""A feedback record, or the fields of one."""

STATUS_ALIASES = {
    "kept": "stored",
    "known": "duplicate",
    "waiting": "pending",
    "spooled": "queued",
    "refused": "rejected",
}
"""Present names of the statuses that earlier versions of the gateway report."""


class SendError(BacktalkError):
    """Feedback that the gateway did not accept."""


@dataclass(frozen=True)
class GatewayRequest:
    """HTTP request to the gateway."""

    method: str
    path: str
    body: bytes = b""
    delay: float = 0.0
    """Delay before it is sent, in seconds."""


@dataclass(frozen=True)
class GatewayResponse:
    """HTTP response of the gateway."""

    status: int
    """HTTP status; 0 if there was no response."""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""
    """Error message if there was no response."""


@dataclass(frozen=True)
class SendResult:
    """Result for one piece of feedback."""

    id: str | None
    interaction: str | None
    status: str
    """``"stored"``, ``"duplicate"``, ``"pending"`` until its interaction arrives, ``"queued"`` on
    the gateway's disk, ``"rejected"`` or ``"conflict"``."""
    reason: str = ""

    @property
    def safe(self) -> bool:
        """True if the gateway has accepted the feedback."""
        return self.status not in {"rejected", "conflict"}


RequestFlow = Generator[GatewayRequest, GatewayResponse, Any]
"""Generator that yields requests, receives their responses, and returns a result."""


def send_feedback(rows: Sequence[FeedbackInput], *, retries: int) -> RequestFlow:
    """Send feedback, and return a list of results.

    Every row gets an id before it is sent, so that retries are idempotent.

    Raises
    ------
    SendError
        If the gateway cannot be reached, or does not authorise the client.
    """
    identified = [_with_id(row) for row in rows]
    results: list[SendResult] = []
    for start in range(0, len(identified), MAX_ROWS):
        body = to_json({"feedback": identified[start : start + MAX_ROWS]})
        response = yield from request_json("POST", "/feedback", body, retries=retries)
        results += [
            SendResult(
                row.get("id"),
                row.get("interaction"),
                STATUS_ALIASES.get(row["status"], row["status"]),
                row.get("reason", ""),
            )
            for row in response["results"]
        ]
    return results


def request_json(method: str, path: str, body: bytes = b"", *, retries: int) -> RequestFlow:
    """Send a request, with retries after transient failures, and return the JSON of the response.

    Parameters
    ----------
    method : str
        HTTP method.
    path : str
        Path below the base URL.
    body : bytes, default b""
        Body of the request.
    retries : int
        Maximum number of retries.

    Raises
    ------
    SendError
        If the gateway cannot be reached, or rejects the request.
    """
    delay = 0.0
    response = GatewayResponse(0)
    for attempt in range(retries + 1):
        response = yield GatewayRequest(method, path, body, delay)
        if 200 <= response.status < 300:
            return from_json(response.body)
        if 0 < response.status < 500 and response.status != 429:
            break
        backoff = min(_BACKOFF * 2**attempt, _MAX_BACKOFF) * random.uniform(0.5, 1)  # noqa: S311
        delay = max(backoff, _retry_after(response.headers.get("retry-after")))
    raise _error(response, retries)


def single_result(results: Sequence[SendResult]) -> SendResult:
    """Return the only result.

    Raises
    ------
    SendError
        If the gateway rejected the feedback.
    """
    (result,) = results
    if not result.safe:
        raise SendError(
            f"The gateway rejects this feedback: {result.reason}",
            "Correct what the message names and send it again",
        )
    return result


def _with_id(row: FeedbackInput) -> dict[str, Any]:
    fields = row.to_dict() if isinstance(row, Record) else dict(row)
    fields.setdefault("id", new_id())
    return fields


def _retry_after(value: str | None) -> float:
    try:
        return min(float(value or 0), 60.0)
    except ValueError:
        return 0.0


def _error(response: GatewayResponse, retries: int) -> SendError:
    if response.status == 0:
        return SendError(
            f"The gateway could not be reached, tried {retries + 1} times: {response.failure}",
            "Check that it runs, and its address",
        )
    try:
        message = from_json(response.body)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        message = response.body[:200].decode("utf-8", "replace")
    return SendError(f"The gateway answered {response.status}: {message}")
