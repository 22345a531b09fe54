"""The page Settings: keys, projects, who did what, and what the gateway runs with."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from starlette.responses import Response

from backtalk.feedback.record import now
from backtalk.serve.errors import APIError
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.serve.pages.settings.view import runs_with, state_of
from backtalk.store.api_keys import ApiKey, ApiKeys

section = Section("/settings", "Settings", "manage")

_AUDITED = 200
_LONGEST_NAME = 100
_MOST_HOURS = 24 * 90


@section.get()
def overview(visit: PageRequest) -> Response:
    """Show everything that an admin looks after."""
    return _page(visit)


def _page(
    visit: PageRequest, *, made: ApiKey | None = None, secret: str = "", status: int = 200
) -> Response:
    access = _access(visit)
    kept = access.keys()
    return visit.page(
        "settings/all.html",
        title="Settings",
        status=status,
        made=made,
        secret=secret,
        keys=sorted(_seen(visit, kept), key=lambda key: key.revoked is not None),
        at=now(),
        names=visit.projects,
        project_options=[(name, name) for name in visit.projects],
        everywhere=visit.caller.project is None,
        audit=visit.store.audit_log.entries(project=visit.caller.project, limit=_AUDITED)[::-1],
        runs_with=runs_with(visit.services.settings),
        state=state_of(visit.services),
        first=_locks_out(visit, kept),
    )


def _access(visit: PageRequest) -> ApiKeys:
    return visit.store.api_keys


def _seen(visit: PageRequest, keys: Iterable[ApiKey]) -> list[ApiKey]:
    """Return the keys that the visitor looks after: an admin of one project, that project's."""
    own = visit.caller.project
    return [key for key in keys if own is None or key.project == own]


@section.post("/keys", "manage")
def add(visit: PageRequest) -> Response:
    """Make a key, and show its secret this one time."""
    name = _name(visit.form.text("name"))
    role = visit.form.text("role")
    project = visit.form.text("project") or None
    if visit.caller.project is not None:
        project = visit.caller.project
    elif project is not None and project not in visit.projects:
        raise APIError(404, f"There is no project {project!r}. Make it first")
    access = _access(visit)
    if _locks_out(visit, access.keys()) and (role != "admin" or project is not None):
        raise APIError(
            422,
            "The first key has to be one of an admin for all projects: from then on this gateway "
            "asks everybody for a key, and nobody else could come in here",
        )
    made, secret = access.add(name, role, project=project, actor=visit.name)
    visit.services.api_keys.refresh()
    return _page(visit, made=made, secret=secret)


def _locks_out(visit: PageRequest, kept: Iterable[ApiKey]) -> bool:
    """Return whether a key that is made now is the first, from which on everybody needs one."""
    if visit.services.settings.keys != "if-any":
        return False
    return not any(key.revoked is None for key in kept)


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > _LONGEST_NAME:
        raise APIError(422, f"A name has 1 to {_LONGEST_NAME} characters")
    return name


@section.post("/keys/{id}/rotate", "manage")
def rotate(visit: PageRequest) -> Response:
    """Give a key a new secret, and show it this one time."""
    key = _key(visit)
    made, secret = _access(visit).rotate(key.id, grace=_grace(visit), actor=visit.name)
    visit.services.api_keys.refresh()
    return _page(visit, made=made, secret=secret)


def _grace(visit: PageRequest) -> timedelta:
    text = visit.form.text("hours", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= _MOST_HOURS):
        raise APIError(422, f"hours: {text!r} is not a number from 0 to {_MOST_HOURS:,}")
    return timedelta(hours=int(text))


@section.post("/keys/{id}/revoke", "manage")
def revoke(visit: PageRequest) -> Response:
    """End a key at once."""
    key = _key(visit)
    if key.id == visit.caller.key:
        raise APIError(
            422, f"You are signed in with the key {key.name!r}. Sign in with another one to end it"
        )
    _access(visit).revoke(key.id, actor=visit.name)
    visit.services.api_keys.refresh()
    return visit.redirect(visit.url("/settings"))


def _key(visit: PageRequest) -> ApiKey:
    id_ = visit.part("id")
    for key in _seen(visit, _access(visit).keys()):
        if key.id == id_ and key.revoked is None:
            return key
    raise APIError(404, f"There is no key {id_!r} that holds and that you look after")


@section.post("/projects", "manage")
def make_project(visit: PageRequest) -> Response:
    """Make a project."""
    if visit.caller.project is not None:
        raise APIError(403, f"Your key is for project {visit.caller.project!r} only")
    name = _name(visit.form.text("name"))
    if name in visit.projects:
        raise APIError(409, f"There is a project {name!r}. Give it another name")
    visit.services.connection.store(name)
    visit.store.audit_log.append("project made", name, actor=visit.name, project=name)
    return visit.redirect(visit.url("/settings", project=name))
