"""Pages of a memory's entries, by user, person, kind, state and text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from backtalk.memory.entry import EntryKind, EntryState, MemoryEntry
from backtalk.memory.rows import parse_row
from backtalk.store.memory_reader import PAGE, MemoryReader
from backtalk.store.memory_rows import EntryFilter, EntryRow


@dataclass(frozen=True)
class EntryQuery:
    """Conditions on entries. Empty fields match everything."""

    states: Sequence[EntryState] = ()
    kinds: Sequence[EntryKind] = ()
    user: str = ""
    """User in the entry's scope."""
    person: str = ""
    """Person who said it."""
    feedback: str = ""
    """Id of feedback that it was made from."""
    text: str = ""
    """Part of the text, ignoring case."""
    revision: int | None = None
    """Revision that added the entry."""

    def filter(self) -> EntryFilter:
        """Return the conditions for the store; those on the text only as far as it can."""
        links = {"user": self.user, "person": self.person, "feedback": self.feedback}
        # A database knows the case of ASCII letters only.
        escaped = json.dumps(self.text, ensure_ascii=False)[1:-1] if self.text.isascii() else ""
        return EntryFilter(
            states=self.states,
            kinds=self.kinds,
            links=[(role, name) for role, name in links.items() if name],
            text=escaped,
            only_revision=self.revision,
        )

    def matches_text(self, entry: MemoryEntry) -> bool:
        """Return true if the text occurs in an entry."""
        return self.text.casefold() in entry.text.casefold()


@dataclass(frozen=True)
class EntryPage:
    """Page of entries, the newest first."""

    entries: tuple[MemoryEntry, ...]
    next_cursor: int | None
    """Value of ``before`` for the next page, ``None`` at the end."""


def read_page(
    reader: MemoryReader, query: EntryQuery, *, before: int | None, size: int
) -> EntryPage:
    """Return a page of entries.

    Parameters
    ----------
    reader : MemoryReader
        Open connection.
    query : EntryQuery
        Conditions.
    before : int or None
        Row number before which the page begins; ``None`` for the newest entries.
    size : int
        Number of entries on a page.
    """
    cursor = reader.position().rows + 1 if before is None else before
    where = query.filter()
    matches: list[tuple[int, MemoryEntry]] = []
    limit = PAGE if query.text else size + 1
    while len(matches) <= size and (rows := reader.page(where, before=cursor, limit=limit)):
        entries = [(row.row, parse_row(row)) for row in rows]
        matches += [(row, entry) for row, entry in entries if query.matches_text(entry)]
        cursor = rows[-1].row
    page = matches[:size]
    more = len(matches) > size
    return EntryPage(tuple(entry for _, entry in page), page[-1][0] if more else None)


def as_seen(row: EntryRow, revision: int | None) -> MemoryEntry:
    """Return the entry of a row as a policy of a revision sees it.

    Parameters
    ----------
    row : EntryRow
        Row.
    revision : int or None
        Revision of the policy. An entry that a later revision superseded is active. ``None``: the
        last revision.
    """
    entry = parse_row(row)
    if revision is None or row.superseded is None or row.superseded <= revision:
        return entry
    return entry.model_copy(update={"state": "active"})
