"""Endpoints of files. Files of other purposes than fine-tuning are those of the upstream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

from backtalk.errors import NotFound
from backtalk.serve.auth import Caller
from backtalk.serve.errors import APIError
from backtalk.serve.files.file_store import (
    RESULTS,
    TRAINING,
    FileStore,
    StoredFile,
    is_stored_id,
)
from backtalk.serve.files.upload import Upload, read_lifetime, receive
from backtalk.serve.fine_tuning.job import job_status
from backtalk.serve.gateway.proxy import forward_unchanged
from backtalk.serve.pagination import page, read_limit, read_order
from backtalk.serve.services import PROJECT_HEADER, Services
from backtalk.serve.store_connection import UNAVAILABLE
from backtalk.serve.upstream_lists import with_upstream

_PATH = "/v1/files"
_MAX_LIMIT = 10_000
_FORM_BYTES = 100_000
"""Size of a form beyond that of its file, in bytes."""


def add_to(app: FastAPI) -> None:
    """Add the endpoints to an application."""
    for path, endpoint, method in (
        (_PATH, upload_file, "POST"),
        (_PATH, list_files, "GET"),
        (_PATH + "/{file_id}", retrieve_file, "GET"),
        (_PATH + "/{file_id}", delete_file, "DELETE"),
        (_PATH + "/{file_id}/content", file_content, "GET"),
    ):
        app.add_api_route(path, endpoint, methods=[method], response_model=None)


async def upload_file(request: Request) -> Response:
    """Store a file for fine-tuning. One with another purpose is forwarded to the upstream."""
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    files = services.fine_tuning.jobs.files()
    with await asyncio.to_thread(files.temporary_folder) as folder:
        upload = await receive(request, Path(folder), max_bytes=_max_bytes(services))
        if upload.fields.get("purpose") != TRAINING and services.upstreams.configured:
            return await forward_unchanged(request, await asyncio.to_thread(upload.body.read_bytes))
        content = Path(folder) / "content"
        caller = _may_train(services, request)
        filename = _check_form(upload, content)
        file = await asyncio.to_thread(
            files.add,
            services.project(request, caller),
            content,
            filename=filename,
            purpose=TRAINING,
            lifetime=read_lifetime(upload.fields),
        )
    return JSONResponse(file.to_openai())


def _max_bytes(services: Services) -> int:
    """Return the maximum size of an upload: the limits of requests and of files both apply."""
    settings = services.settings
    return min(
        settings.limits.max_body_bytes(_PATH), settings.fine_tuning.max_file_bytes + _FORM_BYTES
    )


def _check_form(upload: Upload, content: Path) -> str:
    """Check that a form has a file and the right purpose, and return the file's name."""
    purpose = upload.fields.get("purpose")
    if purpose is None:
        raise APIError(400, "'purpose' is a required property", param="purpose")
    if purpose != TRAINING:
        raise APIError(
            400,
            f"{purpose!r} is not a purpose of files here; upload files for fine-tuning with the "
            f"purpose {TRAINING!r}",
            param="purpose",
        )
    if upload.filename is None:
        raise APIError(400, "'file' is a required property", param="file")
    if content.stat().st_size == 0:
        raise APIError(400, "File is empty", param="file")
    return upload.filename


async def list_files(request: Request) -> Response:
    """List files, the latest first."""
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    query = request.query_params
    purpose = query.get("purpose")
    if purpose not in {None, TRAINING, RESULTS} and services.upstreams.configured:
        return await forward_unchanged(request, b"")
    caller = _may_train(services, request)
    limit = read_limit(query, default=_MAX_LIMIT, largest=_MAX_LIMIT)
    is_descending = read_order(query) == "desc"
    header = request.headers.get(PROJECT_HEADER)
    project = caller.project if header is None else caller.in_project(header, header)
    files = await asyncio.to_thread(services.fine_tuning.jobs.files().list, project)
    items = [file.to_openai() for file in files if purpose in {None, file.purpose}]
    if is_descending:
        items.reverse()
    if purpose is None:
        items = await with_upstream(request, items)
    return JSONResponse(page(items, after=query.get("after"), limit=limit))


async def retrieve_file(request: Request) -> Response:
    """Return the description of a file."""
    return await _with_file(request, lambda _, file: JSONResponse(file.to_openai()))


async def delete_file(request: Request) -> Response:
    """Delete a file, unless a job that has not ended needs it."""
    jobs = request.app.state.services.fine_tuning.jobs

    def delete(files: FileStore, file: StoredFile) -> Response:
        job = jobs.unfinished_job_with(file.id)
        if job is not None:
            raise APIError(
                409,
                f"The file {file.id} is needed by the job {job.id}, which is {job_status(job)}. "
                "Cancel the job first, or wait for its end",
                code="file_in_use",
                param="id",
            )
        files.delete(file)
        return JSONResponse({"id": file.id, "object": "file", "deleted": True})

    return await _with_file(request, delete)


async def file_content(request: Request) -> Response:
    """Return the content of a file."""
    return await _with_file(request, _content)


def _content(files: FileStore, file: StoredFile) -> Response:
    return FileResponse(
        files.content(file), media_type="application/octet-stream", filename=file.filename
    )


async def _with_file(
    request: Request, function: Callable[[FileStore, StoredFile], Response]
) -> Response:
    services: Services = request.app.state.services
    services.authorize(request, "answer")
    id_ = request.path_params["file_id"]
    if services.upstreams.configured and not is_stored_id(id_):
        return await forward_unchanged(request, await services.read_body(request))
    caller = _may_train(services, request)
    files = services.fine_tuning.jobs.files()

    def respond() -> Response:
        return function(files, files.find(id_, caller.project))

    try:
        return await asyncio.to_thread(respond)
    except NotFound as error:
        raise APIError(404, str(error), param="id") from None
    except UNAVAILABLE as error:
        raise APIError(
            503, f"The store is unavailable: {error}", headers={"retry-after": "2"}
        ) from None


def _may_train(services: Services, request: Request) -> Caller:
    """Return the caller, who needs the permission to fine-tune for files of the gateway."""
    return services.api_keys.authorize(request.headers, "train")
