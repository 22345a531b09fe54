"""Memory of a project: entries in its store, every change of them, and their undoing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.feedback import Scope
from backtalk.memory.change import MemoryChange
from backtalk.memory.entry import EntryState, MemoryEntry
from backtalk.memory.listing import EntryPage, EntryQuery, as_seen, read_page
from backtalk.memory.rows import parse_change, parse_row
from backtalk.memory.transaction import MemoryTransaction
from backtalk.memory.undo import undo_change, undo_revision
from backtalk.store.memories import PAGE, EntryFilter, EntryRow, MemoryReader
from backtalk.store.memory_writer import memory_writer

if TYPE_CHECKING:
    from backtalk.store import Store


CountBy = Literal["state", "kind"]


@dataclass(frozen=True)
class OpenQuestion:
    """Two entries that contradict each other, on which people have yet to decide."""

    holds: MemoryEntry
    """Entry that holds in the meantime."""
    other: MemoryEntry


class Memory:
    """Memory of a project.

    Parameters
    ----------
    store : Store
        Store of the project.
    name : str, default "memory"
        Name of the memory. A project can have several.

    Examples
    --------
    >>> from backtalk.store import Store
    >>> store = Store(":memory:")
    >>> memory = Memory(store)
    >>> memory.add([MemoryEntry(kind="preference", text="Use metric units.")])
    1
    >>> memory.add([MemoryEntry(kind="preference", text="Use imperial units, not metric.")])
    2
    >>> [entry.text for entry in memory.entries()]
    ['Use imperial units, not metric.']
    >>> [entry.text for entry in memory.entries(revision=1)]
    ['Use metric units.']
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

    def add(
        self, entries: Iterable[MemoryEntry], *, actor: str = "backtalk", at_once: bool = False
    ) -> int:
        """Add entries in one transaction, and return the memory's revision.

        Entries that the memory has already are left unchanged. An entry supersedes those that its
        field ``supersedes`` names and those that it contradicts; see
        :mod:`backtalk.memory.settlement`.

        Parameters
        ----------
        entries : iterable of MemoryEntry
            Entries.
        actor : str, default "backtalk"
            Name of the person or program that adds them.
        at_once : bool, default False
            If true, the entries are visible in every policy, as those that people write; their
            revision is 0. Otherwise they are visible in policies with the new revision.

        Raises
        ------
        Conflict
            If another entry has the same id.
        """
        with self._changing(actor) as transaction:
            return transaction.add([*entries], at_once=at_once)

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

    def row_numbers(self, ids: Sequence[str]) -> dict[str, int]:
        """Return the row numbers of entries, by id."""
        with self._table.reading() as reader:
            return {row.id: row.row for row in reader.by_ids(ids)}

    def of_feedback(self, ids: Sequence[str]) -> set[str]:
        """Return those ids of feedback that entries in any state were made from."""
        with self._table.reading() as reader:
            return {link.name for link in reader.links("feedback", ids)}

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

    def edit(
        self,
        id: str,  # noqa: A002
        *,
        text: str | None = None,
        scope: Scope | None = None,
        actor: str,
    ) -> list[MemoryChange]:
        """Change the text or the scope of an entry, in every policy at once.

        Parameters
        ----------
        id : str
            Id of the entry, or a unique prefix.
        text : str, optional
            New text.
        scope : Scope, optional
            New scope.
        actor : str
            Name of the person who changes it.

        Returns
        -------
        list of MemoryChange
            The change, and those of entries that it supersedes or lets hold again.
        """
        with self._changing(actor) as transaction:
            row = self._living(transaction.writer, id)
            transaction.edit(row, text=text, scope=scope)
        return self._made(transaction)

    def forget(self, id: str, *, actor: str) -> list[MemoryChange]:  # noqa: A002
        """Remove the text of an entry from the store, permanently; see :meth:`edit`."""
        with self._changing(actor, erasing=True) as transaction:
            transaction.forget(self._living(transaction.writer, id))
        return self._made(transaction)

    def retire(self, id: str, *, reason: str, actor: str = "backtalk") -> list[MemoryChange]:  # noqa: A002
        """Stop using an entry because its measured effect is harmful; see :meth:`edit`.

        Parameters
        ----------
        id : str
            Id of the entry, or a unique prefix.
        reason : str
            Reason, with the figures.
        actor : str, default "backtalk"
            Name of the person or program that retires it.
        """
        with self._changing(actor) as transaction:
            row = self._living(transaction.writer, id)
            if row.state != "retired":
                transaction.set_state(row, "retired", reason=reason)
        return self._made(transaction)

    def settle(self, id: str, *, actor: str) -> list[MemoryChange]:  # noqa: A002
        """Answer the open questions about an entry: it holds where both apply; see :meth:`edit`.

        Raises
        ------
        NotFound
            If there is no open question about it.
        """
        with self._changing(actor) as transaction:
            writer = transaction.writer
            entry = self._living(writer, id)
            for link in writer.links("conflict"):
                (winner,), (loser,) = writer.by_ids([link.name]), writer.by_rows([link.row])
                if entry.id in {winner.id, loser.id}:
                    other = winner if entry.id == loser.id else loser
                    (entry,) = writer.by_ids([entry.id])
                    transaction.choose(entry, other, reason=f"over {other.id}")
            if not transaction.changes:
                raise NotFound(
                    f"No question about the entry {entry.id!r} is open",
                    "`backtalk memory list --conflicts` lists the open questions",
                )
        return self._made(transaction)

    def undo(
        self, change: int | None = None, *, revision: int | None = None, actor: str
    ) -> list[MemoryChange]:
        """Undo a change, or the addition of all entries of a revision; see :meth:`edit`.

        Parameters
        ----------
        change : int, optional
            Number of a change.
        revision : int, optional
            Revision, as :meth:`add` returned it, instead of a change.
        actor : str
            Name of the person who undoes it.

        Raises
        ------
        NotFound
            If there is no such change or revision.
        Conflict
            If a later change of the entry has to be undone first.
        BacktalkError
            If the change cannot be undone: the entry was forgotten.
        """
        if (change is None) == (revision is None):
            raise BacktalkError(
                "Either a change or a revision can be undone", "Give the number of one of them"
            )
        with self._changing(actor) as transaction:
            if revision is not None:
                undo_revision(transaction, revision)
            elif change is not None:
                undo_change(transaction, change)
        return self._made(transaction)

    @contextmanager
    def _changing(self, actor: str, *, erasing: bool = False) -> Iterator[MemoryTransaction]:
        with memory_writer(self._table, erasing=erasing) as writer:
            yield MemoryTransaction(writer, actor=actor)

    def _living(self, reader: MemoryReader, id_: str) -> EntryRow:
        row = reader.by_prefix(id_, name=self.name)
        if row.state == "forgotten":
            raise Conflict(
                f"The entry {row.id!r} was forgotten: its text is gone",
                "Add it again with `backtalk memory add TEXT`",
            )
        return row

    def _made(self, transaction: MemoryTransaction) -> list[MemoryChange]:
        return [parse_change(change) for change in transaction.changes]
