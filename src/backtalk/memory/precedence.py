"""Precedence among entries that apply to a request: the special before the general."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from backtalk.memory.contradictions import contradiction, topics_of
from backtalk.memory.corrections import advice
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.scope import has_condition
from backtalk.memory.scope_words import content_words
from backtalk.memory.settlement import settle

_EARLIEST = datetime.min.replace(tzinfo=UTC)


def specificity(entry: MemoryEntry) -> tuple[bool, bool, int]:
    """Return how special an entry's scope is: condition, users, length of the condition."""
    scope = entry.scope
    return has_condition(scope), bool(scope.users), len(content_words(scope.where or ""))


def without_contradicted(entries: Sequence[MemoryEntry]) -> list[MemoryEntry]:
    """Return the entries that hold, without those that another one contradicts or repeats.

    An entry that supersedes another holds against it. Of two others that contradict each other,
    the one with the longer condition holds if both have a condition, otherwise the one that
    :func:`~backtalk.memory.settlement.settle` says.

    Parameters
    ----------
    entries : sequence of MemoryEntry
        Entries that apply to the same request, in the order in which the memory got them.
    """
    ordered = sorted(entries, key=lambda entry: entry.time or _EARLIEST)
    lost: set[str] = set()
    for newer, older in _related(ordered):
        if not {newer.id, older.id} & lost:
            loser = _loser(newer, older)
            lost |= set() if loser is None else {loser.id}
    return [entry for entry in entries if entry.id not in lost]


def _related(entries: Sequence[MemoryEntry]) -> Iterator[tuple[MemoryEntry, MemoryEntry]]:
    """Yield the pairs, later one first, that have a topic or a text in common or are linked."""
    earlier: dict[str, list[int]] = defaultdict(list)
    for index, entry in enumerate(entries):
        names = {*topics_of(entry.text), f"text {entry.text.casefold()}", f"id {entry.id}"}
        names |= {f"id {id_}" for id_ in entry.supersedes}
        for other in sorted({number for name in names for number in earlier[name]}):
            yield entry, entries[other]
        for name in names:
            earlier[name].append(index)


def _loser(newer: MemoryEntry, older: MemoryEntry) -> MemoryEntry | None:
    if older.id in newer.supersedes or newer.id in older.supersedes:
        return older if older.id in newer.supersedes else newer
    if newer.kind == "case" or older.kind == "case":
        return None
    if newer.text.casefold() == older.text.casefold():
        return min(older, newer, key=specificity)
    # Without their requests: both apply to this one.
    if contradiction(advice(newer.text), advice(older.text)) is None:
        return None
    lengths = specificity(newer)[2], specificity(older)[2]
    if all(lengths) and lengths[0] != lengths[1]:
        return min(older, newer, key=specificity)
    return settle(newer, older).loser
