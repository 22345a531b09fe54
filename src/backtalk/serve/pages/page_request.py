"""Request for a page: its session, permissions, project and form, and the response to it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, quote, urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from backtalk.feedback.record import now
from backtalk.serve.auth import ROLE_PERMISSIONS, Caller, Permission
from backtalk.serve.errors import APIError
from backtalk.serve.pages.rendering import HEADERS, render
from backtalk.serve.pages.sessions import Session, Sessions, cookie_name, sessions_for, set_cookie
from backtalk.serve.services import Services, check_host
from backtalk.store import Store

if TYPE_CHECKING:
    from backtalk.serve.pages.section import Section

TOKEN = "token"  # noqa: S105 - the name of a form's field
TOKEN_HEADER = "x-backtalk-token"  # noqa: S105
_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip")
_MAX_FIELDS = 2_000
_SAFE_IN_URLS = ":/%#?=@[]!$&'()*+,;"
"""Characters that are not escaped in the URL of a redirect."""


class Form:
    """Fields of a form, with normalised line ends and without NULs, which no database stores.

    >>> Form(b"text=a%0D%0Ab").text("text").splitlines(), Form(b"tag=x&tag=y").all("tag")
    (['a', 'b'], ['x', 'y'])
    """

    def __init__(self, body: bytes = b"") -> None:
        try:
            self._fields = parse_qs(
                body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=_MAX_FIELDS
            )
        except ValueError:
            raise APIError(413, f"The form has more than {_MAX_FIELDS:,} fields") from None

    def all(self, name: str) -> list[str]:
        """Return all values of a field."""
        return [
            value.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")
            for value in self._fields.get(name, [])
        ]

    def items(self) -> list[tuple[str, str]]:
        """Return all fields but the token, as name and value."""
        names = [name for name in self._fields if name != TOKEN]
        return [(name, value) for name in names for value in self.all(name)]

    def text(self, name: str, default: str = "") -> str:
        """Return the first value of a field."""
        return next(iter(self.all(name)), default)

    def __contains__(self, name: str) -> bool:
        return name in self._fields


@dataclass
class PageRequest:
    """Request for a page. Handlers run on a thread, so that they may read the store."""

    http: Request
    services: Services
    session: Session
    caller: Caller
    permissions: frozenset[Permission]
    """Permissions of the user."""
    local: bool
    """True if no key is needed: the user is at this machine."""
    form: Form
    new: bool = False
    """True if the browser does not have the session's cookie yet."""
    section: str = ""
    """Path of the navigation section that the page belongs to."""

    @property
    def name(self) -> str:
        """Name of the user: that of the key, or the one entered at login."""
        return self.session.name if self.local else self.caller.name

    @property
    def signed_in(self) -> bool:
        """True if the user is known."""
        return bool(self.name) and bool(self.permissions)

    def can(self, permission: Permission) -> bool:
        """Return true if the user has a permission."""
        return permission in self.permissions

    @cached_property
    def projects(self) -> list[str]:
        """Projects that the user may see."""
        if self.caller.project is not None:
            return [self.caller.project]
        default = self.services.settings.project
        return sorted({default, *self.services.connection.store(default).projects()})

    @cached_property
    def project(self) -> str:
        """Project in the URL; by default the key's project, or the gateway's.

        Raises
        ------
        APIError
            If the key has no access to it, or it does not exist; none is created.
        """
        name = self.query("project") or None
        project = self.caller.in_project(name, self.services.settings.project)
        if project not in self.projects:
            raise APIError(404, f"There is no project {project!r}. Choose one above")
        return project

    @cached_property
    def store(self) -> Store:
        """Store of the project."""
        return self.services.connection.store(self.project)

    @property
    def token(self) -> str:
        """CSRF token of the session's forms."""
        return self.sessions.token(self.session)

    @property
    def sessions(self) -> Sessions:
        """Maker and reader of session cookies."""
        return sessions_for(self.services.settings.state_folder)

    @property
    def navigation(self) -> list[Section]:
        """Navigation sections that the user may see."""
        sections: list[Section] = self.http.app.state.sections
        return [section for section in sections if section.permission in self.permissions]

    @property
    def is_fragment(self) -> bool:
        """True if htmx requests a fragment of a page."""
        return self.http.headers.get("hx-request") == "true"

    def query(self, name: str, default: str = "") -> str:
        """Return a query parameter, without NULs."""
        return self.http.query_params.get(name, default).replace("\0", "")

    def part(self, name: str) -> str:
        """Return a path parameter, without NULs."""
        return str(self.http.path_params[name]).replace("\0", "")

    def url(self, path: str, /, *parts: str, **query: object) -> str:
        """Return the URL of a page of the same project.

        Parameters
        ----------
        path : str
            Path, not escaped.
        parts
            Further path segments, such as ids and names, which are escaped.
        query
            Query parameters; ``None`` and empty ones are left out.
        """
        path = "/".join([path, *(quote(part, safe="") for part in parts)])
        if self.caller.project is None and "project" not in query:
            query["project"] = self.query("project") or self.services.settings.project
        parameters = {name: value for name, value in query.items() if value not in (None, "")}
        return f"{path}?{urlencode(parameters)}" if parameters else path

    def with_query(self, /, **query: object) -> str:
        """Return the URL of this page with changed parameters; ``None`` removes one."""
        return self.url(self.http.url.path, **{**self.http.query_params, **query})

    def page(self, template: str, *, status: int = 200, **context: object) -> Response:
        """Return a page, or a fragment of one.

        Parameters
        ----------
        template : str
            Name of the template.
        status : int, default 200
            HTTP status.
        **context : object
            Variables of the template.
        """
        return self._with_cookie(
            render(template, {"request": self, "now": now(), **context}, status=status)
        )

    def redirect(self, address: str) -> Response:
        """Redirect after a change, so that a reload repeats nothing."""
        address = quote(address, safe=_SAFE_IN_URLS)
        if self.is_fragment:
            return Response(status_code=204, headers={**HEADERS, "hx-redirect": address})
        return self._with_cookie(RedirectResponse(address, 303, headers=dict(HEADERS)))

    def _with_cookie(self, response: Response) -> Response:
        if self.new:
            set_cookie(
                self.http,
                response,
                self.sessions.cookie(self.session),
                seconds=self.session.expires - int(now().timestamp()),
            )
        return response


def make_page_request(http: Request, body: bytes = b"") -> PageRequest:
    """Return the page request of an HTTP request, with the user or without one."""
    services: Services = http.app.state.services
    sessions = sessions_for(services.settings.state_folder)
    session = sessions.read(http.cookies.get(cookie_name(http), ""))
    new = session is None
    session = session or sessions.new_session()
    caller, permissions, local = _authenticate(http, services, session)
    return PageRequest(http, services, session, caller, permissions, local, Form(body), new)


NOBODY = Caller("", "", None, None)


def _authenticate(
    http: Request, services: Services, session: Session
) -> tuple[Caller, frozenset[Permission], bool]:
    caller = services.api_keys.owner(session.digest) if session.digest else None
    if caller is not None and caller.role is not None:
        return caller, ROLE_PERMISSIONS[caller.role], False
    if not services.api_keys.required and _is_local(http):
        check_host(http.headers.get("host", ""))
        return NOBODY, ROLE_PERMISSIONS["admin"], True
    return NOBODY, frozenset(), False


def _is_local(http: Request) -> bool:
    """Return true if a request comes from this machine, and not through a proxy."""
    if any(name in http.headers for name in _FORWARDED) or http.client is None:
        return False
    try:
        return ipaddress.ip_address(http.client.host).is_loopback
    except ValueError:
        return False


def check_token(request: PageRequest, headers: Mapping[str, str]) -> None:
    """Check the CSRF token of a form.

    Raises
    ------
    APIError
        If the token is missing or is not the session's.
    """
    token = headers.get(TOKEN_HEADER) or request.form.text(TOKEN)
    if request.new or not request.sessions.check_token(token, request.session):
        raise APIError(
            403,
            "The form does not have your session's token. Go back, reload the page, and submit it "
            "again",
            code="token_missing",
        )
