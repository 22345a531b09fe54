"""What is said between a client and a gateway, without the saying of it.

A conversation is a generator: it yields a request, is sent the reply, and returns the result. The
clients carry it out, one of them waiting, the other asynchronously.
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

MOST_ROWS = 500
"""How many rows one request holds."""

_PAUSE = 0.5
_LONGEST_PAUSE = 8.0


class NotSent(BacktalkError):
    """Feedback that the gateway did not take."""


@dataclass(frozen=True)
class Ask:
    """A request."""

    method: str
    path: str
    body: bytes = b""
    wait: float = 0.0
    """Seconds to wait before it is sent."""


@dataclass(frozen=True)
class Reply:
    """What came back; status 0 where nothing did."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    failure: str = ""


@dataclass(frozen=True)
class Sent:
    """What became of a piece of feedback."""

    id: str | None
    interaction: str | None
    status: str
    """``"kept"``, ``"known"``, ``"waiting"`` for its interaction, ``"spooled"`` on the gateway's
    disk, ``"refused"`` or ``"conflict"``."""
    reason: str = ""

    @property
    def safe(self) -> bool:
        """Whether the gateway has it."""
        return self.status not in {"refused", "conflict"}


Conversation = Generator[Ask, Reply, Any]


def sending(rows: Sequence[AnyFeedback | Mapping[str, Any]], *, retries: int) -> Conversation:
    """Send feedback; return what became of each.

    Every row has an id before it is sent, so that sending it again does no harm.

    Raises
    ------
    NotSent
        If the gateway cannot be reached, or does not let this caller in.
    """
    named = [_named(row) for row in rows]
    sent: list[Sent] = []
    for start in range(0, len(named), MOST_ROWS):
        body = to_json({"feedback": named[start : start + MOST_ROWS]})
        reply = yield from asking("POST", "/feedback", body, retries=retries)
        sent += [
            Sent(row.get("id"), row.get("interaction"), row["status"], row.get("reason", ""))
            for row in reply["results"]
        ]
    return sent


def asking(method: str, path: str, body: bytes = b"", *, retries: int) -> Conversation:
    """Ask the gateway, again after failures that may pass; return the JSON that it answers.

    Raises
    ------
    NotSent
        If it cannot be reached or refuses.
    """
    wait = 0.0
    reply = Reply(0)
    for attempt in range(retries + 1):
        reply = yield Ask(method, path, body, wait)
        if 200 <= reply.status < 300:
            return from_json(reply.body)
        if 0 < reply.status < 500 and reply.status != 429:
            break
        drawn = min(_PAUSE * 2**attempt, _LONGEST_PAUSE) * random.uniform(0.5, 1)  # noqa: S311
        wait = max(drawn, _asked_wait(reply.headers.get("retry-after")))
    raise _failure(reply, retries)


def single(sent: Sequence[Sent]) -> Sent:
    """Return what became of a single row.

    Raises
    ------
    NotSent
        If the gateway refused it.
    """
    (one,) = sent
    if not one.safe:
        raise NotSent(
            f"The gateway refuses this feedback: {one.reason}", "Change what it names and try again"
        )
    return one


def _named(row: AnyFeedback | Mapping[str, Any]) -> dict[str, Any]:
    fields = row.to_dict() if isinstance(row, Record) else dict(row)
    fields.setdefault("id", new_id())
    return fields


def _asked_wait(value: str | None) -> float:
    try:
        return min(float(value or 0), 60.0)
    except ValueError:
        return 0.0


def _failure(reply: Reply, retries: int) -> NotSent:
    if reply.status == 0:
        return NotSent(
            f"The gateway could not be reached, tried {retries + 1} times: {reply.failure}",
            "Check that it runs, and its address",
        )
    try:
        said = from_json(reply.body)["error"]["message"]
    except (ValueError, LookupError, TypeError):
        said = reply.body[:200].decode("utf-8", "replace")
    return NotSent(f"The gateway answered {reply.status}: {said}")
