"""Entries on the same topics as others, with which they are compared."""

from __future__ import annotations

from collections.abc import Iterable

from backtalk.memory.contradictions import topics_of
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.rows import parse_row
from backtalk.store.memory_reader import MemoryReader

_MAX_ROWS = 1_000
"""Maximum number of entries on a topic that an entry is compared with, the newest."""
_COMMON = 200
"""Number of entries from which on a word is too common to compare them, if there is another."""


class SameTopic:
    """Search for entries on the same topics; queries are answered once.

    Entries on one topic that many users have, each for themself, are not searched for an entry for
    everybody beyond the first thousand: which of them holds for a user is decided when they are
    recalled.

    Parameters
    ----------
    reader : MemoryReader
        Memory in a transaction.
    """

    def __init__(self, reader: MemoryReader) -> None:
        self._reader = reader
        self._rows: dict[tuple[str, str | None], list[int]] = {}
        self._entries: dict[int, MemoryEntry] = {}

    def prefetch(self, entries: Iterable[MemoryEntry]) -> None:
        """Read what a search for each of some entries needs, for their users and everybody."""
        keys = {
            (topic, user)
            for entry in entries
            for topic in topics_of(entry.text)
            for user in (*entry.scope.users, "")
        }
        rows = self._reader.rows_on_topics(sorted(keys))
        self._rows |= {key: some[:_MAX_ROWS] for key, some in rows.items()}

    def others(self, row: int, entry: MemoryEntry) -> list[int]:
        """Return the rows of entries on the topics of one, for the same users or everybody."""
        if entry.kind == "case":
            return []
        users = [*entry.scope.users, ""] if entry.scope.users else ["", None]
        rows: set[int] = set()
        common: list[int] = []
        has_rare = False
        for topic in topics_of(entry.text):
            for user in users:
                some = self._on(topic, user)
                if topic.startswith("word ") and len(some) > _COMMON:
                    common += some[:_COMMON]
                else:
                    rows.update(some)
                    has_rare = has_rare or topic.startswith("word ")
        if not has_rare:
            rows.update(common)
        return sorted(rows - {row})

    def entries(self, rows: Iterable[int]) -> dict[int, MemoryEntry]:
        """Return the entries of rows, as they were when they were first read."""
        rows = [*rows]
        new = [row for row in rows if row not in self._entries]
        self._entries |= {one.row: parse_row(one) for one in self._reader.by_rows(new)}
        return {row: self._entries[row] for row in rows if row in self._entries}

    def add(self, row: int, entry: MemoryEntry) -> None:
        """Note an entry that need not be read."""
        self._entries[row] = entry

    def _on(self, topic: str, user: str | None) -> list[int]:
        key = topic, user
        if key not in self._rows:
            self._rows[key] = self._reader.rows_on(topic, user, limit=_MAX_ROWS)
        return self._rows[key]
