"""Administration endpoints: health, metrics, audit log and purging."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from importlib.resources import files

from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.feedback import content_id
from backtalk.policy import list_policies
from backtalk.serve.auth import Caller
from backtalk.serve.errors import APIError
from backtalk.serve.observability.metrics import CONTENT_TYPE
from backtalk.serve.services import Services
from backtalk.serve.store_connection import UNAVAILABLE

_DRAIN_SECONDS = 5.0
_AUDIT_ENTRIES = 1_000


async def health(request: Request) -> Response:
    """Return 200 while the process is alive."""
    del request
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Return 200 if requests can be answered, else 503, with the state of the components.

    An unavailable store does not count, as records are kept on disk until it is back. An upstream
    counts as failing until its circuit breaker lets a request probe it.
    """
    services: Services = request.app.state.services
    upstreams = services.upstreams.configured
    failing = sum(upstream.breaker.is_rejecting for upstream in upstreams)
    is_ready = not upstreams or failing < len(upstreams)
    state = {
        "status": "ready" if is_ready else "not ready",
        "store": "unavailable" if services.writer.store_unavailable else "available",
        "write_ahead_log_bytes": services.writer.log.backlog,
        "upstreams_failing": failing,
    }
    return JSONResponse(state, 200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """Return the metrics in Prometheus' text format."""
    services: Services = request.app.state.services
    services.authorize(request, "watch")
    return Response(services.metrics.render(), media_type=CONTENT_TYPE)


async def audit(request: Request) -> Response:
    """Return the audit log, latest entry last."""
    services: Services = request.app.state.services
    caller = services.authorize(request, "audit")
    try:
        entries = await asyncio.to_thread(
            lambda: services.connection.store().audit_log.entries(
                project=caller.project, limit=_AUDIT_ENTRIES
            )
        )
    except UNAVAILABLE as error:
        raise _unavailable(error) from None
    return JSONResponse(
        {"entries": [{**asdict(entry), "time": entry.time.isoformat()} for entry in entries]}
    )


async def purge(request: Request) -> Response:
    """Delete a user's interactions, the feedback on them, and the user's feedback, permanently.

    The audit log records a hash of the user's name.
    """
    services: Services = request.app.state.services
    caller = services.authorize(request, "purge")
    try:
        body = from_json(await services.read_body(request))
    except ValueError as error:
        raise APIError(400, f"The body is not JSON: {error}") from None
    user = body.get("user") if isinstance(body, dict) else None
    if not isinstance(user, str) or not user:
        raise APIError(400, 'The body names no user, as in {"user": "bo"}', param="user")
    project = services.project(request, caller)
    try:
        return JSONResponse(await asyncio.to_thread(_purge, services, caller, project, user))
    except UNAVAILABLE as error:
        raise _unavailable(error) from None


def _purge(services: Services, caller: Caller, project: str, user: str) -> dict[str, object]:
    if not services.writer.drain(_DRAIN_SECONDS):
        raise APIError(
            503,
            "Some records are not in the store yet, so they cannot be purged. Try again later",
            headers={"retry-after": "5"},
        )
    store = services.connection.store(project)
    result = store.purge(user)
    services.writer.compact()
    services.writer.dead_letters.purge(user)
    affected = [
        policy.label
        for policy in list_policies(store)
        if result.first is not None
        and policy.lineage.snapshot is not None
        and policy.lineage.snapshot.project == project
        and policy.lineage.snapshot.last >= result.first
    ]
    store.audit_log.append(
        "user purged", content_id("user", user), actor=caller.name, project=project
    )
    return {
        "interactions": result.interactions,
        "feedback": result.feedback,
        "memory_entries": result.memory_entries,
        "policies": affected,
    }


def _unavailable(error: BaseException) -> APIError:
    return APIError(503, f"The store is unavailable: {error}", headers={"retry-after": "2"})


async def script(request: Request) -> Response:
    """Return the feedback script for web pages."""
    del request
    text = files("backtalk.serve").joinpath("static/backtalk.js").read_text(encoding="utf-8")
    return Response(
        text, media_type="text/javascript", headers={"cache-control": "public, max-age=3600"}
    )
