"""OpenAI's endpoints: answered by upstreams or by policies, and kept."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.serve.backends.experiment_router import RoutedArms
from backtalk.serve.backends.policy_resolver import (
    ResolvedPolicy,
    parse_model_name,
    to_upstream_body,
)
from backtalk.serve.backends.upstream import renamed
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import (
    CHAT,
    TEXT,
    CompletionRequest,
    EndpointKind,
    parse_body,
    request_record,
    upstream_request,
)
from backtalk.serve.gateway.policy_responses import respond, respond_interleaved, samples_of
from backtalk.serve.gateway.proxy import proxy_and_log, read_body, relay
from backtalk.serve.services import Services

log = logging.getLogger(__name__)


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
    asked = parse_body(body)
    if parse_model_name(asked["model"]) is not None:
        raise APIError(400, "A policy makes no embeddings; name an upstream's model", param="model")
    if services.traces is not None:
        services.traces.asked("embeddings", asked)
    call = upstream_request(services, request, "/embeddings", body, asked)
    return await relay(await services.upstreams.send(call))


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
    wanted = parse_model_name(name)
    if wanted is None:
        return await other(request)
    caller = services.admit(request, "answer")
    caller.in_project(wanted.project, services.settings.project)
    result = await services.policies.find(wanted)
    made = result.policy.lineage.time
    second = 0 if made is None else int(made.timestamp())
    return JSONResponse({"id": name, "object": "model", "created": second, "owned_by": "backtalk"})


async def other(request: Request) -> Response:
    """Pass on what the gateway does not know, without keeping it."""
    services: Services = request.app.state.services
    services.admit(request, "answer")
    path = request.scope["path"]
    if "\\" in path or any(part in {".", ".."} for part in path.split("/")):
        raise APIError(400, "The path has parts that lead out of it")
    raw = request.scope.get("raw_path") or path.encode()
    body = await services.body(request)
    call = upstream_request(services, request, raw.decode("latin-1").removeprefix("/v1"), body)
    call = replace(call, repeatable=request.method in {"GET", "HEAD"})
    return await relay(await services.upstreams.send(call, services.upstreams.own[:1]))


async def _complete(request: Request, kind: EndpointKind) -> Response:
    services: Services = request.app.state.services
    caller = services.admit(request, "answer")
    body = await services.body(request)
    asked = parse_body(body)
    wanted = parse_model_name(asked["model"])
    project = services.project(request, caller, None if wanted is None else wanted.project)
    ask = CompletionRequest(
        services, request, kind, request_record(services, request, project, asked), body
    )
    if caller.key:
        ask.note(key=caller.key)
    request.scope["backtalk"] |= {"interaction": ask.exchange.id, "model": asked["model"]}
    if services.traces is not None:
        services.traces.asked("chat" if kind is CHAT else "text_completion", asked, ask.exchange)
    if wanted is None:
        return await proxy_and_log(ask, ask.call())
    if wanted.policy is None:
        drawn = await services.traffic.draw(wanted.project, ask.exchange)
        if drawn is not None:
            return await _by_arms(ask, drawn)
    result = await services.policies.find(wanted)
    propensity = 1.0 if wanted.policy is None else None
    return await _by_policy(ask.answered_by(result.policy.id, propensity=propensity), result)


async def _by_arms(ask: CompletionRequest, drawn: RoutedArms) -> Response:
    """Answer as part of an experiment; two arms only where there will be a choice between them.

    Where an arm cannot answer, the control does, and that counts for nothing: who asks must not
    suffer from a policy that is only being tried.
    """
    duels = len(drawn.arms) > 1
    if duels and (ask.kind is not CHAT or samples_of(ask.asked) < 2):
        return await _by_control(ask, drawn)
    is_control = not duels and drawn.arms[0].policy.id == drawn.control.policy.id
    ask.note(experiment=drawn.note)
    try:
        response = await _by_drawn(ask, drawn)
    except APIError as refused:
        if is_control or refused.status < 500:
            raise
        why = refused.message
    else:
        if is_control or not (response.status_code >= 500 or response.status_code == 404):
            return response
        why = f"its upstream answered {response.status_code}"
    log.warning("An arm of the experiment %s cannot answer: %s", drawn.note["name"], why)
    del ask.exchange.notes["experiment"]
    return await _by_control(ask, drawn)


async def _by_drawn(ask: CompletionRequest, drawn: RoutedArms) -> Response:
    if len(drawn.arms) > 1:
        return await respond_interleaved(
            ask.answered_by(None, propensity=drawn.propensity), drawn.arms
        )
    (result,) = drawn.arms
    return await _by_policy(ask.answered_by(result.policy.id, propensity=drawn.propensity), result)


async def _by_control(ask: CompletionRequest, drawn: RoutedArms) -> Response:
    result = drawn.control
    return await _by_policy(ask.answered_by(result.policy.id, propensity=None), result)


async def _by_policy(ask: CompletionRequest, found: ResolvedPolicy) -> Response:
    upstreams = ask.services.upstreams
    address = found.upstream(ask.services.settings.upstreams)
    if address is None or ask.kind is not CHAT:
        return await respond(ask, found)
    call = renamed(ask.call(), to_upstream_body(found.policy, ask.asked))
    return await proxy_and_log(ask, call, [upstreams.at(address)])


async def _upstream_models(services: Services, request: Request) -> dict[str, Any]:
    """Return the upstream's list, an empty one where it gives none."""
    nothing: dict[str, Any] = {"object": "list", "data": []}
    if not services.upstreams.own:
        return nothing
    try:
        result = await services.upstreams.send(upstream_request(services, request, "/models", b""))
        listed = json.loads(await read_body(result))
    except (APIError, ValueError, RecursionError):
        return nothing
    good = isinstance(listed, dict) and isinstance(listed.get("data"), list)
    return listed if good else nothing
