"""Templates and static files of the pages, with a strict Content-Security-Policy."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from backtalk.feedback.answers import is_plain
from backtalk.serve.pages.messages import message_parts
from backtalk.serve.pages.text_diff import diff_words, split_at_marks

HEADERS: Mapping[str, str] = {
    "content-security-policy": (
        "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
"""Headers of every page: own scripts and styles only, no frames, no caching."""

_TYPES = {"css": "text/css", "js": "text/javascript", "svg": "image/svg+xml", "txt": "text/plain"}
_IMMUTABLE = "public, max-age=31536000, immutable"


@cache
def environment() -> Environment:
    """Return the environment of the templates, with autoescaping."""
    templates = Environment(
        loader=PackageLoader("backtalk.serve.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["static"] = static_url
    templates.globals["diff_words"] = diff_words
    templates.globals["is_plain"] = is_plain
    templates.globals["message_parts"] = message_parts
    templates.globals["split_at_marks"] = split_at_marks
    templates.filters["time"] = format_time
    templates.filters["count"] = lambda number: f"{number:,}"
    return templates


def render(template: str, context: Mapping[str, Any], *, status: int = 200) -> Response:
    """Return a rendered page.

    Parameters
    ----------
    template : str
        Name of the template.
    context : Mapping[str, Any]
        Variables of the template.
    status : int, default 200
        HTTP status.
    """
    text = environment().get_template(template).render(context)
    return HTMLResponse(text, status, headers=dict(HEADERS))


def format_time(timestamp: datetime) -> str:
    """Return a time as text, in UTC."""
    return f"{timestamp:%Y-%m-%d %H:%M}"


@cache
def _static_files() -> Mapping[str, tuple[bytes, str]]:
    """Return the static files and their digests by name."""
    folder = files("backtalk.serve.pages").joinpath("static")
    contents = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    return {name: (content, sha256(content).hexdigest()[:12]) for name, content in contents.items()}


def static_url(name: str) -> str:
    """Return the URL of a static file, which contains the digest of its content."""
    file = _static_files().get(name)
    if file is None:
        raise LookupError(f"There is no static file {name!r}")
    return f"/static/{file[1]}/{name}"


async def static(request: Request) -> Response:
    """Serve a static file, cacheable for ever unless the URL has an old digest."""
    name = request.path_params["name"]
    file = _static_files().get(name)
    if file is None:
        return Response("There is no such file", 404, media_type="text/plain")
    content, digest = file
    current = request.path_params["digest"] == digest
    return Response(
        content,
        media_type=_TYPES.get(name.rpartition(".")[2], "application/octet-stream"),
        headers={
            "cache-control": _IMMUTABLE if current else "no-cache",
            "x-content-type-options": "nosniff",
        },
    )
