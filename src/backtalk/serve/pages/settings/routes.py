"""Routes of the page Settings: API keys, projects, the audit log, and the configuration."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from starlette.responses import Response

from backtalk.serve.errors import APIError
from backtalk.serve.pages.page_request import PageRequest
from backtalk.serve.pages.section import Section
from backtalk.serve.pages.settings.view import describe_settings, describe_state
from backtalk.store.api_keys import ApiKey

section = Section("/settings", "Settings", "manage")

_MAX_AUDIT_ENTRIES = 200
_MAX_NAME_LENGTH = 100
_MAX_GRACE_HOURS = 24 * 90


@section.get()
def overview(request: PageRequest) -> Response:
    """Show the settings."""
    return _page(request)


def _page(
    request: PageRequest, *, key: ApiKey | None = None, secret: str = "", status: int = 200
) -> Response:
    keys = request.store.api_keys.keys()
    return request.page(
        "settings/overview.html",
        title="Settings",
        status=status,
        new_key=key,
        secret=secret,
        keys=sorted(_visible_keys(request, keys), key=lambda key: key.revoked is not None),
        projects=request.projects,
        project_options=[(name, name) for name in request.projects],
        everywhere=request.caller.project is None,
        audit=request.store.audit_log.entries(
            project=request.caller.project, limit=_MAX_AUDIT_ENTRIES
        )[::-1],
        settings_rows=describe_settings(request.services.settings),
        state_rows=describe_state(request.services),
        is_first_key=_is_first_key(request, keys),
    )


def _visible_keys(request: PageRequest, keys: Iterable[ApiKey]) -> list[ApiKey]:
    """Return the keys that the user may manage: those of the key's project, or all."""
    project = request.caller.project
    return [key for key in keys if project is None or key.project == project]


@section.post("/keys", "manage")
def add(request: PageRequest) -> Response:
    """Create a key, and show its secret once."""
    name = _name(request.form.text("name"))
    role = request.form.text("role")
    project = request.form.text("project") or None
    if request.caller.project is not None:
        project = request.caller.project
    elif project is not None and project not in request.projects:
        raise APIError(404, f"There is no project {project!r}. Create it first")
    is_full_admin = role == "admin" and project is None
    if _is_first_key(request, request.store.api_keys.keys()) and not is_full_admin:
        raise APIError(
            422,
            "The first key must be an admin key for all projects: once it exists, this gateway "
            "needs a key for every request, and otherwise nobody could sign in to create more",
        )
    key, secret = request.store.api_keys.add(name, role, project=project, actor=request.name)
    request.services.api_keys.refresh()
    return _page(request, key=key, secret=secret)


def _is_first_key(request: PageRequest, keys: Iterable[ApiKey]) -> bool:
    """Return true if a new key would be the first, after which every request needs one."""
    if request.services.settings.keys != "if-any":
        return False
    return not any(key.revoked is None for key in keys)


def _name(text: str) -> str:
    name = " ".join(text.split())
    if not name or len(name) > _MAX_NAME_LENGTH:
        raise APIError(422, f"A name has 1 to {_MAX_NAME_LENGTH} characters")
    return name


@section.post("/keys/{id}/rotate", "manage")
def rotate(request: PageRequest) -> Response:
    """Replace the secret of a key, and show the new one once."""
    key = _key(request)
    new_key, secret = request.store.api_keys.rotate(
        key.id, grace=_grace(request), actor=request.name
    )
    request.services.api_keys.refresh()
    return _page(request, key=new_key, secret=secret)


def _grace(request: PageRequest) -> timedelta:
    text = request.form.text("hours", "0")
    if not (text.isascii() and text.isdigit() and len(text) < 9 and int(text) <= _MAX_GRACE_HOURS):
        raise APIError(422, f"hours: {text!r} is not a number from 0 to {_MAX_GRACE_HOURS:,}")
    return timedelta(hours=int(text))


@section.post("/keys/{id}/revoke", "manage")
def revoke(request: PageRequest) -> Response:
    """Revoke a key."""
    key = _key(request)
    if key.id == request.caller.key:
        raise APIError(
            422,
            f"You are signed in with the key {key.name!r}. Sign in with another one to revoke it",
        )
    request.store.api_keys.revoke(key.id, actor=request.name)
    request.services.api_keys.refresh()
    return request.redirect(request.url("/settings"))


def _key(request: PageRequest) -> ApiKey:
    id_ = request.part("id")
    for key in _visible_keys(request, request.store.api_keys.keys()):
        if key.id == id_ and key.revoked is None:
            return key
    raise APIError(404, f"There is no valid key {id_!r} that you may manage")


@section.post("/projects", "manage")
def make_project(request: PageRequest) -> Response:
    """Create a project."""
    if request.caller.project is not None:
        raise APIError(403, f"Your key is for project {request.caller.project!r} only")
    name = _name(request.form.text("name"))
    if name in request.projects:
        raise APIError(409, f"The project {name!r} exists. Choose another name")
    request.services.connection.store(name)
    request.store.audit_log.append("project created", name, actor=request.name, project=name)
    return request.redirect(request.url("/settings", project=name))
