"""Request of the Responses API in progress, and how it is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from starlette.responses import Response

from backtalk.feedback import Interaction
from backtalk.serve.backends.failover import RETRYABLE
from backtalk.serve.backends.upstream import Upstream, UpstreamRequest
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import EndpointKind
from backtalk.serve.gateway.proxy import proxy_and_log
from backtalk.serve.gateway.responses.events import ResponseEvents
from backtalk.serve.gateway.responses.history import input_items
from backtalk.serve.gateway.responses.native import (
    ResponseBody,
    ResponseStreamReader,
    UnreadStream,
    response_error_event,
    unread_body,
)
from backtalk.serve.gateway.responses.output import PREFIX, ResponseContext, to_response
from backtalk.serve.gateway.responses.request import chat_request
from backtalk.serve.gateway.responses.response_store import (
    NOTE,
    conversation_after,
    stored_answer,
    upstream_response_id,
)
from backtalk.serve.gateway.translation.exchange import Exchange
from backtalk.serve.gateway.translation.support import Api
from backtalk.serve.interaction_log import RequestRecord, chat_interactions

_without_storage: set[str] = set()
"""Names of the upstreams that store no responses."""
_NO_STORAGE = ("support", "not implemented", "disabled", "unknown parameter", "unrecognized")
"""Words of the errors of upstreams that store no responses."""


def _interactions(record: RequestRecord, completion: Mapping[str, Any]) -> list[Interaction]:
    """Return the interaction of an upstream's own response, which is in its metadata."""
    note = record.notes[NOTE]
    answer = stored_answer(completion["native"], note["request"])
    record.notes[NOTE] = {**note, "response": answer}
    return chat_interactions(record, completion)


def responses_kind(previous: str | None = None, *, background: bool = False) -> EndpointKind:
    """Return the kind of the endpoint.

    Parameters
    ----------
    previous : str, optional
        Id of the response that a request continues.
    background : bool, default False
        If true, the response is forwarded with the upstream's id and is not logged.
    """
    return EndpointKind(
        "/responses",
        "response",
        _interactions,
        read_body=unread_body if background else ResponseBody(previous),
        stream_reader=(
            UnreadStream if background else partial(ResponseStreamReader, previous=previous)
        ),
        error_event=response_error_event,
        id_prefix=PREFIX,
    )


@dataclass(frozen=True)
class ResponseExchange(Exchange):
    """Request for a response, and its answer."""

    previous: Interaction | None
    """Response that the request continues."""
    context: ResponseContext
    """Request as its response repeats it."""

    @property
    def api(self) -> Api:
        """Name of the API in the settings of an upstream."""
        return "responses"

    @property
    def history(self) -> list[dict[str, Any]]:
        """Chat messages that the request continues."""
        return [] if self.previous is None else conversation_after(self.previous)

    def chat_body(self) -> dict[str, Any]:
        """Return the body of the chat completion; raise ``APIError`` if it cannot express it."""
        previous_id = self.original.get("previous_response_id")
        if self.previous is None and isinstance(previous_id, str) and previous_id:
            raise previous_not_found(previous_id)
        return chat_request(self.original, history=self.history)

    def translate(self, completion: Mapping[str, Any]) -> dict[str, Any]:
        """Return a chat completion as a response."""
        return to_response(completion, self.context)

    def translator(self) -> ResponseEvents:
        """Return a translator of a stream."""
        return ResponseEvents(self.context)

    async def respond_natively(self, upstreams: Sequence[Upstream]) -> Response:
        """Respond by upstreams that have this API.

        An upstream that has stored the previous response gets its own id of it. Others get the
        conversation so far.
        """
        if self.previous is None:
            return await super().respond_natively(upstreams)
        first = upstreams[0]
        own = upstream_response_id(self.previous, first.name)
        if own is not None and first.name not in _without_storage:
            try:
                response = await self._continue(first, own)
            except APIError as error:
                if error.status < 500 or len(upstreams) == 1:
                    raise
                upstreams = upstreams[1:]
            else:
                if _is_about_previous(response, own):
                    if _lacks_storage(response):
                        _without_storage.add(first.name)
                elif response.status_code in RETRYABLE and len(upstreams) > 1:
                    upstreams = upstreams[1:]
                else:
                    return response
        return await proxy_and_log(self.request, self.whole_request(), upstreams)

    async def _continue(self, upstream: Upstream, own: str) -> Response:
        """Respond by the upstream that has stored the previous response, by its own id of it."""
        sent = self.native_request({**self.original, "previous_response_id": own})
        return await proxy_and_log(self.request, sent, [upstream])

    def whole_request(self) -> UpstreamRequest:
        """Return the request for upstreams that have this API, with the conversation so far."""
        if self.previous is None:
            return super().whole_request()
        items = self.original.get("input")
        if isinstance(items, str):
            items = [{"type": "message", "role": "user", "content": items}]
        body = {**self.original, "input": [*input_items(self.history), *(items or ())]}
        del body["previous_response_id"]
        return self.native_request(body)


def previous_not_found(id_: Any) -> APIError:
    """Return the error about a previous response that does not exist."""
    return APIError(
        400,
        f"Previous response with id {id_!r} not found. It may be deleted, or was requested with "
        "`store: false`; send the conversation so far as `input`",
        code="previous_response_not_found",
        param="previous_response_id",
    )


def with_conversation(exchange: ResponseExchange, parent: Interaction | None) -> ResponseExchange:
    """Return a request whose record is linked to the response before it.

    Parameters
    ----------
    exchange : ResponseExchange
        Request.
    parent : Interaction or None
        Response that the request continues. The headers of the request take precedence.
    """
    if parent is None:
        return exchange
    record = exchange.request.record
    linked = replace(
        record,
        parent=record.parent or parent.id,
        session=record.session or parent.session or parent.id,
    )
    return replace(exchange, request=replace(exchange.request, record=linked))


def _is_about_previous(response: Response, own: str) -> bool:
    """Return true if an answer is an error about the previous response.

    Parameters
    ----------
    response : Response
        Answer of an upstream.
    own : str
        The upstream's id of the previous response.
    """
    about = _error_text(response)
    return any(name in about for name in ("previous_response", "previous response", own.lower()))


def _lacks_storage(response: Response) -> bool:
    """Return true if an error says that the upstream stores no responses at all."""
    about = _error_text(response)
    return "not found" not in about and any(word in about for word in _NO_STORAGE)


def _error_text(response: Response) -> str:
    """Return an error about the request in lower case; empty if an answer is none."""
    content = getattr(response, "body", None)
    if response.status_code not in {400, 404, 422, 501} or content is None:
        return ""
    try:
        value = json.loads(bytes(content))
    except (ValueError, RecursionError):
        return ""
    return json.dumps(value.get("error", value)).lower() if isinstance(value, dict) else ""
