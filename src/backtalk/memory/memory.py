"""Memory of a project: entries in its store, every change of them, and their undoing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.feedback import Scope
from backtalk.memory.change import MemoryChange
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.queries import MemoryQueries
from backtalk.memory.rows import parse_change
from backtalk.memory.transaction import MemoryTransaction
from backtalk.memory.undo import undo_change, undo_revision
from backtalk.store.memory_reader import MemoryReader
from backtalk.store.memory_rows import EntryRow
from backtalk.store.memory_writer import memory_writer


class Memory(MemoryQueries):
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
