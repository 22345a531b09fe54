"""APIs that upstreams have: declared in the settings, or learned from their answers."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Literal

from starlette.responses import Response

from backtalk.serve.backends.upstream import Upstream

Api = Literal["chat", "responses", "messages"]

_MISSING_STATUS = frozenset({404, 405, 501})
_OBJECTS = ("model", "previous", "with id")
"""Words of the errors about an object that does not exist, at an endpoint that does."""
_ASK_AGAIN_SECONDS = 600.0
"""Seconds after which an upstream that lacked an API is asked again."""

_learned: dict[tuple[str, Api], tuple[bool, float]] = {}
"""True if an upstream has an API, and the time at which that was learned, in seconds."""


def has_api(upstream: Upstream, api: Api) -> bool | None:
    """Return true if an upstream has an API, ``None`` if that is unknown."""
    if upstream.settings.apis is not None:
        return api in upstream.settings.apis
    known, at = _learned.get((upstream.name, api), (None, 0.0))
    if known is False and time.monotonic() - at > _ASK_AGAIN_SECONDS:
        return None
    return known


def learn_api(upstream: Upstream, api: Api, response: Response) -> bool:
    """Remember what an answer tells about an API; return true if the upstream lacks it.

    An upstream that is known to have an API does not lack it later.

    Parameters
    ----------
    upstream : Upstream
        Upstream that has answered.
    api : {"chat", "responses", "messages"}
        API of the request.
    response : Response
        Answer of the upstream.
    """
    if has_api(upstream, api) is True:
        return False
    lacks_api = is_missing(response)
    if lacks_api or response.status_code == 200:
        _learned[upstream.name, api] = (not lacks_api, time.monotonic())
    return lacks_api


def first_group(upstreams: Sequence[Upstream], api: Api) -> tuple[list[Upstream], bool]:
    """Return the first upstreams that can be asked together, and true if they may have the API.

    An upstream of which that is unknown is asked alone.

    Parameters
    ----------
    upstreams : sequence of Upstream
        Upstreams in order, at least one.
    api : {"chat", "responses", "messages"}
        API of the request.
    """
    first = has_api(upstreams[0], api)
    count = 1
    while first is not None and count < len(upstreams) and has_api(upstreams[count], api) is first:
        count += 1
    return list(upstreams[:count]), first is not False


def is_missing(response: Response) -> bool:
    """Return true if an answer says that the server does not have the endpoint.

    An error about a model or another object is no such answer. LM Studio answers with an error and
    the status 200.
    """
    content = getattr(response, "body", None)
    if content is None or (response.status_code not in _MISSING_STATUS and len(content) > 1_000):
        return False
    try:
        value = json.loads(bytes(content))
    except (ValueError, RecursionError):
        return response.status_code in _MISSING_STATUS
    error = value.get("error") if isinstance(value, dict) else None
    if response.status_code == 200:
        return isinstance(error, str) and error.startswith("Unexpected endpoint")
    if response.status_code not in _MISSING_STATUS:
        return False
    return not (isinstance(error, dict) and _is_about_object(error))


def _is_about_object(error: dict[str, object]) -> bool:
    if error.get("code") == "upstream_failed":  # the gateway's own, for an error that is not JSON
        return False
    about = f"{error.get('code')} {error.get('message')}".lower()
    return bool(error.get("param")) or any(word in about for word in _OBJECTS)
