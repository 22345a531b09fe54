"""The gateway as an ASGI application."""

from __future__ import annotations

import gc
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backtalk.serve import admin, pages
from backtalk.serve.errors import APIError
from backtalk.serve.feedback import api as feedback_api
from backtalk.serve.gateway import endpoints as gateway
from backtalk.serve.gateway.completion_request import INTERACTION_HEADER, POLICY_HEADER
from backtalk.serve.observability.exporter import traces_of
from backtalk.serve.observability.logs import ACCESS
from backtalk.serve.openapi import described
from backtalk.serve.services import PROJECT_HEADER, Services
from backtalk.serve.settings import Settings

access = logging.getLogger(ACCESS)

VARIABLE = "BACKTALK_SERVE"
"""The variable through which worker processes get the settings, as JSON."""

_SWITCH_SECONDS = 0.0005
"""How long the thread that answers waits, at most, for the thread that writes to make room."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

_MOST_ASKED = {
    "/v1/chat/completions": gateway.chat_completions,
    "/v1/completions": gateway.completions,
    "/v1/feedback": feedback_api.post_feedback,
}
"""What is asked so often that the way to it counts."""

_ENDPOINTS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/embeddings": "embeddings",
    "/v1/feedback": "feedback",
    "/v1/feedback/schema": "schema",
    "/v1/models": "models",
    "/v1/purge": "purge",
    "/v1/audit": "audit",
    "/health": "health",
    "/ready": "ready",
    "/metrics": "metrics",
    "/backtalk.js": "script",
}


def create_app(settings: Settings) -> FastAPI:
    """Make a gateway.

    Parameters
    ----------
    settings : Settings
        Of the gateway.

    Returns
    -------
    FastAPI
        An application for uvicorn. Its files are opened when it starts.
    """
    traces = traces_of(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = app.state.services = Services(settings, traces)
        await services.start()
        yield
        await services.close()

    app = FastAPI(
        title="Backtalk",
        version=version("backtalk"),
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # it would lead to whatever host the request names
        # The gateway observes itself; later versions of FastAPI would do so too.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    _add_routes(app)
    pages.add_to(app)
    app.add_exception_handler(APIError, _refused)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _failed)
    app.add_middleware(FastPathMiddleware)
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type", "idempotency-key", PROJECT_HEADER],
            expose_headers=[INTERACTION_HEADER, POLICY_HEADER],
            max_age=3600,
        )
    if traces is not None:
        from backtalk.serve.observability.tracing import TracingMiddleware  # noqa: PLC0415 - needs backtalk[otel]

        app.add_middleware(TracingMiddleware, traces=traces, routes=frozenset(_ENDPOINTS))
    app.add_middleware(AccessLogMiddleware, gateway=app)
    return app


def from_environment() -> FastAPI:
    """Make the gateway of a worker process, whose settings are in the environment."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    # What is loaded by now stays: to look through it again would stop all answers for 50 ms.
    gc.collect()
    gc.freeze()
    return create_app(Settings.model_validate_json(os.environ[VARIABLE]))


def _add_routes(app: FastAPI) -> None:
    for path, endpoint in (
        ("/v1/chat/completions", gateway.chat_completions),
        ("/v1/completions", gateway.completions),
        ("/v1/embeddings", gateway.embeddings),
        ("/v1/feedback", feedback_api.post_feedback),
        ("/v1/purge", admin.purge),
    ):
        app.add_api_route(path, endpoint, methods=["POST"], response_model=None)
    for path, endpoint in (
        ("/v1/feedback/schema", feedback_api.feedback_schema),
        ("/v1/models", gateway.models),
        ("/v1/models/{name:path}", gateway.model),
        ("/v1/audit", admin.audit),
        ("/health", admin.health),
        ("/ready", admin.ready),
        ("/metrics", admin.metrics),
        ("/backtalk.js", admin.script),
        ("/openapi.json", described),
    ):
        app.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    app.add_api_route(
        "/v1/{path:path}",
        gateway.other,
        methods=_METHODS,
        response_model=None,
        include_in_schema=False,
    )


async def _refused(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, APIError)
    return error.response()


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"There is no {request.method} {request.url.path} here"
    if error.status_code not in {404, 405}:
        message = str(error.detail)
    return APIError(error.status_code, message, headers=error.headers).response()


async def _failed(request: Request, error: Exception) -> Response:
    del request, error
    return APIError(500, "The gateway failed; its log says how", code="internal_error").response()


class FastPathMiddleware:
    """Hands what is asked most often to its endpoint, past a routing that takes longer than that.

    Parameters
    ----------
    app : ASGIApp
        What answers everything else.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._inner = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = _MOST_ASKED.get(scope["path"]) if is_post else None
        if endpoint is None:
            await self._inner(scope, receive, send)
            return
        try:
            response = await endpoint(Request(scope, receive))
        except APIError as refused:
            response = refused.response()
        await response(scope, receive, send)


class AccessLogMiddleware:
    """Counts every request and writes a line about it; what was said in it is not in the line.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    gateway : FastAPI
        Whose services count.
    """

    def __init__(self, app: ASGIApp, *, gateway: FastAPI) -> None:
        self._inner = app
        self._app = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._inner(scope, receive, send)
            return
        started = time.perf_counter()
        about = scope["backtalk"] = {}
        status = 499

        async def sending(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._inner(scope, receive, sending)
        finally:
            self._note(scope, status, time.perf_counter() - started, about)

    def _note(self, scope: Scope, status: int, seconds: float, about: dict[str, Any]) -> None:
        path = scope["path"]
        endpoint = _ENDPOINTS.get(path, "other")
        self._app.state.services.metrics.request(endpoint, status, seconds)
        if access.isEnabledFor(logging.INFO):
            fields = {"status": status, "ms": round(1000 * seconds, 2), **about}
            access.info("%s %s", scope["method"], path, extra={"fields": fields})
