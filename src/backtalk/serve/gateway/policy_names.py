"""Names of policies in requests that are forwarded to an upstream, which has no such models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from pydantic_core import from_json
from starlette.requests import Request

from backtalk.serve.backends.policy_resolver import PREFIX, parse_model_name
from backtalk.serve.errors import APIError

ANSWERING_PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
"""Endpoints at which policies answer."""

_MAX_DEPTH = 20
_FORM_MODEL = re.compile(rb'name="?model"?(?:;[^\r\n]*)?\r\n(?:[^\r\n]+\r\n)*\r\n([^\r\n]*)')
"""Field ``model`` of a form."""
_BATCH = re.compile(rb'name="?purpose"?\r\n(?:[^\r\n]+\r\n)*\r\nbatch\r\n')
"""Field ``purpose`` of the form that uploads a file of batch requests."""
_LINE_MODEL = re.compile(rb'"model"\s*:\s*"(' + PREFIX.encode() + rb'[^"]*)"')
"""Model in a line of a file of batch requests."""


def refuse_policy_names(request: Request, names: Iterable[str]) -> None:
    """Refuse a request to an endpoint that applies no policy if it names one as its model.

    Parameters
    ----------
    request : Request
        Request.
    names : iterable of str
        Models that it names.

    Raises
    ------
    APIError
        If one of them is a policy.
    """
    settings = request.app.state.services.settings
    for name in names:
        if parse_model_name(name, settings) is not None:
            path = request.scope["path"]
            raise APIError(
                400,
                f"{name!r} is a policy, and policies do not answer at {path}. Request it at "
                f"{', '.join(ANSWERING_PATHS[:-1])} or {ANSWERING_PATHS[-1]}, or name a model of "
                "the upstream",
                code="policy_not_supported",
                param="model",
            )


def model_names(request: Request, raw_body: bytes) -> Iterator[str]:
    """Yield the models that the path, the query and the body of a request name."""
    path = request.scope["path"]
    if PREFIX in path:
        yield from (f"{PREFIX}{end}" for end in path.split(f"/{PREFIX}")[1:])
    yield from sent_model_names(request, raw_body)


def sent_model_names(request: Request, raw_body: bytes) -> Iterator[str]:
    """Yield the models that the query and the body of a request name."""
    query = request.scope["query_string"].decode("latin-1")
    yield from _form_models(query)
    content_type = request.headers.get("content-type", "").lower()
    if content_type.startswith("multipart/"):
        yield from _multipart_models(raw_body)
    elif content_type.startswith("application/x-www-form-urlencoded"):
        yield from _form_models(raw_body.decode("utf-8", "replace"))
    if raw_body.lstrip()[:1] in {b"{", b"["}:
        try:
            yield from _json_models(from_json(raw_body), _MAX_DEPTH)
        except ValueError:
            return


def _form_models(form: str) -> Iterator[str]:
    if "model" in form:
        yield from (value for name, value in parse_qsl(form) if name == "model")


def _multipart_models(raw_body: bytes) -> Iterator[str]:
    patterns = [_FORM_MODEL, _LINE_MODEL] if _BATCH.search(raw_body) else [_FORM_MODEL]
    for pattern in patterns:
        for match in pattern.finditer(raw_body):
            yield match[1].decode("utf-8", "replace").strip()


def _json_models(value: Any, depth: int) -> Iterator[str]:
    """Yield the models that JSON names at any depth, except in metadata."""
    if depth == 0:
        return
    if isinstance(value, list):
        for item in value:
            yield from _json_models(item, depth - 1)
    elif isinstance(value, dict):
        for name, item in value.items():
            if name == "model" and isinstance(item, str):
                yield item
            elif name != "metadata":
                yield from _json_models(item, depth - 1)
