"""Filters of interactions, parsed from the URL of the page."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from backtalk.errors import BacktalkError, NotFound
from backtalk.policy import read_policy
from backtalk.store import Store
from backtalk.store.search import SearchQuery

JUDGED = {"": None, "yes": True, "no": False}
"""Values of the parameter ``judged``."""

PARAMETERS = ("text", "user", "policy", "session", "kind", "judged", "since", "until", "deleted")
"""Names of the parameters."""

_MAX_LENGTH = 2_000
"""Maximum length of a parameter in characters."""


def parse_query(store: Store, parameters: Mapping[str, str]) -> SearchQuery:
    """Return the search query of URL parameters; a policy may be given by name.

    Raises
    ------
    BacktalkError
        If a parameter is not valid; the message names it.
    """
    for name, text in parameters.items():
        if len(text) > _MAX_LENGTH:
            raise BacktalkError(
                f"{name}: {len(text):,} characters are too many",
                f"Use at most {_MAX_LENGTH:,}",
            )
    if parameters["judged"] not in JUDGED:
        raise BacktalkError(
            f"judged: {parameters['judged']!r} is neither yes nor no", "Leave it out"
        )
    fields: dict[str, Any] = {
        name: parameters[name] for name in ("text", "user", "session", "kind")
    }
    return SearchQuery(
        **fields,
        policy=_policy_id(store, parameters["policy"]),
        judged=JUDGED[parameters["judged"]],
        since=_parse_time("since", parameters["since"], later=timedelta()),
        until=_parse_time("until", parameters["until"], later=timedelta(days=1)),
        deleted=bool(parameters["deleted"]),
    )


def _policy_id(store: Store, name: str) -> str:
    if not name:
        return ""
    try:
        return read_policy(store, name).id
    except NotFound:
        return name


def _parse_time(field: str, text: str, *, later: timedelta) -> datetime | None:
    """Return a time; a date is the start of the day, plus ``later``."""
    if not text:
        return None
    try:
        time = datetime.fromisoformat(text)
        if time.tzinfo is None:
            time = time.replace(tzinfo=UTC)
        return time.astimezone(UTC) + (later if len(text) <= len("2026-03-01") else timedelta())
    except (ValueError, OverflowError):
        raise BacktalkError(
            f"{field}: {text!r} is not a date", "Write it as in 2026-03-01 or 2026-03-01T12:00"
        ) from None
