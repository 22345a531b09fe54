"""ASGI application of the gateway."""

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
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from backtalk.serve import admin, pages
from backtalk.serve.errors import APIError
from backtalk.serve.feedback import api as feedback_api
from backtalk.serve.files import endpoints as files
from backtalk.serve.fine_tuning import endpoints as fine_tuning
from backtalk.serve.gateway import endpoints as gateway
from backtalk.serve.gateway.completion_request import (
    INTERACTION_HEADER,
    POLICY_HEADER,
    UPSTREAM_ID_HEADER,
)
from backtalk.serve.gateway.messages import endpoints as messages
from backtalk.serve.gateway.responses import endpoints as responses
from backtalk.serve.gateway.stored_completions import stored_completion
from backtalk.serve.observability.exporter import make_tracing
from backtalk.serve.observability.logs import ACCESS
from backtalk.serve.openapi import openapi_document
from backtalk.serve.paths import PathNormalizer
from backtalk.serve.services import Services
from backtalk.serve.settings import SETTINGS_VARIABLE, Settings

access = logging.getLogger(ACCESS)

_SWITCH_SECONDS = 0.0005
"""Maximum delay of the event loop by the writer thread, which holds the interpreter lock."""

_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]

_EXPOSED_HEADERS = [
    INTERACTION_HEADER, POLICY_HEADER, UPSTREAM_ID_HEADER, "x-request-id", "request-id",
    "openai-processing-ms", "retry-after", "retry-after-ms", "x-should-retry",
    "x-ratelimit-limit-requests", "x-ratelimit-limit-tokens", "x-ratelimit-remaining-requests",
    "x-ratelimit-remaining-tokens", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens",
]  # fmt: skip
"""Response headers that scripts of web pages may read."""

_FAST_PATHS = {
    "/v1/chat/completions": gateway.chat_completions,
    "/v1/completions": gateway.completions,
    "/v1/responses": responses.create_response,
    "/v1/messages": messages.create_message,
    "/v1/feedback": feedback_api.post_feedback,
}
"""Endpoints that are hot enough to bypass FastAPI's router."""

_ENDPOINTS = {
    "/v1/chat/completions": "chat",
    "/v1/completions": "completions",
    "/v1/responses": "responses",
    "/v1/messages": "messages",
    "/v1/embeddings": "embeddings",
    "/v1/feedback": "feedback",
    "/v1/feedback/schema": "schema",
    "/v1/models": "models",
    "/v1/purge": "purge",
    "/v1/audit": "audit",
    "/v1/files": "files",
    "/v1/fine_tuning/jobs": "fine_tuning",
    "/health": "health",
    "/ready": "ready",
    "/metrics": "metrics",
    "/backtalk.js": "script",
}


def create_app(settings: Settings) -> FastAPI:
    """Return a gateway.

    Parameters
    ----------
    settings : Settings
        Settings of the gateway.

    Returns
    -------
    FastAPI
        Application for an ASGI server. Its files and threads are opened on startup.
    """
    tracing = make_tracing(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        services = app.state.services = Services(settings, tracing)
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
        redirect_slashes=False,  # redirects would go to the host that the request names
        # The gateway has its own telemetry; later versions of FastAPI add theirs by default.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    _add_routes(app)
    pages.add_to(app)
    app.add_exception_handler(APIError, _handle_api_error)
    app.add_exception_handler(HTTPException, _handle_http_error)
    app.add_exception_handler(Exception, _handle_exception)
    routes = [route.path for route in app.routes if isinstance(route, APIRoute)]
    app.add_middleware(FastPathMiddleware, paths=PathNormalizer(routes))
    if settings.origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(settings.origins),
            allow_methods=_METHODS,
            allow_headers=["*"],  # clients of pages that are let in send headers of their own
            allow_private_network=True,
            expose_headers=_EXPOSED_HEADERS,
            max_age=3600,
        )
    if tracing is not None:
        from backtalk.serve.observability.tracing import TracingMiddleware  # noqa: PLC0415 - needs backtalk[otel]

        app.add_middleware(TracingMiddleware, tracing=tracing, routes=frozenset(_ENDPOINTS))
    app.add_middleware(AccessLogMiddleware, gateway=app)
    return app


def from_environment() -> FastAPI:
    """Return the gateway of a worker process, with the settings in the environment."""
    sys.setswitchinterval(_SWITCH_SECONDS)
    # Exclude loaded modules from garbage collection, which would pause all requests for 50 ms.
    gc.collect()
    gc.freeze()
    # Fields of log records that the gateway's lines do not have.
    logging.logThreads = logging.logProcesses = logging.logMultiprocessing = False
    return create_app(Settings.model_validate_json(os.environ[SETTINGS_VARIABLE]))


def _add_routes(app: FastAPI) -> None:
    for path, endpoint in (
        ("/v1/chat/completions", gateway.chat_completions),
        ("/v1/completions", gateway.completions),
        ("/v1/responses", responses.create_response),
        ("/v1/responses/input_tokens", responses.count_input_tokens),
        ("/v1/messages", messages.create_message),
        ("/v1/messages/count_tokens", messages.count_tokens),
        ("/v1/embeddings", gateway.embeddings),
        ("/v1/feedback", feedback_api.post_feedback),
        ("/v1/purge", admin.purge),
    ):
        app.add_api_route(path, endpoint, methods=["POST"], response_model=None)
    for path, endpoint in (
        ("/v1/feedback/schema", feedback_api.feedback_schema),
        ("/v1/responses/{id}", responses.retrieve_response),
        ("/v1/responses/{id}/input_items", responses.list_input_items),
        ("/v1/models", gateway.models),
        ("/v1/models/{name:path}", gateway.model),
        ("/v1/audit", admin.audit),
        ("/health", admin.health),
        ("/ready", admin.ready),
        ("/metrics", admin.metrics),
        ("/backtalk.js", admin.script),
        ("/openapi.json", openapi_document),
    ):
        app.add_api_route(path, endpoint, methods=["GET"], response_model=None)
    files.add_to(app)
    fine_tuning.add_to(app)
    app.add_api_route(
        "/v1/responses/{id}", responses.delete_response, methods=["DELETE"], response_model=None
    )
    for path in ("/v1/chat/completions/{id}", "/v1/chat/completions/{id}/messages"):
        app.add_api_route(
            path,
            stored_completion,
            methods=["GET", "POST", "DELETE"],
            response_model=None,
            include_in_schema=False,
        )
    app.add_api_route(
        "/v1/{path:path}",
        gateway.other,
        methods=_METHODS,
        response_model=None,
        include_in_schema=False,
    )


async def _handle_api_error(request: Request, error: Exception) -> Response:
    del request
    assert isinstance(error, APIError)
    return error.response()


async def _handle_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = f"There is no endpoint {request.method} {request.url.path}"
    if error.status_code not in {404, 405}:
        message = str(error.detail)
    return APIError(error.status_code, message, headers=error.headers).response()


async def _handle_exception(request: Request, error: Exception) -> Response:
    del request, error
    return APIError(500, "Internal error; see the gateway's log", code="internal_error").response()


class FastPathMiddleware:
    """Dispatches the hottest POST routes directly, bypassing FastAPI's router.

    Parameters
    ----------
    app : ASGIApp
        Inner application, for all other routes.
    paths : PathNormalizer
        Rewriting of other spellings of the paths.
    """

    def __init__(self, app: ASGIApp, *, paths: PathNormalizer) -> None:
        self._app = app
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        endpoint = _FAST_PATHS.get(scope["path"]) if is_post else None
        if endpoint is None and scope["type"] == "http":
            self._paths.rewrite(scope)
            endpoint = _FAST_PATHS.get(scope["path"]) if is_post else None
        if endpoint is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await endpoint(Request(scope, receive))
        except APIError as error:
            response = error.response()
        await response(scope, receive, send)


class AccessLogMiddleware:
    """Counts and logs every request. Message content is not logged.

    Parameters
    ----------
    app : ASGIApp
        Inner application.
    gateway : FastAPI
        Gateway whose metrics count the requests.
    """

    def __init__(self, app: ASGIApp, *, gateway: FastAPI) -> None:
        self._app = app
        self._gateway = gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        fields = scope["backtalk"] = {}
        status = 499

        async def observed_send(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, observed_send)
        finally:
            self._log(scope, status, time.perf_counter() - started, fields)

    def _log(self, scope: Scope, status: int, seconds: float, fields: dict[str, Any]) -> None:
        path = scope["path"]
        endpoint = _ENDPOINTS.get(path, "other")
        self._gateway.state.services.metrics.count_request(endpoint, status, seconds)
        if access.isEnabledFor(logging.INFO):
            extra = {"status": status, "ms": round(1000 * seconds, 2), **fields}
            access.info("%s %s", scope["method"], path, extra={"fields": extra})
