"""Completions that an upstream stored: the id of the interaction stands for the upstream's own."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response

from backtalk.feedback import Interaction
from backtalk.serve.auth import Caller
from backtalk.serve.backends.upstream import Upstream
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import CHAT, upstream_request
from backtalk.serve.gateway.disconnect import cancel_on_disconnect
from backtalk.serve.gateway.endpoints import other
from backtalk.serve.gateway.policy_names import refuse_policy_names, sent_model_names
from backtalk.serve.gateway.proxy import read_body, relay
from backtalk.serve.gateway.sse import replace_id
from backtalk.serve.gateway.stored_interactions import find_interaction
from backtalk.serve.interaction_log import GATEWAY, project_from_id
from backtalk.serve.services import Services

_OWN_ID = re.compile(r"(?:.+:)?[0-9a-f]{32}")


async def stored_completion(request: Request) -> Response:
    """Retrieve, update or delete a completion that the upstream stored, or list its messages.

    A request with another id is forwarded unchanged.
    """
    services: Services = request.app.state.services
    caller = services.authorize(request, "answer")
    id_ = request.path_params["id"]
    interaction = await _find(services, request, caller, id_) if _OWN_ID.fullmatch(id_) else None
    notes: Any = {} if interaction is None else interaction.metadata.get(GATEWAY, {})
    upstream_id = notes.get("upstream_id")
    if upstream_id is None:
        return await other(request)
    raw_body = await services.read_body(request)
    refuse_policy_names(request, sent_model_names(request, raw_body))
    upstreams = _upstreams(services, id_, notes.get("upstream"))
    rest = "/messages" if request.scope["path"].rstrip("/").endswith("/messages") else ""
    path = f"{CHAT.path}/{quote(upstream_id, safe='')}{rest}"
    forwarded = upstream_request(services, request, path, raw_body)
    forwarded = replace(forwarded, idempotent=request.method == "GET")
    with cancel_on_disconnect(request):
        response = await services.upstreams.send(forwarded, upstreams)
        if rest or response.status != 200:
            return await relay(response)
        return Response(_with_id(await read_body(response), id_), headers=response.headers)


def _upstreams(services: Services, id_: str, name: str | None) -> list[Upstream]:
    """Return the upstreams with the name of the one that answered."""
    upstreams = [upstream for upstream in services.upstreams.configured if upstream.name == name]
    if not upstreams:
        raise APIError(
            404,
            f"{id_} was answered by {name}, which is not an upstream of this gateway. Start it "
            f"with --upstream {name} to reach the completions that it stored",
            code="upstream_not_found",
            param="id",
        )
    return upstreams


def _with_id(content: bytes, id_: str) -> bytes:
    """Return the JSON of a completion with the id of the interaction."""
    try:
        return replace_id(content.decode("utf-8"), id_)[1].encode("utf-8")
    except (ValueError, RecursionError):
        return content


async def _find(
    services: Services, request: Request, caller: Caller, id_: str
) -> Interaction | None:
    """Return an interaction, once it is in the store; ``None`` if there is none."""
    named = project_from_id(id_) if caller.project is None else None
    project = services.project(request, caller, named)
    return await find_interaction(services, project, id_)
