"""A request that is being answered, and how its answer is kept."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request

from backtalk.feedback import Interaction
from backtalk.serve.backends.upstream import UpstreamRequest, request_headers
from backtalk.serve.errors import APIError
from backtalk.serve.interaction_log import (
    RequestRecord,
    chat_interactions,
    interaction_id,
    text_interactions,
)
from backtalk.serve.services import Services

log = logging.getLogger(__name__)

INTERACTION_HEADER = "x-backtalk-interaction"
POLICY_HEADER = "x-backtalk-policy"


@dataclass(frozen=True)
class EndpointKind:
    """What tells chat completions from plain ones."""

    path: str
    object: str
    interactions: Callable[[RequestRecord, Mapping[str, Any]], list[Interaction]]


CHAT = EndpointKind("/chat/completions", "chat.completion", chat_interactions)
TEXT = EndpointKind("/completions", "text_completion", text_interactions)


@dataclass(frozen=True)
class CompletionRequest:
    """A request for completions."""

    services: Services
    request: Request
    kind: EndpointKind
    exchange: RequestRecord
    body: bytes

    @property
    def asked(self) -> Mapping[str, Any]:
        """The body of the request."""
        return self.exchange.asked

    @property
    def streams(self) -> bool:
        """Whether the answer is wanted piece by piece."""
        return self.asked.get("stream") is True

    def answered_by(self, policy: str | None, *, propensity: float | None) -> CompletionRequest:
        """Return the same request with the policy that answers it, ``None`` where several do."""
        exchange = replace(self.exchange, policy=policy, propensity=propensity)
        return replace(self, exchange=exchange)

    def note(self, **notes: Any) -> None:
        """Keep something with the interaction."""
        self.exchange.notes.update(notes)

    def headers(self) -> dict[str, str]:
        """Return the headers that every answer has."""
        results = {INTERACTION_HEADER: self.exchange.id}
        if self.exchange.policy is not None:
            results[POLICY_HEADER] = self.exchange.policy
        return results

    def call(self) -> UpstreamRequest:
        """Return the request for an upstream."""
        return upstream_request(self.services, self.request, self.kind.path, self.body, self.asked)

    def keep(self, answer: Mapping[str, Any]) -> None:
        """Keep the interaction. The answer does not suffer if that fails."""
        if self.services.traces is not None:
            self.services.traces.answered(self.exchange, answer)
        if not answer.get("choices"):
            return
        try:
            interactions = self.kind.interactions(self.exchange, answer)
        except Exception:
            self.services.metrics.unlogged.inc()
            log.exception("The answer %s could not be read", self.exchange.id)
            return
        self.services.keep(self.exchange.project, interactions)


def request_record(
    services: Services, request: Request, project: str, asked: Mapping[str, Any]
) -> RequestRecord:
    """Return what is known of a request before it is answered."""
    headers = request.headers
    user = asked.get("user") or asked.get("safety_identifier") or headers.get("x-backtalk-user")
    return RequestRecord(
        id=interaction_id(project, services.settings.project),
        project=project,
        asked=asked,
        user=user if isinstance(user, str) and user else None,
        session=headers.get("x-backtalk-session") or None,
        parent=headers.get("x-backtalk-parent") or None,
        notes={"endpoint": request.scope["path"]},
    )


def upstream_request(
    services: Services,
    request: Request,
    path: str,
    body: bytes,
    asked: Mapping[str, Any] | None = None,
) -> UpstreamRequest:
    """Return a request for an upstream that may be sent twice."""
    given = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.scope["headers"]]
    query = request.scope["query_string"].decode("latin-1")
    return UpstreamRequest(
        method=request.method,
        path=f"{path}?{query}" if query else path,
        headers=request_headers(given, keep_key=not services.keyring.asked_for),
        body=body,
        asked=asked,
        repeatable=True,
    )


def parse_body(body: bytes) -> dict[str, Any]:
    """Return the body of a request that names a model.

    Raises
    ------
    Refused
        If it is not JSON, or names none.
    """
    try:
        asked = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise APIError(400, f"The body is not JSON: {error}") from None
    if not isinstance(asked, dict):
        raise APIError(400, "The body is not a JSON object")
    if not isinstance(asked.get("model"), str) or not asked["model"]:
        raise APIError(400, "The body names no model", param="model")
    return asked
