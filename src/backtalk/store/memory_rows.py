"""Rows of memories, and conditions on them.

Entries are JSON text here; :mod:`backtalk.memory` gives them their meaning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple


class Position(NamedTuple):
    """Last numbers of a memory."""

    revision: int = 0
    rows: int = 0
    changes: int = 0


class EntryRow(NamedTuple):
    """Row of an entry."""

    row: int
    """Number of the entry in its memory, from 1; it never changes and is never used again."""
    id: str
    kind: str
    state: str
    revision: int
    superseded: int | None
    """Lowest revision with an entry that supersedes it."""
    body: str


class ChangeRow(NamedTuple):
    """Row of a change."""

    number: int
    """Number of the change in its memory, from 1."""
    row: int
    entry: str
    action: str
    revision: int
    """Revision of the entry that was changed."""
    time: datetime
    actor: str
    reason: str
    before: str | None


class Link(NamedTuple):
    """Name under which an entry is entry."""

    role: str
    """``"user"``, ``"person"``, ``"feedback"``, ``"interaction"``, ``"supersedes"`` or
    ``"conflict"``."""
    name: str
    row: int


class Topic(NamedTuple):
    """Subject of an entry."""

    topic: str
    user: str
    """User to whom the entry applies; the empty string for all users."""
    row: int


@dataclass(frozen=True)
class EntryFilter:
    """Conditions on entries. Empty fields match everything."""

    states: Sequence[str] = ()
    kinds: Sequence[str] = ()
    revision: int | None = None
    """Maximum revision. An entry that a later revision superseded counts as active."""
    only_revision: int | None = None
    """Revision that added the entry."""
    links: Sequence[tuple[str, str]] = ()
    """Pairs of role and name that an entry has, all of them."""
    text: str = ""
    """Part of the entry's JSON; only a first selection, in which case may be ignored."""
