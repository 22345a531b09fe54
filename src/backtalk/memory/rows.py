"""Conversion between entries and rows of the store."""

from __future__ import annotations

from backtalk.memory.change import Action, MemoryChange
from backtalk.memory.contradictions import topics_of
from backtalk.memory.entry import MemoryEntry
from backtalk.store.memory_rows import ChangeRow, EntryRow, Link, Topic

LIVING = ("active", "superseded")
"""States of entries that hold, or would hold without others."""

FORGOTTEN = "(forgotten)"
"""Text of a forgotten entry."""


def make_row(row: int, entry: MemoryEntry, *, superseded: int | None = None) -> EntryRow:
    """Return the row of an entry.

    Parameters
    ----------
    row : int
        Row number.
    entry : MemoryEntry
        Entry.
    superseded : int, optional
        Lowest revision with an entry that supersedes it.
    """
    return EntryRow(
        row, entry.id, entry.kind, entry.state, entry.revision, superseded, entry.to_json()
    )


def parse_row(row: EntryRow) -> MemoryEntry:
    """Return the entry of a row."""
    return MemoryEntry.model_validate_json(row.body)


def row_links(row: int, entry: MemoryEntry) -> list[Link]:
    """Return the names under which an entry is found."""
    names = {
        "user": entry.scope.users,
        "person": entry.people,
        "feedback": entry.feedback,
        "interaction": entry.interactions,
        "supersedes": entry.supersedes,
    }
    return [Link(role, name, row) for role, some in names.items() for name in dict.fromkeys(some)]


def row_topics(row: int, entry: MemoryEntry) -> list[Topic]:
    """Return the subjects of an entry that is active or superseded; of others, none."""
    if entry.state not in LIVING or entry.kind == "case":
        return []
    users = dict.fromkeys(entry.scope.users or ("",))
    return [Topic(topic, user, row) for topic in sorted(topics_of(entry.text)) for user in users]


def parse_change(row: ChangeRow) -> MemoryChange:
    """Return the change of a row."""
    action: Action = row.action  # type: ignore[assignment]  # written by this package
    return MemoryChange(
        number=row.number,
        entry=row.entry,
        row=row.row,
        action=action,
        revision=row.revision,
        time=row.time,
        actor=row.actor,
        reason=row.reason,
        before=None if row.before is None else MemoryEntry.model_validate_json(row.before),
    )
