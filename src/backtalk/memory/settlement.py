"""Rules that settle a contradiction between two entries: which of them holds, and for whom."""

from __future__ import annotations

from dataclasses import dataclass

from backtalk.feedback import Scope
from backtalk.memory.entry import MemoryEntry


@dataclass(frozen=True)
class Settlement:
    """Entry that holds where both apply, and the entry that does not."""

    winner: MemoryEntry
    loser: MemoryEntry
    is_open: bool
    """True if people have to say which one holds: neither is newer by the same person, and
    neither is about the person who said it."""


def overlap(a: Scope, b: Scope) -> bool:
    """Return true if two scopes can apply to the same request."""
    if a.users and b.users and not {*a.users} & {*b.users}:
        return False
    return not (_is_conditional(a) and _is_conditional(b)) or _condition(a) == _condition(b)


def covers(a: Scope, b: Scope) -> bool:
    """Return true if scope ``a`` applies to every request that scope ``b`` applies to."""
    if a.users and not (b.users and {*b.users} <= {*a.users}):
        return False
    if not _is_conditional(a) or _condition(a) == _condition(b):
        return True
    # More examples of the same kind of request widen a scope.
    return not (a.where or b.where) and bool(b.inside) and {*b.inside} <= {*a.inside}


def settle(newer: MemoryEntry, older: MemoryEntry) -> Settlement:
    """Return which of two contradicting entries holds where both apply.

    An entry with a condition holds against one without. What is said about a user holds against
    what is said about everybody, except where that user said the latter later. Between entries for
    the same users, what the user says about themself holds. Otherwise the newer one holds, unless
    other people said it and more of them said the older one; if other people said it, the question
    is open.

    Parameters
    ----------
    newer, older : MemoryEntry
        Entries that contradict each other, in the order in which they were said.
    """
    if _is_conditional(newer.scope) != _is_conditional(older.scope):
        special = newer if _is_conditional(newer.scope) else older
        return _settled(special, newer, older)
    speakers_differ = bool(newer.people and older.people) and not {*newer.people} & {*older.people}
    if bool(newer.scope.users) != bool(older.scope.users):
        own = newer if newer.scope.users else older
        said_later_by_them = bool(newer.people) and {*older.scope.users} <= {*newer.people}
        return _settled(newer if own is older and said_later_by_them else own, newer, older)
    if not speakers_differ:
        return _settled(newer, newer, older)
    if _is_own(newer) != _is_own(older):
        return _settled(newer if _is_own(newer) else older, newer, older)
    winner = older if _weight(older) > _weight(newer) else newer
    return _settled(winner, newer, older, is_open=True)


def _settled(
    winner: MemoryEntry, newer: MemoryEntry, older: MemoryEntry, *, is_open: bool = False
) -> Settlement:
    return Settlement(winner, older if winner is newer else newer, is_open)


def _is_own(entry: MemoryEntry) -> bool:
    """Return true if the people who said it are those it applies to."""
    return bool(entry.scope.users) and {*entry.people} <= {*entry.scope.users}


def _weight(entry: MemoryEntry) -> float:
    return len({*entry.people}) * entry.confidence


def _is_conditional(scope: Scope) -> bool:
    return bool(scope.where or scope.inside)


def _condition(scope: Scope) -> tuple[str, frozenset[str]]:
    where = " ".join((scope.where or "").casefold().split())
    return where, frozenset() if where else frozenset(scope.inside)
