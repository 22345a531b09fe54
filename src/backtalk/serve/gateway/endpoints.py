"""OpenAI endpoints, answered by upstreams or policies and logged."""

from __future__ import annotations

import json
import logging
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.serve.auth import Caller
from backtalk.serve.backends.experiment_router import RoutedArms
from backtalk.serve.backends.policy_requests import learn_limit_field, to_upstream_body
from backtalk.serve.backends.policy_resolver import ResolvedPolicy, parse_model_name
from backtalk.serve.backends.upstream import UpstreamRequest, with_body
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import (
    CHAT,
    TEXT,
    CompletionRequest,
    EndpointKind,
    parse_request,
    request_record,
    upstream_request,
)
from backtalk.serve.gateway.disconnect import cancel_on_disconnect
from backtalk.serve.gateway.policy_names import refuse_policy_names
from backtalk.serve.gateway.policy_prompts import recall, select_prompts
from backtalk.serve.gateway.policy_responses import respond, respond_interleaved, sample_count
from backtalk.serve.gateway.proxy import (
    forward,
    forward_unchanged,
    proxy_and_log,
    read_body,
    relay,
)
from backtalk.serve.services import Services

log = logging.getLogger(__name__)

_NO_LIST = frozenset({404, 405, 501})
"""Status codes of upstreams that cannot list their models."""


async def chat_completions(request: Request) -> Response:
    """Create a chat completion."""
    return await _complete(request, CHAT)


async def completions(request: Request) -> Response:
    """Create a text completion."""
    return await _complete(request, TEXT)


async def embeddings(request: Request) -> Response:
    """Forward a request for embeddings. It is not logged, as there is no text to judge."""
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    raw_body, body = parse_request(request, await services.read_body(request))
    refuse_policy_names(request, [body["model"]])
    if services.tracing is not None:
        services.tracing.start_completion("embeddings", body)
    upstream = upstream_request(services, request, "/embeddings", raw_body, body)
    return await forward(request, upstream)


async def models(request: Request) -> Response:
    """List the upstream's models and the policies that the caller may use.

    If there is no policy, an error of the upstream is forwarded.
    """
    services: Services = request.app.state.services
    caller = services.authorize(request, "answer")
    names = await services.policies.list_models(caller.project)
    if caller.project in {None, services.settings.project}:
        names = [*((name, 0) for name in services.settings.policies), *names]
    policies = [
        {"id": name, "object": "model", "created": created, "owned_by": "backtalk"}
        for name, created in names
    ]
    listed, failure = await _upstream_models(services, request)
    if failure is not None and not policies:
        return failure
    return JSONResponse({**listed, "data": [*policies, *listed["data"]]})


async def model(request: Request) -> Response:
    """Return a model."""
    services: Services = request.app.state.services
    name = request.path_params["name"]
    model_name = parse_model_name(name, services.settings)
    if model_name is None:
        return await other(request)
    caller = services.authorize(request, "answer")
    caller.in_project(model_name.project, services.settings.project)
    resolved = await services.policies.resolve(model_name)
    time = resolved.policy.lineage.time
    created = 0 if time is None else int(time.timestamp())
    return JSONResponse({"id": name, "object": "model", "created": created, "owned_by": "backtalk"})


async def other(request: Request) -> Response:
    """Forward a request to any other path, without logging it."""
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    return await forward_unchanged(request, await services.read_body(request))


async def _complete(http_request: Request, kind: EndpointKind) -> Response:
    services: Services = http_request.app.state.services
    caller = services.authorize(http_request, "answer")
    raw_body, body = parse_request(http_request, await services.read_body(http_request))
    return await complete(open_request(http_request, caller, kind, raw_body, body))


def open_request(
    http_request: Request, caller: Caller, kind: EndpointKind, raw_body: bytes, body: dict[str, Any]
) -> CompletionRequest:
    """Return a request for a completion with its record.

    Parameters
    ----------
    http_request : Request
        HTTP request.
    caller : Caller
        Authorized caller.
    kind : EndpointKind
        API of the endpoint.
    raw_body : bytes
        Body as received.
    body : dict[str, Any]
        Parsed body.

    Raises
    ------
    APIError
        If the caller may not use the project.
    """
    services: Services = http_request.app.state.services
    model_name = parse_model_name(body["model"], services.settings)
    project = services.project(
        http_request, caller, None if model_name is None else model_name.project
    )
    record = request_record(services, http_request, project, body, id_prefix=kind.id_prefix)
    request = CompletionRequest(services, http_request, kind, record, raw_body)
    if caller.key:
        request.note(key=caller.key)
    http_request.scope["backtalk"] |= {"interaction": record.id, "model": body["model"]}
    if services.tracing is not None:
        services.tracing.start_completion(kind.operation, body, record)
    return request


async def complete(request: CompletionRequest) -> Response:
    """Respond by an upstream, a policy or an experiment, as the name of the model says.

    Raises
    ------
    APIError
        If the policy does not exist, or nothing responds.
    """
    with cancel_on_disconnect(request.request):
        return await _complete_by_model(request)


async def _complete_by_model(request: CompletionRequest) -> Response:
    services, record = request.services, request.record
    model_name = parse_model_name(request.body["model"], services.settings)
    if model_name is None:
        return await proxy_and_log(request, request.to_upstream())
    if model_name.policy is None:
        routed = await services.experiments.route(model_name.project, record)
        if routed is not None:
            return await _respond_in_experiment(request, routed)
    resolved = await services.policies.resolve(model_name)
    propensity = 1.0 if model_name.policy is None else None
    request = request.with_policy(resolved.policy.id, propensity=propensity)
    return await _respond_by_policy(request, resolved)


async def _respond_in_experiment(request: CompletionRequest, routed: RoutedArms) -> Response:
    """Respond as part of an experiment.

    The control responds, outside the experiment, if an arm fails, so that callers do not suffer
    from an experimental policy. It also responds where a duel would yield a single sample.
    """
    is_duel = len(routed.arms) > 1
    if is_duel and (request.kind is not CHAT or sample_count(request.body) < 2):
        return await _respond_by_control(request, routed)
    is_control = not is_duel and routed.arms[0].policy.id == routed.control.policy.id
    request.note(experiment=routed.note)
    try:
        response = await _respond_by_arms(request, routed)
    except APIError as error:
        if is_control or error.status < 500:
            raise
        reason = error.message
    else:
        if is_control or not (response.status_code >= 500 or response.status_code == 404):
            return response
        reason = f"its upstream answered {response.status_code}"
    log.warning("An arm of the experiment %s failed: %s", routed.note["name"], reason)
    del request.record.notes["experiment"]
    return await _respond_by_control(request, routed)


async def _respond_by_arms(request: CompletionRequest, routed: RoutedArms) -> Response:
    if len(routed.arms) > 1:
        return await respond_interleaved(
            request.with_policy(None, propensity=routed.propensity), routed.arms
        )
    (arm,) = routed.arms
    return await _respond_by_policy(
        request.with_policy(arm.policy.id, propensity=routed.propensity), arm
    )


async def _respond_by_control(request: CompletionRequest, routed: RoutedArms) -> Response:
    control = routed.control
    return await _respond_by_policy(
        request.with_policy(control.policy.id, propensity=None), control
    )


async def _respond_by_policy(request: CompletionRequest, resolved: ResolvedPolicy) -> Response:
    upstreams = request.services.upstreams
    settings = resolved.upstream_settings(request.services.settings.upstreams)
    if settings is None or request.kind is not CHAT:
        return await respond(request, resolved)
    policy, address = resolved.policy, settings.base_url
    (remembered,) = await recall(request, policy)
    (composed,) = await select_prompts(request, resolved)
    body = to_upstream_body(composed, request.body, address, remembered=remembered)

    def adapt(error: Any) -> UpstreamRequest | None:
        learn_limit_field(policy, body, address, error)
        changed = to_upstream_body(composed, request.body, address, remembered=remembered)
        return None if changed == body else with_body(request.to_upstream(), changed)

    upstream = with_body(request.to_upstream(), body)
    return await proxy_and_log(request, upstream, [upstreams.upstream_for(settings)], adapt=adapt)


async def _upstream_models(
    services: Services, request: Request
) -> tuple[dict[str, Any], Response | None]:
    """Return the upstream's list of models, and its error if it refuses or fails to list them.

    The list is empty if the upstream has none.
    """
    empty: dict[str, Any] = {"object": "list", "data": []}
    if not services.upstreams.configured:
        return empty, None
    try:
        with cancel_on_disconnect(request):
            upstream = await services.upstreams.send(
                upstream_request(services, request, "/models", b"")
            )
            if upstream.status >= 400 and upstream.status not in _NO_LIST:
                log.warning(
                    "The upstream %s answered %d to the request for its models",
                    upstream.upstream.name,
                    upstream.status,
                )
                return empty, await relay(upstream)
            content = await read_body(upstream)
    except APIError as error:
        log.warning("The models of the upstream cannot be listed: %s", error)
        return empty, error.response()
    try:
        response = json.loads(content)
    except (ValueError, RecursionError):
        return empty, None
    is_valid = isinstance(response, dict) and isinstance(response.get("data"), list)
    return (response if is_valid else empty), None
