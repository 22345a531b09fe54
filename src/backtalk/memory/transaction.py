"""Changes of a memory in one transaction, with the contradictions that they raise or settle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from backtalk.errors import Conflict
from backtalk.feedback import Scope
from backtalk.feedback.record import now
from backtalk.memory.change import Action
from backtalk.memory.contradictions import contradiction
from backtalk.memory.entry import EntryState, MemoryEntry
from backtalk.memory.rows import FORGOTTEN, LIVING, make_row, parse_row, row_links, row_topics
from backtalk.memory.same_topic import SameTopic
from backtalk.memory.settlement import covers, overlap, settle
from backtalk.store.memory_rows import ChangeRow, EntryRow, Link
from backtalk.store.memory_writer import MemoryWriter

_EARLIEST = datetime.min.replace(tzinfo=UTC)


class MemoryTransaction:
    """Changes of a memory's entries.

    Parameters
    ----------
    writer : MemoryWriter
        Open write transaction.
    actor : str
        Name of the person or program that makes the changes.

    Attributes
    ----------
    changes : list of ChangeRow
        Changes that were made.
    """

    def __init__(self, writer: MemoryWriter, *, actor: str) -> None:
        self.writer = writer
        self.changes: list[ChangeRow] = []
        self._actor = actor

    def add(self, entries: Sequence[MemoryEntry], *, at_once: bool) -> int:
        """Add the entries that the memory does not have, and return its revision."""
        new = self._new(entries)
        if not new:
            return self.writer.revision
        if not at_once:
            self.writer.revision += 1
        revision = 0 if at_once else self.writer.revision
        added = [entry.model_copy(update={"revision": revision}) for entry in new]
        rows = [make_row(self.writer.rows + number, one) for number, one in enumerate(added, 1)]
        pairs = list(zip(rows, added, strict=True))
        self.writer.add(
            rows,
            [link for row, entry in pairs for link in row_links(row.row, entry)],
            [topic for row, entry in pairs for topic in row_topics(row.row, entry)],
        )
        self._log(rows, "added")
        search = SameTopic(self.writer)
        search.prefetch(added)
        for row, entry in pairs:
            search.add(row.row, entry)
        for row, entry in pairs:
            if entry.state == "active":
                self._compare_all(row.row, entry, search)
                self._refresh(entry.supersedes)
        return self.writer.revision

    def _new(self, entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
        known = {row.id: parse_row(row) for row in self.writer.by_ids([one.id for one in entries])}
        new: dict[str, MemoryEntry] = {}
        for entry in entries:
            other = known.get(entry.id) or new.setdefault(entry.id, entry)
            if other.state != "forgotten" and (other.text, other.kind) != (entry.text, entry.kind):
                raise Conflict(
                    f"The id {entry.id!r} is taken by another entry",
                    "Give the entry an id of its own, or edit the one that is there",
                )
        return list(new.values())

    def edit(self, row: EntryRow, *, text: str | None, scope: Scope | None) -> None:
        """Change the text or the scope of an entry, and settle its contradictions again.

        Parameters
        ----------
        row : EntryRow
            Row of the entry.
        text : str or None
            New text.
        scope : Scope or None
            New scope.
        """
        entry = parse_row(row)
        fields = {"text": text, "scope": scope}
        self.put(row, entry, {name: new for name, new in fields.items() if new is not None})

    def put(
        self, row: EntryRow, entry: MemoryEntry, fields: dict[str, object], *, reason: str = ""
    ) -> None:
        """Change fields of an entry, which counts as said now.

        Parameters
        ----------
        row : EntryRow
            Row of the entry.
        entry : MemoryEntry
            Entry.
        fields : dict
            New values of its fields.
        reason : str, default ""
            Reason of the change.
        """
        edited = MemoryEntry.model_validate({**dict(entry), **fields, "time": now()})
        if edited.text != entry.text:
            others = map(parse_row, self.writer.by_ids(entry.supersedes))
            still = (one.id for one in others if _contradicts_still(one, entry, edited))
            edited = edited.model_copy(update={"supersedes": tuple(still)})
        self._replace(row, edited, "edited", reason=reason)
        self._settle_after(row.row, entry)

    def set_state(self, row: EntryRow, state: EntryState, *, reason: str = "") -> None:
        """Retire an entry, undo its addition, or let it hold again.

        Parameters
        ----------
        row : EntryRow
            Row of the entry.
        state : str
            New state.
        reason : str, default ""
            Reason of the change.
        """
        entry = parse_row(row)
        action: Action = "restored" if state == "active" else state
        self._replace(row, entry.model_copy(update={"state": state}), action, reason=reason)
        self._settle_after(row.row, entry)

    def forget(self, row: EntryRow) -> None:
        """Remove the text of an entry from the entry and from its history."""
        entry = parse_row(row)
        blank = entry.model_copy(
            update={
                "text": FORGOTTEN,
                "original": None,
                "scope": Scope(users=entry.scope.users),
                "supersedes": (),
                "state": "forgotten",
            }
        )
        self._replace(row, blank, "forgotten")
        self.writer.erase_history(row.row)
        self._settle_after(row.row, entry)

    def choose(self, winner: EntryRow, loser: EntryRow, *, reason: str = "") -> None:
        """Let one of two contradicting entries hold where both apply.

        Parameters
        ----------
        winner, loser : EntryRow
            Rows of the entries.
        reason : str, default ""
            Reason of the change.
        """
        self._replace(winner, _superseding(parse_row(winner), loser.id), "settled", reason=reason)
        self._store(loser, _not_superseding(parse_row(loser), winner.id))
        self._close_questions({winner.id, loser.id})
        self._refresh([winner.id, loser.id])

    def _log(self, rows: Sequence[EntryRow], action: Action, *, reason: str = "") -> None:
        self.changes += self.writer.log(
            rows, action, actor=self._actor, reason=reason, before=action != "added"
        )

    def _replace(
        self, row: EntryRow, entry: MemoryEntry, action: Action, *, reason: str = ""
    ) -> None:
        self._log([row], action, reason=reason)
        self._store(row, entry)

    def _store(self, row: EntryRow, entry: MemoryEntry, superseded: int | None = None) -> None:
        before = parse_row(row)
        if entry.state == "superseded" and superseded is None:
            superseded = row.superseded
        self.writer.update(make_row(row.row, entry, superseded=superseded))
        old, new = {*row_links(row.row, before)}, {*row_links(row.row, entry)}
        self.writer.remove_links(sorted(old - new))
        self.writer.add_links(sorted(new - old))
        topics = row_topics(row.row, entry)
        if topics != row_topics(row.row, before):
            self.writer.remove_topics(row.row)
            self.writer.add_topics(topics)

    def _settle_after(self, number: int, before: MemoryEntry) -> None:
        """Settle the contradictions of an entry that changed, and of those it superseded."""
        (row,) = self.writer.by_rows([number])
        if row.state in LIVING:
            self._refresh([row.id])
            self._find_contradictions(number)
        else:
            self._close_questions({row.id})
        self._refresh([*before.supersedes, *parse_row(row).supersedes])

    def _refresh(self, ids: Iterable[str]) -> None:
        """Let entries be superseded if others that supersede them cover their scope."""
        for row in self.writer.by_ids([*ids]):
            if row.state not in LIVING:
                continue
            entry = parse_row(row)
            superseded = self._superseding_revision(entry)
            if superseded is None and row.state == "superseded":
                self._log([row], "restored")
                self._store(row, entry.model_copy(update={"state": "active"}))
                self._find_contradictions(row.row)
            elif superseded is not None and superseded != row.superseded:
                self._log([row], "superseded")
                state = entry.model_copy(update={"state": "superseded"})
                self._store(row, state, superseded)

    def _superseding_revision(self, entry: MemoryEntry) -> int | None:
        """Return the lowest revision of the entries that supersede one and cover its scope."""
        links = self.writer.links("supersedes", [entry.id])
        rows = [
            row
            for row in self.writer.by_rows([link.row for link in links])
            if row.state in LIVING and covers(parse_row(row).scope, entry.scope)
        ]
        return min((row.revision for row in rows), default=None)

    def _find_contradictions(self, number: int) -> None:
        """Settle the contradictions between an entry, if it is active, and the others."""
        (row,) = self.writer.by_rows([number])
        if row.state == "active":
            self._compare_all(number, parse_row(row), SameTopic(self.writer))

    def _compare_all(self, number: int, entry: MemoryEntry, search: SameTopic) -> None:
        for other, seen in search.entries(search.others(number, entry)).items():
            if not _contradict(entry, seen):
                continue
            pair = self.writer.by_rows([number, other])
            if len(pair) == 2 and pair[0].state == pair[1].state == "active":
                self._settle(*pair, changed=number)

    def _settle(self, row: EntryRow, other: EntryRow, *, changed: int) -> None:
        """Settle the contradiction of two entries, one of which was just changed."""
        a, b = parse_row(row), parse_row(other)
        if a.id in b.supersedes or b.id in a.supersedes:
            return
        older, newer = sorted((row, other), key=lambda one: (_time(one), one.row))
        result = settle(parse_row(newer), parse_row(older))
        winner, loser = (newer, older) if result.winner.id == newer.id else (older, newer)
        settled = _superseding(result.winner, result.loser.id)
        if winner.row == changed:
            self._store(winner, settled)
        else:
            self._replace(winner, settled, "settled", reason=f"over {result.loser.id}")
        if result.is_open:
            self.writer.add_links([Link("conflict", result.winner.id, loser.row)])
        self._refresh([loser.id])

    def _close_questions(self, ids: set[str]) -> None:
        """Remove the open questions between entries, or all of a single one."""
        links = self.writer.links("conflict")
        names = {row.row: row.id for row in self.writer.by_rows([link.row for link in links])}
        closed = [link for link in links if len(ids & {link.name, names[link.row]}) == len(ids)]
        self.writer.remove_links(closed)


def _time(row: EntryRow) -> datetime:
    return parse_row(row).time or _EARLIEST


def _contradict(a: MemoryEntry, b: MemoryEntry) -> bool:
    is_case = "case" in {a.kind, b.kind}
    return not is_case and overlap(a.scope, b.scope) and contradiction(a.text, b.text) is not None


def _contradicts_still(other: MemoryEntry, before: MemoryEntry, after: MemoryEntry) -> bool:
    """Return true unless an edit removed the contradiction between two entries."""
    was_found = contradiction(before.text, other.text) is not None
    return not was_found or contradiction(after.text, other.text) is not None


def _superseding(entry: MemoryEntry, id_: str) -> MemoryEntry:
    ids = dict.fromkeys((*entry.supersedes, id_))
    return entry.model_copy(update={"supersedes": tuple(ids)})


def _not_superseding(entry: MemoryEntry, id_: str) -> MemoryEntry:
    others = tuple(one for one in entry.supersedes if one != id_)
    return entry.model_copy(update={"supersedes": others})
