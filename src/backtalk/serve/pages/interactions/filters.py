"""What is looked for among interactions, as it stands in the address of the page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from backtalk.errors import BacktalkError, NotFound
from backtalk.policy import read_policy
from backtalk.store import Store
from backtalk.store.search import SearchQuery

JUDGED = {"": None, "yes": True, "no": False}
"""The values of the parameter ``judged``."""

NAMES = ("text", "user", "policy", "session", "kind", "judged", "since", "until", "deleted")
"""The parameters there are."""

_LONGEST = 2_000
"""Databases compare with no text that is much longer."""


def wanted(store: Store, given: Mapping[str, str]) -> SearchQuery:
    """Return what parameters of an address ask for; a policy may be called by its name.

    Raises
    ------
    BacktalkError
        If a parameter cannot be read; the message names it.
    """
    for name, text in given.items():
        if len(text) > _LONGEST:
            raise BacktalkError(
                f"{name}: {len(text):,} characters are too many to look for",
                f"Leave all but {_LONGEST:,} out",
            )
    if given["judged"] not in JUDGED:
        raise BacktalkError(f"judged: {given['judged']!r} is neither yes nor no", "Leave it out")
    fields: dict[str, Any] = {name: given[name] for name in ("text", "user", "session", "kind")}
    return SearchQuery(
        **fields,
        policy=_policy_id(store, given["policy"]),
        judged=JUDGED[given["judged"]],
        since=_timestamp("since", given["since"], later=timedelta()),
        until=_timestamp("until", given["until"], later=timedelta(days=1)),
        deleted=bool(given["deleted"]),
    )


def _policy_id(store: Store, name: str) -> str:
    if not name:
        return ""
    try:
        return read_policy(store, name).id
    except NotFound:
        return name


def _timestamp(field: str, text: str, *, later: timedelta) -> datetime | None:
    """Return a moment; a date is its beginning, or so much later: its end."""
    if not text:
        return None
    try:
        result = datetime.fromisoformat(text)
        if result.tzinfo is None:
            result = result.replace(tzinfo=UTC)
        return result.astimezone(UTC) + (later if len(text) <= len("2026-03-01") else timedelta())
    except (ValueError, OverflowError):
        raise BacktalkError(
            f"{field}: {text!r} is not a date", "Write it as in 2026-03-01 or 2026-03-01T12:00"
        ) from None
