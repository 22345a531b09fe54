"""Filters of memory entries, parsed from the URL of the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from backtalk.errors import BacktalkError
from backtalk.memory import EntryKind, EntryQuery
from backtalk.memory.entry import EntryState

KINDS: tuple[str, ...] = get_args(EntryKind)
STATES: tuple[str, ...] = get_args(EntryState)

PARAMETERS = ("text", "user", "person", "kind", "state", "conflicts")
"""Names of the parameters."""

ANY_STATE = "any"
"""Value of ``state`` for entries in every state; without it, the active ones are listed."""

_MAX_LENGTH = 2_000


def parse_query(parameters: Mapping[str, str]) -> EntryQuery:
    """Return the query of URL parameters.

    Raises
    ------
    BacktalkError
        If a parameter is not valid; the message names it.
    """
    for name, text in parameters.items():
        if len(text) > _MAX_LENGTH:
            raise BacktalkError(
                f"{name}: {len(text):,} characters are too many", f"Use at most {_MAX_LENGTH:,}"
            )
    kind = _one_of("kind", parameters["kind"], KINDS)
    state = _one_of("state", parameters["state"], (*STATES, ANY_STATE)) or "active"
    states: Any = () if state == ANY_STATE else (state,)
    kinds: Any = (kind,) if kind else ()
    return EntryQuery(
        states=states,
        kinds=kinds,
        user=parameters["user"],
        person=parameters["person"],
        text=parameters["text"],
    )


def _one_of(name: str, value: str, known: tuple[str, ...]) -> str:
    if value and value not in known:
        raise BacktalkError(f"{name}: there is no {value!r}", f"Use one of {', '.join(known)}")
    return value
