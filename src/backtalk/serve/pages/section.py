"""Sections of the pages: routes with permissions, and an entry in the navigation.

>>> section = Section("/parrots", "Parrots", "view")
>>> @section.get("/{id}")
... def parrot(request: PageRequest) -> Response:
...     return request.page("parrots/detail.html", title="A parrot", id=request.part("id"))
>>> @section.post("/{id}/feed", "manage")
... def feed(request: PageRequest) -> Response:
...     return request.redirect(request.url("/parrots", request.part("id")))
>>> [(route.method, route.path, route.permission) for route in section.routes]
[('GET', '/parrots/{id}', 'view'), ('POST', '/parrots/{id}/feed', 'manage')]
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

from starlette.requests import Request
from starlette.responses import Response

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.serve.auth import Permission
from backtalk.serve.errors import APIError
from backtalk.serve.pages.page_request import PageRequest, check_token, make_page_request
from backtalk.serve.services import Services, check_origin
from backtalk.serve.store_connection import UNAVAILABLE

Handler = Callable[[PageRequest], Response]
Endpoint = Callable[[Request], Awaitable[Response]]

_THREADS = ThreadPoolExecutor(8, thread_name_prefix="backtalk-pages")
"""Threads of the pages, apart from the gateway's, which a slow store must not block."""

_RETRYABLE = frozenset({429, 503})
"""HTTP statuses after which a form can be submitted again."""

_TIMEOUT_SECONDS = 30.0
"""Timeout of a handler in seconds, after which the store counts as unavailable."""


@dataclass(frozen=True)
class PageRoute:
    """Route of a page."""

    method: Literal["GET", "POST"]
    path: str
    permission: Permission | None
    """Permission needed; ``None`` for public routes."""
    handler: Handler
    section: str


class Section:
    """Section of the pages.

    Parameters
    ----------
    path : str
        Path prefix of its routes.
    title : str
        Title in the navigation.
    permission : Permission or None
        Permission needed to see it; ``None`` for public sections.
    """

    def __init__(self, path: str, title: str, permission: Permission | None) -> None:
        self.path = path
        self.title = title
        self.permission = permission
        self.routes: list[PageRoute] = []

    def get(
        self, path: str = "", permission: Permission | None = None
    ) -> Callable[[Handler], Handler]:
        """Register a handler of GET requests below the section's path. It runs on a thread."""
        return self._add("GET", path, permission)

    def post(
        self, path: str = "", permission: Permission | None = None
    ) -> Callable[[Handler], Handler]:
        """Register a handler of forms, whose token has been checked. It runs on a thread."""
        return self._add("POST", path, permission)

    def _add(
        self, method: Literal["GET", "POST"], path: str, permission: Permission | None
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            needed = permission or self.permission
            self.routes.append(PageRoute(method, self.path + path, needed, handler, self.path))
            return handler

        return register


def make_endpoint(route: PageRoute) -> Endpoint:
    """Return the endpoint of a route, which turns errors into pages."""

    async def endpoint(http: Request) -> Response:
        services: Services = http.app.state.services
        body = b""
        try:
            check_origin(http.headers, services.settings.origins)
            if route.method == "POST":
                body = await services.read_body(http)
            request = make_page_request(http, body)
            request.section = route.section
            http.scope["backtalk"]["caller"] = request.name
            if redirect := _check_access(request, route):
                return redirect
            return await _run_handler(route.handler, request)
        except APIError as error:
            return _error_page(http, error, route.section, body)

    return endpoint


def _check_access(request: PageRequest, route: PageRoute) -> Response | None:
    """Return a redirect to the login page if needed; raise ``APIError`` without permission."""
    _check_rate(request)
    if route.permission is not None and not request.signed_in:
        if route.method == "POST":
            raise APIError(401, "Your session has ended. Sign in, and submit the form again")
        target = request.http.url
        address = f"{target.path}?{target.query}" if target.query else target.path
        return request.redirect(request.url("/login", project=None, next=address))
    if route.permission is not None and not request.can(route.permission):
        raise APIError(
            403,
            f"You are signed in as {request.name}, whose role {request.caller.role} does not "
            "permit it",
        )
    if route.method == "POST":
        check_token(request, request.http.headers)
    return None


def _check_rate(request: PageRequest) -> None:
    host = request.http.client.host if request.http.client else ""
    seconds = request.services.rate_limits.take(f"pages {request.caller.key or host}")
    if seconds > 0:
        raise APIError(
            429,
            f"Too many requests. Try again in {seconds:.0f} seconds",
            headers={"retry-after": str(max(1, round(seconds)))},
        )


async def _run_handler(handler: Handler, request: PageRequest) -> Response:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await loop.run_in_executor(_THREADS, handler, request)
    except TimeoutError:
        raise _store_unavailable() from None
    except UNAVAILABLE:
        raise _store_unavailable() from None
    except NotFound as error:
        raise APIError(404, f"{error}") from None
    except Conflict as error:
        raise APIError(409, f"{error}") from None
    except BacktalkError as error:
        raise APIError(422, f"{error}") from None


def _store_unavailable() -> APIError:
    return APIError(
        503,
        "The store is unavailable. The gateway saves answers and feedback on its disk until it is "
        "available again. Try again in a moment",
        headers={"retry-after": "5"},
    )


def _error_page(http: Request, error: APIError, section: str, body: bytes) -> Response:
    """Return the page, or the fragment, that shows an error.

    If the error is temporary, the page offers the form again with its fields.
    """
    try:
        request = make_page_request(http, body)
    except APIError:
        return error.response()
    request.section = section
    request.projects = []  # reading them needs the store, which may be unavailable
    response = request.page(
        "_error.html" if request.is_fragment else "error.html",
        status=error.status,
        title="Error",
        message=error.message,
        fields=request.form.items() if error.status in _RETRYABLE else [],
    )
    response.headers.update(error.headers)
    return response
