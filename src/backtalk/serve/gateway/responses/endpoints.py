"""Endpoints of OpenAI's Responses API."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse

from backtalk.feedback import Interaction
from backtalk.serve.backends.upstream import dump_json
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import (
    INTERACTION_HEADER,
    parse_request,
    upstream_request,
)
from backtalk.serve.gateway.endpoints import open_request, other
from backtalk.serve.gateway.responses.exchange import (
    ResponseExchange,
    previous_not_found,
    responses_kind,
    with_conversation,
)
from backtalk.serve.gateway.responses.history import (
    listed_items,
    parent_of,
    with_referenced_items,
)
from backtalk.serve.gateway.responses.output import ResponseContext
from backtalk.serve.gateway.responses.replay import replay_events
from backtalk.serve.gateway.responses.request import chat_request
from backtalk.serve.gateway.responses.response_store import (
    NOTE,
    StoredResponses,
    conversation_after,
    is_stored,
    render,
    stored_request,
    upstream_response_id,
)
from backtalk.serve.gateway.sse import iterate
from backtalk.serve.gateway.translation.exchange import encode, respond
from backtalk.serve.gateway.translation.token_count import count_prompt_tokens
from backtalk.serve.pagination import page, read_limit, read_order
from backtalk.serve.services import Services


async def create_response(request: Request) -> Response:
    """Create a response."""
    exchange = await _open(request)
    response = await respond(exchange)
    if _is_background(exchange.original):
        del response.headers[INTERACTION_HEADER]  # it is not logged, and has the upstream's id
    return response


async def count_input_tokens(request: Request) -> Response:
    """Count the tokens of an input before a response to it is created."""
    result = await count_prompt_tokens(await _open(request), "/responses/input_tokens")
    if isinstance(result, Response):
        return result
    return JSONResponse({"object": "response.input_tokens", "input_tokens": result})


async def retrieve_response(request: Request) -> Response:
    """Return a stored response. Those that the gateway did not store are the upstream's."""
    _, interaction = await _find(request)
    if interaction is None:
        return await other(request)
    response = render(interaction)
    if request.query_params.get("stream") != "true":
        return JSONResponse(response)
    events = replay_events(response, starting_after=_starting_after(request))
    return StreamingResponse(iterate(encode(events)), media_type="text/event-stream")


async def list_input_items(request: Request) -> Response:
    """Return the input of a stored response, its conversation included."""
    _, interaction = await _find(request)
    if interaction is None:
        return await other(request)
    query = request.query_params
    is_descending = read_order(query) == "desc"
    limit = read_limit(query, default=20, largest=100)
    items = listed_items(interaction)
    if is_descending:
        items.reverse()
    return JSONResponse(page(items, after=query.get("after"), limit=limit))


async def delete_response(request: Request) -> Response:
    """Delete a stored response, its interaction, and the upstream's own copy of it."""
    responses, interaction = await _find(request)
    if interaction is None:
        return await other(request)
    await _delete_at_upstream(request, interaction)
    await responses.delete(interaction.id)
    return JSONResponse({"id": interaction.id, "object": "response", "deleted": True})


async def _find(request: Request) -> tuple[StoredResponses, Interaction | None]:
    services: Services = request.app.state.services
    responses = StoredResponses(request, services.authorize(request, "answer"))
    return responses, await responses.find(request.path_params["id"])


async def _delete_at_upstream(request: Request, interaction: Interaction) -> None:
    """Delete an upstream's copy of a response, if it has one and responds."""
    upstreams = request.app.state.services.upstreams
    for upstream in upstreams.configured:
        id_ = upstream_response_id(interaction, upstream.name)
        if id_ is not None:
            sent = upstream_request(
                request.app.state.services, request, f"/responses/{quote(id_, safe='')}", b""
            )
            with contextlib.suppress(APIError):
                (await upstreams.send(sent, [upstream])).release()


def _starting_after(request: Request) -> int:
    """Return the number of the last event that the caller has, -1 if the query has none."""
    text = request.query_params.get("starting_after")
    if text is None:
        return -1
    if not (text.isascii() and text.isdigit()):
        raise APIError(400, "starting_after must be a number", param="starting_after")
    return int(text[:18])


async def _open(request: Request) -> ResponseExchange:
    services: Services = request.app.state.services
    caller = services.authorize(request, "answer")
    raw_body, body = parse_request(request, await services.read_body(request))
    responses = StoredResponses(request, caller)
    original = await with_referenced_items(body, responses.find)
    if original is not body:
        raw_body = dump_json(original)
    previous_id = original.get("previous_response_id")
    previous = await _find_previous(responses, previous_id)
    history = () if previous is None else conversation_after(previous)
    record_body = chat_request(original, history=history, strict=False)
    if isinstance(original.get("metadata"), dict):
        record_body["metadata"] = original["metadata"]
    kind = responses_kind(
        previous_id if previous is not None else None, background=_is_background(original)
    )
    completion_request = open_request(request, caller, kind, raw_body, record_body)
    context = ResponseContext(completion_request.record.id, original)
    note = {"request": stored_request(original), "created": context.created}
    completion_request.note(**{NOTE: note})
    exchange = ResponseExchange(completion_request, original, previous, context)
    if previous is None and (parent := parent_of(original.get("input"))) is not None:
        return with_conversation(exchange, await responses.find(parent, with_unstored=True))
    return with_conversation(exchange, previous)


async def _find_previous(responses: StoredResponses, id_: Any) -> Interaction | None:
    """Return the response that a request continues, ``None`` if the gateway has none of this id.

    Raises
    ------
    APIError
        If the gateway gave the response and was not to store it.
    """
    if not isinstance(id_, str):
        return None
    previous = await responses.find(id_, with_unstored=True)
    if previous is not None and not is_stored(previous):
        raise previous_not_found(id_)
    return previous


def _is_background(body: Mapping[str, Any]) -> bool:
    """Return true if a response is to be made in the background."""
    return body.get("background") is True
