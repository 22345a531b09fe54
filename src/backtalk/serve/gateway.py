"""OpenAI's endpoints: answered by upstreams or by policies, and kept."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.serve.ask import CHAT, TEXT, Ask, Kind, asked_of, call_of, exchange_of
from backtalk.serve.decoded import answer
from backtalk.serve.errors import Refused
from backtalk.serve.forward import forward, passed_on, whole
from backtalk.serve.policies import Found, applied, wanted_of
from backtalk.serve.services import Services
from backtalk.serve.upstream import renamed


async def chat_completions(request: Request) -> Response:
    """Answer a chat."""
    return await _complete(request, CHAT)


async def completions(request: Request) -> Response:
    """Go on with a text."""
    return await _complete(request, TEXT)


async def embeddings(request: Request) -> Response:
    """Pass on a request for embeddings. Nothing is kept: there is no answer to judge."""
    services: Services = request.app.state.services
    services.admit(request, "answer")
    body = await services.body(request)
    asked = asked_of(body)
    if wanted_of(asked["model"]) is not None:
        raise Refused(400, "A policy makes no embeddings; name an upstream's model", param="model")
    call = call_of(services, request, "/embeddings", body, asked)
    return await passed_on(await services.upstreams.send(call))


async def models(request: Request) -> Response:
    """List the upstream's models, and the policies that the caller may ask."""
    services: Services = request.app.state.services
    caller = services.admit(request, "answer")
    own = [
        {"id": name, "object": "model", "created": made, "owned_by": "backtalk"}
        for name, made in await services.policies.names(caller.project)
    ]
    listed = await _upstream_models(services, request)
    return JSONResponse({**listed, "data": [*own, *listed["data"]]})


async def model(request: Request) -> Response:
    """Tell of one model."""
    services: Services = request.app.state.services
    name = request.path_params["name"]
    wanted = wanted_of(name)
    if wanted is None:
        return await other(request)
    caller = services.admit(request, "answer")
    caller.in_project(wanted.project, services.settings.project)
    found = await services.policies.find(wanted)
    made = found.policy.lineage.time
    second = 0 if made is None else int(made.timestamp())
    return JSONResponse({"id": name, "object": "model", "created": second, "owned_by": "backtalk"})


async def other(request: Request) -> Response:
    """Pass on what the gateway does not know, without keeping it."""
    services: Services = request.app.state.services
    services.admit(request, "answer")
    path = request.scope["path"]
    if "\\" in path or any(part in {".", ".."} for part in path.split("/")):
        raise Refused(400, "The path has parts that lead out of it")
    raw = request.scope.get("raw_path") or path.encode()
    body = await services.body(request)
    call = call_of(services, request, raw.decode("latin-1").removeprefix("/v1"), body)
    call = replace(call, repeatable=request.method in {"GET", "HEAD"})
    return await passed_on(await services.upstreams.send(call, services.upstreams.own[:1]))


async def _complete(request: Request, kind: Kind) -> Response:
    services: Services = request.app.state.services
    caller = services.admit(request, "answer")
    body = await services.body(request)
    asked = asked_of(body)
    wanted = wanted_of(asked["model"])
    project = services.project(request, caller, None if wanted is None else wanted.project)
    ask = Ask(services, request, kind, exchange_of(services, request, project, asked), body)
    if caller.key:
        ask.note(key=caller.key)
    request.scope["backtalk"] |= {"interaction": ask.exchange.id, "model": asked["model"]}
    if wanted is None:
        return await forward(ask, ask.call())
    found = await services.policies.find(wanted)
    propensity = 1.0 if wanted.policy is None else None
    return await _by_policy(ask.answered_by(found.policy.id, propensity=propensity), found)


async def _by_policy(ask: Ask, found: Found) -> Response:
    upstreams = ask.services.upstreams
    address = found.upstream(ask.services.settings.upstreams)
    if address is None or ask.kind is not CHAT:
        return await answer(ask, found)
    call = renamed(ask.call(), applied(found.policy, ask.asked))
    return await forward(ask, call, [upstreams.at(address)])


async def _upstream_models(services: Services, request: Request) -> dict[str, Any]:
    """Return the upstream's list, an empty one where it gives none."""
    nothing: dict[str, Any] = {"object": "list", "data": []}
    if not services.upstreams.own:
        return nothing
    try:
        found = await services.upstreams.send(call_of(services, request, "/models", b""))
        listed = json.loads(await whole(found))
    except (Refused, ValueError, RecursionError):
        return nothing
    good = isinstance(listed, dict) and isinstance(listed.get("data"), list)
    return listed if good else nothing
