"""Reversal of changes of a memory."""

from __future__ import annotations

from backtalk.errors import BacktalkError, Conflict, NotFound
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.rows import LIVING, parse_row
from backtalk.memory.transaction import MemoryTransaction
from backtalk.store.memory_reader import PAGE
from backtalk.store.memory_rows import ChangeRow, EntryFilter, EntryRow

_EDITED_FIELDS = ("kind", "text", "original", "scope", "confidence")


def undo_change(transaction: MemoryTransaction, number: int) -> None:
    """Undo a change.

    Raises
    ------
    NotFound
        If there is no such change.
    Conflict
        If a later change of the entry has to be undone first.
    BacktalkError
        If the change cannot be undone.
    """
    change = transaction.writer.change(number)
    rows = [] if change is None else transaction.writer.by_rows([change.row])
    if change is None or not rows:
        raise NotFound(
            f"There is no change {number} in this memory",
            "`backtalk memory history` lists the changes",
        )
    (row,) = rows
    if row.state == "forgotten":
        raise BacktalkError(
            f"The entry {row.id!r} was forgotten: its text is gone",
            "Add it again with `backtalk memory add TEXT`",
        )
    reason = f"change {number} undone"
    if change.action == "edited":
        _undo_edit(transaction, row, change, reason)
    elif change.action == "added":
        _check_state(row, change, "active", "superseded", "retired")
        transaction.set_state(row, "undone", reason=reason)
    elif change.action in {"retired", "undone"}:
        _check_state(row, change, change.action)
        transaction.set_state(row, "active", reason=reason)
    elif change.action == "superseded":
        _check_state(row, change, "superseded")
        _let_hold(transaction, row, reason)
    else:
        _undo_restoration(transaction, row, change, reason)


def undo_revision(transaction: MemoryTransaction, revision: int) -> None:
    """Undo the addition of all entries of a revision that are in use.

    Raises
    ------
    NotFound
        If no entry of the revision is in use.
    """
    where = EntryFilter(states=LIVING, only_revision=revision)
    after = 0
    while revision > 0 and (rows := transaction.writer.page(where, after=after, limit=PAGE)):
        for listed in rows:
            (row,) = transaction.writer.by_rows([listed.row])
            transaction.set_state(row, "undone", reason=f"revision {revision} undone")
        after = rows[-1].row
    if not transaction.changes:
        raise NotFound(
            f"No entry of revision {revision} is in use",
            "`backtalk memory history` lists the changes with their revisions",
        )


def _undo_edit(
    transaction: MemoryTransaction, row: EntryRow, change: ChangeRow, reason: str
) -> None:
    later = transaction.writer.changes(after=change.number, row=row.row, newest=True)
    edits = [other.number for other in later if other.action == "edited"]
    if edits:
        raise Conflict(
            f"The entry {row.id!r} was edited again after change {change.number}",
            f"Undo change {edits[0]} first",
        )
    before = MemoryEntry.model_validate_json(change.before or "")
    fields = {name: getattr(before, name) for name in _EDITED_FIELDS}
    transaction.put(row, parse_row(row), fields, reason=reason)


def _let_hold(transaction: MemoryTransaction, row: EntryRow, reason: str) -> None:
    """Let a superseded entry hold over those that supersede it."""
    for link in transaction.writer.links("supersedes", [row.id]):
        (winner,) = transaction.writer.by_rows([row.row])
        (loser,) = transaction.writer.by_rows([link.row])
        transaction.choose(winner, loser, reason=reason)


def _undo_restoration(
    transaction: MemoryTransaction, row: EntryRow, change: ChangeRow, reason: str
) -> None:
    before = MemoryEntry.model_validate_json(change.before or "")
    if change.action == "settled" or before.state == "superseded":
        raise BacktalkError(
            f"Change {change.number} followed from another change",
            "Undo that one, or let the other entry hold with `backtalk memory settle ID`",
        )
    _check_state(row, change, "active", "superseded")
    transaction.set_state(row, before.state, reason=reason)


def _check_state(row: EntryRow, change: ChangeRow, *states: str) -> None:
    if row.state not in states:
        raise Conflict(
            f"The entry {row.id!r} is {row.state} since change {change.number}",
            f"Undo its last change first; `backtalk memory history {row.id}` lists them",
        )
