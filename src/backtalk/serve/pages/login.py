"""Signing in by pasting a key; where none is asked for, by giving a name."""

from __future__ import annotations

from starlette.responses import Response

from backtalk.serve.auth import ROLE_PERMISSIONS
from backtalk.serve.errors import APIError
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.serve.pages.sessions import KEY_SECONDS, NAME_SECONDS, Session, put_cookie
from backtalk.store.api_keys import digest_of

section = Section("", "", None)

_LONGEST_NAME = 100


@section.get("/login")
def login(visit: PageRequest) -> Response:
    """Show the form."""
    return _form(visit)


@section.post("/login")
def enter(visit: PageRequest) -> Response:
    """Sign in."""
    if "name" in visit.form and visit.local:
        return _with_name(visit)
    secret = visit.form.text("key").strip()
    digest = digest_of(secret)
    caller = visit.services.keyring.holder(digest) if secret else None
    if caller is None or caller.role is None:
        return _form(visit, wrong="This key does not hold: it is wrong, or it was revoked.")
    if "judge" not in ROLE_PERMISSIONS[caller.role]:
        return _form(visit, wrong=f"This is the key of an {caller.role}, not of a person.")
    session = visit.sessions.begin(digest=digest)
    return _entered(visit, session, seconds=KEY_SECONDS)


@section.post("/logout")
def leave(visit: PageRequest) -> Response:
    """Sign out."""
    response = visit.redirect("/login")
    put_cookie(visit.request, response, "", seconds=0)
    return response


def _with_name(visit: PageRequest) -> Response:
    name = " ".join(visit.form.text("name").split())
    if not name or len(name) > _LONGEST_NAME:
        return _form(visit, wrong=f"A name has 1 to {_LONGEST_NAME} characters.")
    return _entered(visit, visit.sessions.begin(name=name), seconds=NAME_SECONDS)


def _form(visit: PageRequest, *, wrong: str = "") -> Response:
    return visit.page(
        "login.html",
        status=422 if wrong else 200,
        title="Your name" if visit.local else "Sign in",
        next=visit.query("next"),
        wrong=wrong,
    )


def _entered(visit: PageRequest, session: Session, *, seconds: int) -> Response:
    response = visit.redirect(_inside(visit.query("next")))
    put_cookie(visit.request, response, visit.sessions.cookie(session), seconds=seconds)
    return response


def _inside(address: str) -> str:
    """Return an address of the pages, or their first one: a link could name any other place.

    >>> _inside("/inbox?task=1"), _inside("//elsewhere.org"), _inside("https://elsewhere.org")
    ('/inbox?task=1', '/', '/')
    """
    safe = address.startswith("/") and not address.startswith(("//", "/\\"))
    if not safe or any(ord(letter) < 0x20 for letter in address):
        return "/"
    return address


@section.get("/")
def first(visit: PageRequest) -> Response:
    """Go to the first page that the visitor may see."""
    if not visit.signed_in:
        return visit.redirect("/login")
    if not visit.navigation:
        raise APIError(403, "There is no page that you may see")
    return visit.redirect(visit.url(visit.navigation[0].path))
