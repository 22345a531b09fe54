"""Completion request in progress, and the logging of its completion."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from starlette.requests import Request

from backtalk.feedback import Interaction
from backtalk.serve.backends.forwarded_headers import request_headers
from backtalk.serve.backends.policy_resolver import parse_model_name
from backtalk.serve.backends.upstream import UpstreamRequest, dump_json
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_stream import (
    CompletionStreamReader,
    error_event,
    read_completion,
)
from backtalk.serve.interaction_log import (
    RequestRecord,
    chat_interactions,
    completion_notes,
    completion_prompts,
    interaction_id,
    text_interactions,
)
from backtalk.serve.paths import DEPLOYMENT
from backtalk.serve.services import Services

log = logging.getLogger(__name__)

INTERACTION_HEADER = "x-backtalk-interaction"
POLICY_HEADER = "x-backtalk-policy"
UPSTREAM_ID_HEADER = "x-backtalk-upstream-id"
"""Header with the upstream's own id of a completion that was not streamed."""


class StreamReader(Protocol):
    """Reader of the events of one stream, which assembles the completion."""

    @property
    def is_complete(self) -> bool:
        """If true, the last event has been read."""

    def read(self, event: bytes) -> bytes:
        """Read an event and return it with the id of the interaction."""

    def completion(self) -> Mapping[str, Any]:
        """Return the completion so far, as a chat completion or a text completion."""


@dataclass(frozen=True)
class EndpointKind:
    """API of an endpoint: its path, and how its answers are read, forwarded and logged."""

    path: str
    object: str
    """Value of the completion's ``object`` field."""
    make_interactions: Callable[[RequestRecord, Mapping[str, Any]], list[Interaction]]
    operation: str = "chat"
    """Name of the operation in traces."""
    read_body: Callable[[bytes, str], tuple[Mapping[str, Any] | None, bytes]] = read_completion
    """Returns the completion in a body, ``None`` if it has none, and the body with another id."""
    stream_reader: Callable[[str], StreamReader] = CompletionStreamReader
    """Returns a reader of a stream, given the id of the interaction."""
    error_event: Callable[[APIError], bytes] = error_event
    """Returns the event that ends a stream with an error."""
    id_prefix: str = ""
    """Beginning of the ids of interactions."""
    has_stream_options: bool = False
    """If true, streams end with the usage if ``stream_options`` of the request says so."""


CHAT = EndpointKind(
    "/chat/completions", "chat.completion", chat_interactions, has_stream_options=True
)
TEXT = EndpointKind(
    "/completions",
    "text_completion",
    text_interactions,
    "text_completion",
    has_stream_options=True,
)


@dataclass(frozen=True)
class CompletionRequest:
    """Request for a chat completion or a text completion."""

    services: Services
    request: Request
    kind: EndpointKind
    record: RequestRecord
    raw_body: bytes

    @property
    def body(self) -> Mapping[str, Any]:
        """Parsed body of the request."""
        return self.record.body

    @property
    def is_streaming(self) -> bool:
        """If true, the client requests server-sent events."""
        return self.body.get("stream") is True

    def with_policy(self, policy: str | None, *, propensity: float | None) -> CompletionRequest:
        """Return the request with the policy that answers it, ``None`` if several do."""
        return replace(self, record=replace(self.record, policy=policy, propensity=propensity))

    def note(self, **notes: Any) -> None:
        """Add fields to the interaction's ``metadata.gateway``."""
        self.record.notes.update(notes)

    def response_headers(self) -> dict[str, str]:
        """Return the headers of the response; after logging, with the upstream's id."""
        headers = {INTERACTION_HEADER: self.record.id}
        if self.record.policy is not None:
            headers[POLICY_HEADER] = self.record.policy
        upstream_id = self.record.notes.get("upstream_id", "")
        if upstream_id and upstream_id.isascii() and upstream_id.isprintable():
            headers[UPSTREAM_ID_HEADER] = upstream_id
        return headers

    def to_upstream(self) -> UpstreamRequest:
        """Return the request for an upstream."""
        return upstream_request(
            self.services, self.request, self.kind.path, self.raw_body, self.body
        )

    def log_completion(self, completion: Mapping[str, Any]) -> None:
        """Append the interaction to the log. Errors are logged but not raised."""
        if self.services.tracing is not None:
            self.services.tracing.end_completion(self.record, completion)
        if not completion.get("choices"):
            return
        for name, value in completion_notes(completion, self.record.id).items():
            self.record.notes.setdefault(name, value)
        try:
            interactions = self.kind.make_interactions(self.record, completion)
        except Exception:
            self.services.metrics.unlogged.inc()
            log.exception("The completion %s could not be converted", self.record.id)
            return
        self.services.log_interactions(self.record.project, interactions)


def choice_count(kind: EndpointKind, body: Mapping[str, Any]) -> int:
    """Return the number of choices that a request asks for: ``n`` for each of its prompts."""
    samples = body.get("n")
    prompts = len(completion_prompts(body.get("prompt"))) if kind is TEXT else 1
    return prompts * (samples if type(samples) is int and samples > 0 else 1)


def request_record(
    services: Services,
    request: Request,
    project: str,
    body: Mapping[str, Any],
    *,
    id_prefix: str = "",
) -> RequestRecord:
    """Return the record of a request before it is answered.

    Parameters
    ----------
    services : Services
        Components of the gateway.
    request : Request
        HTTP request.
    project : str
        Project of the interaction.
    body : Mapping[str, Any]
        Parsed body.
    id_prefix : str, default ""
        Beginning of the id.
    """
    headers = request.headers
    user = body.get("user") or body.get("safety_identifier") or headers.get("x-backtalk-user")
    return RequestRecord(
        id=interaction_id(project, services.settings.project, id_prefix),
        project=project,
        body=body,
        user=user if isinstance(user, str) and user else None,
        session=headers.get("x-backtalk-session") or None,
        parent=headers.get("x-backtalk-parent") or None,
        idempotency_key=headers.get("idempotency-key") or None,
        notes={"endpoint": request.scope["path"]},
    )


def upstream_request(
    services: Services,
    request: Request,
    path: str,
    raw_body: bytes,
    body: Mapping[str, Any] | None = None,
) -> UpstreamRequest:
    """Return an idempotent request for an upstream.

    Parameters
    ----------
    services : Services
        Components of the gateway.
    request : Request
        HTTP request of the caller.
    path : str
        Path below ``/v1``.
    raw_body : bytes
        Body as received.
    body : Mapping[str, Any], optional
        Parsed body.
    """
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in request.scope["headers"]]
    query = request.scope["query_string"].decode("latin-1")
    return UpstreamRequest(
        method=request.method,
        path=f"{path}?{query}" if query else path,
        headers=request_headers(headers, keep_key=not services.api_keys.required),
        body=raw_body,
        json_body=body,
        idempotent=True,
    )


def parse_body(raw_body: bytes) -> dict[str, Any]:
    """Return the parsed body of a request that names a model.

    Raises
    ------
    APIError
        If the body is not a JSON object, or names no model.
    """
    body = parse_object(raw_body)
    if not isinstance(body.get("model"), str) or not body["model"]:
        raise APIError(400, "The body names no model", param="model")
    return body


def parse_object(raw_body: bytes) -> dict[str, Any]:
    """Return the parsed body of a request.

    Raises
    ------
    APIError
        If the body is not a JSON object.
    """
    try:
        body = json.loads(raw_body)
    except (ValueError, RecursionError) as error:
        raise APIError(400, f"The body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise APIError(400, "The body is not a JSON object")
    return body


def parse_request(request: Request, raw_body: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return the body of a request that names a model, as bytes and parsed.

    The deployment in a path of Azure's API replaces the model, unless only the body names a policy.

    Raises
    ------
    APIError
        If the body is not a JSON object, or nothing names a model.
    """
    deployment = request.scope.get(DEPLOYMENT)
    if deployment is None:
        return raw_body, parse_body(raw_body)
    body = parse_object(raw_body)
    model = body.get("model")
    settings = request.app.state.services.settings
    if model == deployment or (
        parse_model_name(model, settings) is not None
        and parse_model_name(deployment, settings) is None
    ):
        return raw_body, body
    body["model"] = deployment
    return dump_json(body), body
