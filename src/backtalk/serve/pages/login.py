"""Login with an API key or, if none is needed, with a name."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.serve.auth import ROLE_PERMISSIONS
from backtalk.serve.errors import APIError
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.serve.pages.sessions import (
    KEY_SESSION_SECONDS,
    NAME_SESSION_SECONDS,
    Session,
    set_cookie,
)
from backtalk.store.api_keys import hash_secret

section = Section("", "", None)

_MAX_NAME_LENGTH = 100


@section.get("/login")
def login(request: PageRequest) -> Response:
    """Show the login form."""
    return _form(request)


@section.post("/login")
def sign_in(request: PageRequest) -> Response:
    """Sign in."""
    if "name" in request.form and request.local:
        return _sign_in_by_name(request)
    secret = request.form.text("key").strip()
    digest = hash_secret(secret)
    caller = request.services.api_keys.owner(digest) if secret else None
    if caller is None or caller.role is None:
        return _form(request, error="Invalid or revoked API key.")
    if "judge" not in ROLE_PERMISSIONS[caller.role]:
        return _form(
            request, error=f"This key has the role {caller.role}, which cannot use the pages."
        )
    session = request.sessions.new_session(digest=digest)
    return _start_session(request, session, seconds=KEY_SESSION_SECONDS)


@section.post("/logout")
def sign_out(request: PageRequest) -> Response:
    """Sign out."""
    response = request.redirect("/login")
    set_cookie(request.http, response, "", seconds=0)
    return response


def _sign_in_by_name(request: PageRequest) -> Response:
    name = " ".join(request.form.text("name").split())
    if not name or len(name) > _MAX_NAME_LENGTH:
        return _form(request, error=f"A name has 1 to {_MAX_NAME_LENGTH} characters.")
    return _start_session(
        request, request.sessions.new_session(name=name), seconds=NAME_SESSION_SECONDS
    )


def _form(request: PageRequest, *, error: str = "") -> Response:
    return request.page(
        "login.html",
        status=422 if error else 200,
        title="Your name" if request.local else "Sign in",
        next=request.query("next"),
        error=error,
    )


def _start_session(request: PageRequest, session: Session, *, seconds: int) -> Response:
    response = request.redirect(_local_path(request.query("next")))
    set_cookie(request.http, response, request.sessions.cookie(session), seconds=seconds)
    return response


def _local_path(address: str) -> str:
    """Return a path of the pages, or ``/`` for anything else, which prevents open redirects.

    >>> [_local_path(url) for url in ("/inbox?task=1", "//evil.example", "https://evil.example")]
    ['/inbox?task=1', '/', '/']
    """
    safe = address.startswith("/") and not address.startswith(("//", "/\\"))
    if not safe or any(ord(letter) < 0x20 for letter in address):
        return "/"
    return address


@section.get("/")
def home(request: PageRequest) -> Response:
    """Redirect to the first section that the user may see."""
    if not request.signed_in:
        return request.redirect("/login")
    if not request.navigation:
        raise APIError(403, "Your role has no access to the pages")
    return request.redirect(request.url(request.navigation[0].path))
