"""Entries that a policy sees: read once, then kept up to date with what people change."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterable
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from backtalk.embedders.registry import DIMENSION, get_embedder
from backtalk.errors import NotFound
from backtalk.feedback import content_id
from backtalk.memory.candidates import CandidateIndex
from backtalk.memory.entry import MemoryEntry
from backtalk.memory.memory import Memory
from backtalk.memory.requests import request_text
from backtalk.memory.scope import ScopeClassifier, has_condition
from backtalk.memory.spec import MemorySpec
from backtalk.store.availability import UNAVAILABLE

if TYPE_CHECKING:
    from backtalk.store import Store

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1.0
"""Maximum age of the entries when a request is answered."""

_READ_REQUESTS, _REQUESTS = 2_000, 300
"""Numbers of requests of the store that are read, and that scopes are compared with."""
_MANY_ENTRIES, _SMALL_DIMENSION = 20_000, 256
"""Number of entries from which on vectors are shorter, and their length then."""


class VisibleEntry(NamedTuple):
    """Entry with its row number in the memory, by which entries are in order."""

    row: int
    entry: MemoryEntry


class VisibleEntries:
    """Entries of a memory that a policy sees, with what is needed to find those that apply.

    Several threads may use it.

    Parameters
    ----------
    store : Store
        Store of the project.
    spec : MemorySpec
        Memory of the policy.
    """

    def __init__(self, store: Store, spec: MemorySpec) -> None:
        self._store = store
        self._spec = spec
        self._memory = Memory(store, spec.name)
        self._lock = threading.Lock()
        self._entries: dict[str, VisibleEntry] = {}
        self._last_change = 0
        self._read_at: float | None = None
        self.classifier: ScopeClassifier
        self.conditional: CandidateIndex
        self.general: CandidateIndex

    def refresh(self) -> None:
        """Read the entries, or what changed since they were read, at most once a second.

        The entries read last are used while the store is unavailable.

        Raises
        ------
        UnknownName
            If there is no embedder of that name.
        MissingExtra
            If the packages of the embedder are not installed.
        """
        with self._lock:
            if self._read_at is None:
                self._read()
            elif time.monotonic() - self._read_at < REFRESH_SECONDS:
                return
            else:
                try:
                    self._read_changes()
                except UNAVAILABLE as error:
                    log.warning("Changes of the memory could not be read: %s", error)
            self._read_at = time.monotonic()

    def by_id(self, ids: Iterable[str]) -> list[VisibleEntry]:
        """Return the entries with these ids that are still visible."""
        entries = self._entries
        return [entries[id_] for id_ in ids if id_ in entries]

    def _read(self) -> None:
        self._last_change = self._memory.last_change
        for row, entry in self._memory.rows(self._spec.revision):
            self._entries[entry.id] = VisibleEntry(row, self._with_requests(entry))
        requests = _requests(self._store)
        entries = [visible.entry for visible in self._entries.values()]
        many = len(entries) > _MANY_ENTRIES
        embedder = get_embedder(
            self._spec.embedder,
            requests or [entry.text for entry in islice(entries, _READ_REQUESTS)],
            dimension=_SMALL_DIMENSION if many else DIMENSION,
        )
        self.classifier = ScopeClassifier(embedder, requests)
        self.conditional = CandidateIndex(embedder)
        self.general = CandidateIndex(embedder)
        for visible in self._entries.values():
            self._index_of(visible.entry).add(*visible)

    def _read_changes(self) -> None:
        changes = self._memory.changes(self._last_change)
        if not changes:
            return
        rows = {change.entry: change.row for change in changes}
        active = self._memory.holding(list(rows), self._spec.revision)
        for id_, row in rows.items():
            before = self._entries.pop(id_, None)
            if before is not None:
                self._index_of(before.entry).remove(*before)
            if (entry := active.get(id_)) is not None:
                self._entries[id_] = VisibleEntry(row, self._with_requests(entry))
                self._index_of(self._entries[id_].entry).add(*self._entries[id_])
        self._last_change = changes[-1].number

    def _index_of(self, entry: MemoryEntry) -> CandidateIndex:
        return self.conditional if has_condition(entry.scope) else self.general

    def _with_requests(self, entry: MemoryEntry) -> MemoryEntry:
        """Return a solved case with the request that it solved as its scope."""
        if entry.kind != "case" or has_condition(entry.scope):
            return entry
        inside = []
        for id_ in entry.interactions:
            try:
                inside.append(request_text(self._store.interaction(id_).prompt))
            except NotFound:
                continue
        scope = entry.scope.model_copy(update={"inside": tuple(inside)})
        return entry.model_copy(update={"scope": scope})


def _requests(store: Store) -> list[str]:
    """Return requests of the store, the same ones for the same store."""
    cases = islice(store.cases(), _READ_REQUESTS)
    texts = {request_text(case.interaction.prompt) for case in cases}
    return sorted(texts, key=content_id)[:_REQUESTS]
