"""Queries of a memory: entries by page, by id and at a revision, changes and open questions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backtalk.feedback.record import short_ids
from backtalk.memory.change import MemoryChange
from backtalk.memory.entry import EntryState, MemoryEntry
from backtalk.memory.listing import EntryPage, EntryQuery, as_seen, read_page
from backtalk.memory.rows import parse_change, parse_row
from backtalk.store.memory_reader import PAGE
from backtalk.store.memory_rows import EntryFilter

if TYPE_CHECKING:
    from backtalk.store import Store

CountBy = Literal["state", "kind"]


@dataclass(frozen=True)
class OpenQuestion:
    """Two entries that contradict each other, on which people have yet to decide."""

    holds: MemoryEntry
    """Entry that holds in the meantime."""
    other: MemoryEntry


class MemoryQueries:
    """Queries of a memory; the base class of :class:`~backtalk.memory.Memory`.

    Parameters
    ----------
    store : Store
        Store of the project.
    name : str, default "memory"
        Name of the memory.
    """

    def __init__(self, store: Store, name: str = "memory") -> None:
        self.name = name
        self._table = store.memories.table(name)

    @property
    def revision(self) -> int:
        """Last revision: the number of times that entries were learned; 0 if never."""
        with self._table.reading() as reader:
            return reader.position().revision

    @property
    def last_change(self) -> int:
        """Number of the last change, 0 if there is none."""
        with self._table.reading() as reader:
            return reader.position().changes

    def entries(
        self, revision: int | None = None, states: Sequence[EntryState] = ("active",)
    ) -> list[MemoryEntry]:
        """Return all entries in some states, the oldest first; see :meth:`rows`."""
        return [entry for _, entry in self.rows(revision, states)]

    def rows(
        self,
        revision: int | None = None,
        states: Sequence[EntryState] = ("active",),
        *,
        after: int = 0,
    ) -> Iterator[tuple[int, MemoryEntry]]:
        """Yield ``(row number, entry)``, the oldest first, with constant memory.

        The number of an entry never changes and is not used again after a purge.

        Parameters
        ----------
        revision : int, optional
            Revision of a policy, at which the state is judged: entries that a later revision added
            are left out, and entries that a later revision superseded are active. Default: the
            last revision.
        states : sequence of str, default ("active",)
            States of the entries; all if it is empty.
        after : int, default 0
            Row number after which to begin.
        """
        where = EntryFilter(states=states, revision=revision)
        for page in self._table.pages(where, after=after):
            for row in page:
                yield row.row, as_seen(row, revision)

    def holding(
        self,
        ids: Sequence[str],
        revision: int | None = None,
        *,
        states: Sequence[EntryState] = ("active",),
    ) -> dict[str, MemoryEntry]:
        """Return those of some entries that are active at a revision, by id.

        Parameters
        ----------
        ids : sequence of str
            Ids of entries; unknown ones are left out.
        revision : int, optional
            Revision of a policy. Default: the last revision.
        states : sequence of str, default ("active",)
            States of the entries.
        """
        with self._table.reading() as reader:
            rows = reader.by_ids(ids)
        seen = [
            as_seen(row, revision) for row in rows if revision is None or row.revision <= revision
        ]
        return {entry.id: entry for entry in seen if entry.state in states}

    def page(self, query: EntryQuery, *, before: int | None = None, size: int = 25) -> EntryPage:
        """Return a page of entries, the newest first.

        Parameters
        ----------
        query : EntryQuery
            Conditions.
        before : int, optional
            ``next_cursor`` of the previous page. Default: the newest entries.
        size : int, default 25
            Number of entries on a page.
        """
        with self._table.reading() as reader:
            return read_page(reader, query, before=before, size=size)

    def count(
        self, query: EntryQuery | None = None, *, by: CountBy | None = None
    ) -> dict[str, int]:
        """Return the number of entries by state or kind.

        Parameters
        ----------
        query : EntryQuery, optional
            Conditions, without a text. Default: all entries.
        by : {"state", "kind"}, optional
            Key of the counts. Default: the total, with the key ``""``.
        """
        with self._table.reading() as reader:
            return reader.count((query or EntryQuery()).filter(), by=by)

    def get(self, id: str) -> MemoryEntry:  # noqa: A002
        """Return an entry, by its id or a unique prefix of its id.

        Raises
        ------
        NotFound
            If no id matches.
        Conflict
            If several ids have the prefix.
        """
        with self._table.reading() as reader:
            return parse_row(reader.by_prefix(id, name=self.name))

    def by_ids(self, ids: Sequence[str]) -> dict[str, MemoryEntry]:
        """Return those of some entries that exist, in any state, by id."""
        with self._table.reading() as reader:
            return {row.id: parse_row(row) for row in reader.by_ids(ids)}

    def superseding(self, id: str) -> list[MemoryEntry]:  # noqa: A002
        """Return the active entries that hold against an entry where both apply."""
        with self._table.reading() as reader:
            links = reader.links("supersedes", [id])
            rows = reader.by_rows([link.row for link in links])
        return [parse_row(row) for row in rows if row.state == "active"]

    def row_numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the row numbers of entries, by id."""
        with self._table.reading() as reader:
            return {row.id: row.row for row in reader.by_ids(ids)}

    def of_feedback(self, ids: Sequence[str]) -> set[str]:
        """Return those ids of feedback that entries in any state were made from."""
        with self._table.reading() as reader:
            return {link.name for link in reader.links("feedback", ids)}

    def short_ids(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the shortest beginning of each id, of 12 characters or more, that no other has.

        Ids begin with their time: those of a minute have the first 8 characters in common.
        """
        with self._table.reading() as reader:
            near = [other for id_ in ids for other in reader.neighbours(id_)]
        short = short_ids([*ids, *near], length=12)
        return {id_: short[id_] for id_ in ids}

    def history(self, id: str | None = None, *, limit: int = PAGE) -> list[MemoryChange]:  # noqa: A002
        """Return the last changes of an entry or of the memory, the newest first.

        Parameters
        ----------
        id : str, optional
            Id of the entry, or a unique prefix. Default: changes of all entries.
        limit : int, default 1000
            Maximum number of changes.
        """
        with self._table.reading() as reader:
            row = None if id is None else reader.by_prefix(id, name=self.name).row
            changes = reader.changes(row=row, newest=True, limit=limit)
        return [parse_change(change) for change in changes]

    def changes(self, since: int, *, limit: int | None = None) -> list[MemoryChange]:
        """Return the changes after a change, in order.

        Parameters
        ----------
        since : int
            Number of the change after which to begin; 0 for all changes.
        limit : int, optional
            Maximum number of changes. Default: all.
        """
        changes: list[MemoryChange] = []
        while limit is None or len(changes) < limit:
            size = PAGE if limit is None else min(PAGE, limit - len(changes))
            with self._table.reading() as reader:
                rows = reader.changes(after=since, limit=size)
            if not rows:
                break
            changes += map(parse_change, rows)
            since = rows[-1].number
        return changes

    def conflicts(self) -> list[OpenQuestion]:
        """Return the contradictions on which people have yet to decide."""
        with self._table.reading() as reader:
            links = reader.links("conflict")
            winners = {row.id: row for row in reader.by_ids([link.name for link in links])}
            losers = {row.row: row for row in reader.by_rows([link.row for link in links])}
        return [
            OpenQuestion(parse_row(winners[link.name]), parse_row(losers[link.row]))
            for link in links
        ]
