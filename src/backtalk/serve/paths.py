"""Paths of requests: the ways in which clients write the path of an endpoint."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote_to_bytes

from starlette.types import Scope

DEPLOYMENT = "backtalk.deployment"
"""Key of the ASGI scope for the deployment, which is a model, that the path names."""

_SLASHES = re.compile(rb"/{2,}")
_DEPLOYMENT = re.compile(rb"/(?:v1/)?(?:openai/deployments|engines)/(.+?)/(.+)")
"""Path of Azure's API, and of OpenAI's first one, with the deployment and the endpoint."""
_PREFIXES = re.compile(rb"(?:/openai)?(?:/v1)*(?=/)")

_BARE_NAMES = frozenset(
    {
        "audio", "batches", "chat", "completions", "embeddings", "feedback", "files",
        "fine_tuning", "images", "messages", "models", "moderations", "responses",
    }
)  # fmt: skip
"""First parts of the paths of endpoints that are recognised without ``/v1``."""


class PathNormalizer:
    """Rewriting of paths to those of the endpoints.

    Trailing and doubled slashes are removed, ``/v1`` may be missing or doubled, and the paths of
    Azure's API are accepted. Other paths stay as they are.

    Parameters
    ----------
    routes : iterable of str
        Paths of the routes. The endpoints are those below ``/v1``.
    """

    def __init__(self, routes: Iterable[str]) -> None:
        parts = [route.split("/") for route in routes if route.startswith("/v1/")]
        self._names = frozenset(part[2] for part in parts if not part[2].startswith("{"))

    def rewrite(self, scope: Scope) -> None:
        """Rewrite the path in the scope of a request, if it is that of an endpoint.

        >>> scope = {"path": "/openai/deployments/small/chat/completions"}
        >>> PathNormalizer(["/v1/chat/completions"]).rewrite(scope)
        >>> scope["path"], scope["backtalk.deployment"]
        ('/v1/chat/completions', 'small')
        """
        raw_path = scope.get("raw_path") or scope["path"].encode()
        path = _SLASHES.sub(b"/", raw_path).rstrip(b"/")
        deployment = _DEPLOYMENT.fullmatch(path)
        if deployment is not None:
            scope[DEPLOYMENT] = _decode(deployment[1])
            path = b"/v1/" + deployment[2]
        prefix = _PREFIXES.match(path)
        end = path[prefix.end() :] if prefix is not None else path
        name = _decode(end).split("/")[1] if end.startswith(b"/") else ""
        is_bare = prefix is None or not prefix[0]
        known = _BARE_NAMES if is_bare else self._names
        if deployment is not None or name in known:
            scope["raw_path"] = b"/v1" + end
            scope["path"] = _decode(scope["raw_path"])


def _decode(path: bytes) -> str:
    return unquote_to_bytes(path).decode("utf-8", "replace")
