"""Objects of the upstream beside those of the gateway: files and fine-tuning jobs."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from starlette.requests import Request

from backtalk.serve.errors import APIError
from backtalk.serve.gateway.completion_request import upstream_request
from backtalk.serve.gateway.disconnect import cancel_on_disconnect
from backtalk.serve.gateway.proxy import read_body
from backtalk.serve.services import Services

_UPSTREAM_LIMIT = 100
"""Number of objects of the upstream in a list."""


async def with_upstream(request: Request, items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return objects of the gateway, followed by the latest ones of the upstream.

    An upstream without such a list, or one that fails, adds none.

    Parameters
    ----------
    request : Request
        Request for a list. The upstream is asked for its first page.
    items : list of dict
        Objects of the gateway.
    """
    services: Services = request.app.state.services
    if not services.upstreams.configured:
        return items
    path = request.scope["path"].removeprefix("/v1")
    upstream = upstream_request(services, request, path, b"")
    upstream = replace(upstream, path=f"{path}?limit={_UPSTREAM_LIMIT}")
    with cancel_on_disconnect(request):
        try:
            sent = await services.upstreams.send(upstream, services.upstreams.configured[:1])
            response = json.loads(await read_body(sent))
        except (APIError, ValueError, RecursionError):
            return items
    data = response.get("data") if isinstance(response, dict) else None
    others = data if isinstance(data, list) else []
    return [*items, *(item for item in others if isinstance(item, dict) and "id" in item)]
