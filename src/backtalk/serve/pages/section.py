"""The parts of the pages: each has a place in the navigation, and says what it takes to see it.

>>> section = Section("/parrots", "Parrots", "view")
>>> @section.get("/{id}")
... def parrot(visit: PageRequest) -> Response:
...     return visit.page("parrots/one.html", title="A parrot", id=visit.part("id"))
>>> @section.post("/{id}/feed", "manage")
... def feed(visit: PageRequest) -> Response:
...     return visit.redirect(visit.url("/parrots", visit.part("id")))
>>> [(route.method, route.path, route.act) for route in section.routes]
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
"""Of the pages alone: a store that hangs holds up no answer of the gateway."""

_RETRYABLE = frozenset({429, 503})
"""The statuses of what goes by."""

_TIMEOUT_SECONDS = 30.0
"""After so long without the store's answer, a page says that the store is away."""


@dataclass(frozen=True)
class PageRoute:
    """An address and what answers there."""

    method: Literal["GET", "POST"]
    path: str
    permission: Permission | None
    """What it takes; ``None`` for what everybody may do."""
    handler: Handler
    section: str


class Section:
    """A part of the pages.

    Parameters
    ----------
    path : str
        Where it begins.
    title : str
        Its name in the navigation.
    act : Permission or None
        What it takes to see it; ``None`` for what everybody may do.
    """

    def __init__(self, path: str, title: str, permission: Permission | None) -> None:
        self.path = path
        self.title = title
        self.act = permission
        self.routes: list[PageRoute] = []

    def get(self, path: str = "", permission: Permission | None = None) -> Callable[[Handler], Handler]:
        """Register what shows a page below the section's path. It runs on a thread."""
        return self._add("GET", path, permission)

    def post(self, path: str = "", permission: Permission | None = None) -> Callable[[Handler], Handler]:
        """Register what takes a form; the form's token has been checked. It runs on a thread."""
        return self._add("POST", path, permission)

    def _add(
        self, method: Literal["GET", "POST"], path: str, permission: Permission | None
    ) -> Callable[[Handler], Handler]:
        def register(handler: Handler) -> Handler:
            result = PageRoute(method, self.path + path, permission or self.act, handler, self.path)
            self.routes.append(result)
            return handler

        return register


def make_endpoint(route: PageRoute) -> Endpoint:
    """Return what answers requests at a route, and tells in words what went wrong."""

    async def endpoint(http: Request) -> Response:
        services: Services = http.app.state.services
        body = b""
        try:
            check_origin(http.headers, services.settings.origins)
            if route.method == "POST":
                body = await services.read_body(http)
            visit = make_page_request(http, body)
            visit.section = route.section
            http.scope["backtalk"]["caller"] = visit.name
            if answer := _check_access(visit, route):
                return answer
            return await _run_handler(route.handler, visit)
        except APIError as error:
            return _error_page(http, error, route.section, body)

    return endpoint


def _check_access(visit: PageRequest, route: PageRoute) -> Response | None:
    """Return where a visitor has to go first, if anywhere; refuse what they may not do."""
    _check_rate(visit)
    if route.permission is not None and not visit.signed_in:
        if route.method == "POST":
            raise APIError(401, "You are not signed in any more. Sign in, and send it again")
        target = visit.http.url
        after = f"{target.path}?{target.query}" if target.query else target.path
        return visit.redirect(visit.url("/login", project=None, next=after))
    if route.permission is not None and not visit.can(route.permission):
        raise APIError(
            403, f"You are signed in as {visit.name}, {visit.caller.role}, who may not do this"
        )
    if route.method == "POST":
        check_token(visit, visit.http.headers)
    return None


def _check_rate(visit: PageRequest) -> None:
    host = visit.http.client.host if visit.http.client else ""
    seconds = visit.services.rate_limits.take(f"pages {visit.caller.key or host}")
    if seconds > 0:
        raise APIError(
            429,
            f"Too many requests. Try again in {seconds:.0f} seconds",
            headers={"retry-after": str(max(1, round(seconds)))},
        )


async def _run_handler(handler: Handler, visit: PageRequest) -> Response:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            return await loop.run_in_executor(_THREADS, handler, visit)
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
        "The store is away. Answers and feedback are kept on the gateway's disk meanwhile. "
        "Try again in a moment",
        headers={"retry-after": "5"},
    )


def _error_page(http: Request, error: APIError, section: str, body: bytes) -> Response:
    """Return a page that tells what went wrong; in place of a part of a page, a part.

    What could not be kept for now can be sent again from there: nobody writes it twice.
    """
    try:
        visit = make_page_request(http, body)
    except APIError:
        return error.response()
    visit.section = section
    visit.projects = []  # they are in the store, which may be away
    response = visit.page(
        "_error.html" if visit.is_fragment else "error.html",
        status=error.status,
        title="Not done",
        message=error.message,
        again=visit.form.items() if error.status in _RETRYABLE else [],
    )
    response.headers.update(error.headers)
    return response
