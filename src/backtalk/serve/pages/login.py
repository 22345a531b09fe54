"""Signing in by pasting a key; where none is asked for, by giving a name."""

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
def login(visit: PageRequest) -> Response:
    """Show the form."""
    return _form(visit)


@section.post("/login")
def sign_in(visit: PageRequest) -> Response:
    """Sign in."""
    if "name" in visit.form and visit.local:
        return _sign_in_by_name(visit)
    secret = visit.form.text("key").strip()
    digest = hash_secret(secret)
    caller = visit.services.api_keys.owner(digest) if secret else None
    if caller is None or caller.role is None:
        return _form(visit, error="This key does not hold: it is wrong, or it was revoked.")
    if "judge" not in ROLE_PERMISSIONS[caller.role]:
        return _form(visit, error=f"This is the key of an {caller.role}, not of a person.")
    session = visit.sessions.new_session(digest=digest)
    return _start_session(visit, session, seconds=KEY_SESSION_SECONDS)


@section.post("/logout")
def sign_out(visit: PageRequest) -> Response:
    """Sign out."""
    response = visit.redirect("/login")
    set_cookie(visit.http, response, "", seconds=0)
    return response


def _sign_in_by_name(visit: PageRequest) -> Response:
    name = " ".join(visit.form.text("name").split())
    if not name or len(name) > _MAX_NAME_LENGTH:
        return _form(visit, error=f"A name has 1 to {_MAX_NAME_LENGTH} characters.")
    return _start_session(visit, visit.sessions.new_session(name=name), seconds=NAME_SESSION_SECONDS)


def _form(visit: PageRequest, *, error: str = "") -> Response:
    return visit.page(
        "login.html",
        status=422 if error else 200,
        title="Your name" if visit.local else "Sign in",
        next=visit.query("next"),
        wrong=error,
    )


def _start_session(visit: PageRequest, session: Session, *, seconds: int) -> Response:
    response = visit.redirect(_local_path(visit.query("next")))
    set_cookie(visit.http, response, visit.sessions.cookie(session), seconds=seconds)
    return response


def _local_path(address: str) -> str:
    """Return an address of the pages, or their first one: a link could name any other place.

    >>> _inside("/inbox?task=1"), _inside("//elsewhere.org"), _inside("https://elsewhere.org")
    ('/inbox?task=1', '/', '/')
    """
    safe = address.startswith("/") and not address.startswith(("//", "/\\"))
    if not safe or any(ord(letter) < 0x20 for letter in address):
        return "/"
    return address


@section.get("/")
def home(visit: PageRequest) -> Response:
    """Go to the first page that the visitor may see."""
    if not visit.signed_in:
        return visit.redirect("/login")
    if not visit.navigation:
        raise APIError(403, "There is no page that you may see")
    return visit.redirect(visit.url(visit.navigation[0].path))
