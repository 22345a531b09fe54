"""Endpoints of fine-tuning jobs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from pydantic_core import from_json
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from backtalk.serve.auth import Caller
from backtalk.serve.backends.policy_resolver import parse_model_name
from backtalk.serve.errors import APIError
from backtalk.serve.files.file_store import is_stored_id
from backtalk.serve.fine_tuning.events import list_events
from backtalk.serve.fine_tuning.job import read_progress, to_openai
from backtalk.serve.fine_tuning.jobs import FineTuningJobs, ProjectJob
from backtalk.serve.fine_tuning.names import is_job_id
from backtalk.serve.gateway.proxy import forward_unchanged
from backtalk.serve.pagination import page, read_limit
from backtalk.serve.services import PROJECT_HEADER, Services
from backtalk.serve.store_connection import UNAVAILABLE
from backtalk.serve.upstream_lists import with_upstream

_PATH = "/v1/fine_tuning/jobs"
_DEFAULT_LIMIT, _MAX_LIMIT = 20, 1_000


def add_to(app: FastAPI) -> None:
    """Add the endpoints to an application."""
    for path, endpoint, method in (
        (_PATH, create_job, "POST"),
        (_PATH, list_jobs, "GET"),
        (_PATH + "/{job_id}", retrieve_job, "GET"),
        (_PATH + "/{job_id}/cancel", cancel_job, "POST"),
        (_PATH + "/{job_id}/pause", pause_job, "POST"),
        (_PATH + "/{job_id}/resume", resume_job, "POST"),
        (_PATH + "/{job_id}/events", job_events, "GET"),
        (_PATH + "/{job_id}/checkpoints", job_checkpoints, "GET"),
    ):
        app.add_api_route(path, endpoint, methods=[method], response_model=None)


async def create_job(request: Request) -> Response:
    """Create a fine-tuning job."""
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    raw_body = await services.read_body(request)
    body = _parse(raw_body)
    if services.upstreams.configured and _is_elsewhere(body):
        return await forward_unchanged(request, raw_body)
    caller = services.api_keys.authorize(request.headers, "train")
    project = services.project(request, caller)
    jobs = services.fine_tuning.jobs
    created = await _in_thread(lambda: jobs.create(body, caller, project))
    services.fine_tuning.validate_later(created)
    return _response(created)


def _is_elsewhere(body: dict[str, Any]) -> bool:
    """Return true if the training file is one of the upstream."""
    source = body.get("training_file")
    return (
        isinstance(source, str)
        and source.startswith("file-")
        and not is_stored_id(source)
        and parse_model_name(body.get("model")) is None
    )


async def list_jobs(request: Request) -> Response:
    """List the fine-tuning jobs, the latest first."""
    services: Services = request.app.state.services
    caller = services.authorize(request, "train")
    header = request.headers.get(PROJECT_HEADER)
    project = None if header is None else caller.in_project(header, header)
    query = request.query_params
    limit = read_limit(query, default=_DEFAULT_LIMIT, largest=_MAX_LIMIT)
    jobs = await _in_thread(lambda: services.fine_tuning.jobs.list(caller, project))
    items = [to_openai(item.job, item.store.project) for item in jobs]
    metadata = {
        name[len("metadata[") : -1]: value
        for name, value in query.items()
        if name.startswith("metadata[") and name.endswith("]")
    }
    if query.get("metadata") == "null":
        items = [item for item in items if not item["metadata"]]
    items = [item for item in items if metadata.items() <= (item["metadata"] or {}).items()]
    items = await with_upstream(request, items)
    return JSONResponse(page(items, after=query.get("after"), limit=limit))


async def retrieve_job(request: Request) -> Response:
    """Return a fine-tuning job."""
    return await _with_job(request, FineTuningJobs.find)


async def cancel_job(request: Request) -> Response:
    """Cancel a fine-tuning job."""
    return await _with_job(request, FineTuningJobs.cancel)


async def pause_job(request: Request) -> Response:
    """Pause a fine-tuning job."""
    return await _with_job(request, FineTuningJobs.pause)


async def resume_job(request: Request) -> Response:
    """Resume a paused fine-tuning job."""
    return await _with_job(request, FineTuningJobs.resume)


async def job_events(request: Request) -> Response:
    """List the events of a fine-tuning job, the latest first."""
    return await _list_of_job(request, lambda item: list_events(item.store, item.job.id))


async def job_checkpoints(request: Request) -> Response:
    """List the checkpoints of a fine-tuning job, the latest first."""
    return await _list_of_job(
        request,
        lambda item: [
            checkpoint.to_openai(item.job.id)
            for checkpoint in reversed(read_progress(item.job).checkpoints)
        ],
    )


async def _with_job(
    request: Request, function: Callable[[FineTuningJobs, str, Caller], ProjectJob]
) -> Response:
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    id_ = request.path_params["job_id"]
    if services.upstreams.configured and not is_job_id(id_):
        return await forward_unchanged(request, await services.read_body(request))
    caller = services.api_keys.authorize(request.headers, "train")
    item = await _in_thread(lambda: function(services.fine_tuning.jobs, id_, caller))
    services.fine_tuning.wake()
    return _response(item)


async def _list_of_job(
    request: Request, function: Callable[[ProjectJob], list[dict[str, Any]]]
) -> Response:
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    id_ = request.path_params["job_id"]
    if services.upstreams.configured and not is_job_id(id_):
        return await forward_unchanged(request, b"")
    caller = services.api_keys.authorize(request.headers, "train")
    query = request.query_params
    limit = read_limit(query, default=_DEFAULT_LIMIT, largest=_MAX_LIMIT)
    jobs = services.fine_tuning.jobs
    items = await _in_thread(lambda: function(jobs.find(id_, caller)))
    return JSONResponse(page(items, after=query.get("after"), limit=limit))


async def _in_thread(function: Callable[[], Any]) -> Any:
    try:
        return await asyncio.to_thread(function)
    except UNAVAILABLE as error:
        raise APIError(
            503, f"The store is unavailable: {error}", headers={"retry-after": "2"}
        ) from None


def _parse(raw_body: bytes) -> dict[str, Any]:
    try:
        body = from_json(raw_body)
    except ValueError as error:
        raise APIError(400, f"The body is not JSON: {error}") from None
    if not isinstance(body, dict):
        raise APIError(400, "The body is not a JSON object")
    return body


def _response(item: ProjectJob) -> Response:
    return JSONResponse(to_openai(item.job, item.store.project))
