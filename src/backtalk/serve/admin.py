"""What runs a gateway: whether it is well, what it counts, who did what, and purging."""

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
from backtalk.store.api_keys import ApiKeys

_DRAIN_SECONDS = 5.0
_AUDIT_ENTRIES = 1_000


async def health(request: Request) -> Response:
    """Say that the process lives."""
    del request
    return JSONResponse({"status": "ok"})


async def ready(request: Request) -> Response:
    """Say whether requests can be answered, and what is not as it should be.

    A store that is away does not matter: what it should have is kept on disk until it is back.
    """
    services: Services = request.app.state.services
    own = services.upstreams.own
    resting = [server.name for server in own if server.breaker.open]
    well = not own or len(resting) < len(own)
    told = {
        "status": "ready" if well else "not ready",
        "store": "away" if services.writer.away else "there",
        "spool_bytes": services.writer.spool.backlog,
        "upstreams_resting": len(resting),
    }
    return JSONResponse(told, 200 if well else 503)


async def metrics(request: Request) -> Response:
    """Return the counts for Prometheus."""
    services: Services = request.app.state.services
    services.admit(request, "watch")
    return Response(services.metrics.text(), media_type=CONTENT_TYPE)


async def audit(request: Request) -> Response:
    """Tell who did what, the latest last."""
    services: Services = request.app.state.services
    caller = services.admit(request, "audit")
    try:
        entries = await asyncio.to_thread(
            lambda: ApiKeys(services.keeper.store().engine).log(
                project=caller.project, limit=_AUDIT_ENTRIES
            )
        )
    except UNAVAILABLE as error:
        raise _away(error) from None
    return JSONResponse(
        {"entries": [{**asdict(entry), "time": entry.time.isoformat()} for entry in entries]}
    )


async def purge(request: Request) -> Response:
    """Remove for good what a user asked, what was said about it, and what the user said.

    The audit log has a hash of the user's name, not the name.
    """
    services: Services = request.app.state.services
    caller = services.admit(request, "purge")
    try:
        asked = from_json(await services.body(request))
    except ValueError as error:
        raise APIError(400, f"The body is not JSON: {error}") from None
    user = asked.get("user") if isinstance(asked, dict) else None
    if not isinstance(user, str) or not user:
        raise APIError(400, 'The body names no user, as in {"user": "bo"}', param="user")
    project = services.project(request, caller)
    try:
        return JSONResponse(await asyncio.to_thread(_purge, services, caller, project, user))
    except UNAVAILABLE as error:
        raise _away(error) from None


def _purge(services: Services, caller: Caller, project: str, user: str) -> dict[str, object]:
    if not services.writer.drain(_DRAIN_SECONDS):
        raise APIError(
            503,
            "The store has not got everything yet, so that nothing can be purged. Try again later",
            headers={"retry-after": "5"},
        )
    store = services.keeper.store(project)
    gone = store.purge(user)
    services.writer.compact()
    services.writer.aside.purge(user)
    touched = [
        policy.label
        for policy in list_policies(store)
        if gone.first is not None
        and policy.lineage.snapshot is not None
        and policy.lineage.snapshot.last >= gone.first
    ]
    ApiKeys(store.engine).record(
        "user purged", content_id("user", user), actor=caller.name, project=project
    )
    return {
        "interactions": gone.interactions,
        "feedback": gone.feedback,
        "policies": touched,
    }


def _away(error: BaseException) -> APIError:
    return APIError(503, f"The store is away: {error}", headers={"retry-after": "2"})


async def script(request: Request) -> Response:
    """Return the snippet for web pages."""
    del request
    text = files("backtalk.serve").joinpath("static/backtalk.js").read_text(encoding="utf-8")
    return Response(
        text, media_type="text/javascript", headers={"cache-control": "public, max-age=3600"}
    )
