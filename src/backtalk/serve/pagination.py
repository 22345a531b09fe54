"""Pages of a list, as OpenAI's API returns them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backtalk.serve.errors import APIError


def read_limit(query: Mapping[str, str], *, default: int, largest: int) -> int:
    """Return the page size of a request.

    Parameters
    ----------
    query : Mapping[str, str]
        Query parameters.
    default : int
        Size if the query has none.
    largest : int
        Maximum size.

    Raises
    ------
    APIError
        If it is not a number from 1 to the maximum.
    """
    text = query.get("limit")
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:9]) <= largest:
        raise APIError(400, f"limit must be a number from 1 to {largest:,}", param="limit")
    return int(text)


def read_order(query: Mapping[str, str], *, default: str = "desc") -> str:
    """Return the order of a list: ``"asc"`` or ``"desc"``.

    Parameters
    ----------
    query : Mapping[str, str]
        Query parameters.
    default : str, default "desc"
        Order if the query has none.

    Raises
    ------
    APIError
        If it is another one.
    """
    order = query.get("order", default)
    if order not in {"asc", "desc"}:
        raise APIError(400, "order must be asc or desc", param="order")
    return order


def page(items: Sequence[dict[str, Any]], *, after: str | None, limit: int) -> dict[str, Any]:
    """Return a page of objects.

    Parameters
    ----------
    items : sequence of dict
        All objects, in order.
    after : str or None
        Id of the last object of the page before; ``None`` for the first page.
    limit : int
        Maximum number of objects.

    Raises
    ------
    APIError
        If no object has the id.
    """
    start = 0
    if after is not None:
        ids = [item["id"] for item in items]
        if after not in ids:
            raise APIError(400, f"There is no object {after!r} in this list", param="after")
        start = ids.index(after) + 1
    shown = list(items[start : start + limit])
    return {
        "object": "list",
        "data": shown,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
        "has_more": start + limit < len(items),
    }
