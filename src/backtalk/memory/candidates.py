"""Candidates for a request: the entries for a user, the most similar ones if there are many."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from backtalk.memory.entry import MemoryEntry
from backtalk.memory.index import VectorIndex
from backtalk.models.protocol import Embedder

MAX_CANDIDATES = 256
"""Maximum number of candidates."""

_TEXTS = 8
"""Maximum number of texts of an entry that are compared with a request."""
_BATCH = 1_024


class CandidateIndex:
    """Entries by user, and by similarity once there are more than can be looked at one by one.

    Parameters
    ----------
    embedder : Embedder
        Embedder of entries and requests.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._rows: dict[str | None, dict[int, str]] = defaultdict(dict)
        self._waiting: dict[int, MemoryEntry] = {}
        self._index: VectorIndex | None = None

    def add(self, row: int, entry: MemoryEntry) -> None:
        """Add an entry."""
        for user in entry.scope.users or (None,):
            self._rows[user][row] = entry.id
        self._waiting[row] = entry

    def remove(self, row: int, entry: MemoryEntry) -> None:
        """Remove an entry."""
        for user in entry.scope.users or (None,):
            self._rows[user].pop(row, None)
        if self._waiting.pop(row, None) is None and self._index is not None:
            self._index.remove([row * _TEXTS + number for number in range(_TEXTS)])

    async def find(self, request: str, user: str | None) -> list[str]:
        """Return the ids of the candidates for a request of a user.

        Parameters
        ----------
        request : str
            Text of the request.
        user : str or None
            Id of the user.
        """
        rows = dict(self._rows.get(None, {}))
        if user is not None:
            rows |= self._rows.get(user, {})
        if len(rows) <= MAX_CANDIDATES:
            return list(rows.values())
        index = await self._embedded()
        vectors = await self._embedder.embed([request])
        own = np.fromiter(rows, np.int64, len(rows))
        allowed = (own[:, None] * _TEXTS + np.arange(_TEXTS)).ravel()
        everything = len(rows) == len(self)
        nearest, _ = index.search(vectors, MAX_CANDIDATES, allowed=None if everything else allowed)
        hits = nearest[0][nearest[0] >= 0] // _TEXTS
        return [rows[row] for row in dict.fromkeys(hits.tolist()) if row in rows]

    def __len__(self) -> int:
        """Return the number of entries."""
        return len({row for rows in self._rows.values() for row in rows})

    async def _embedded(self) -> VectorIndex:
        """Return the index with the vectors of all entries."""
        waiting, self._waiting = self._waiting, {}
        texts = [
            (row * _TEXTS + number, text)
            for row, entry in waiting.items()
            for number, text in enumerate(entry_texts(entry)[:_TEXTS])
        ]
        if self._index is None:
            self._index = VectorIndex(self._embedder.dimension)
        for start in range(0, len(texts), _BATCH):
            part = texts[start : start + _BATCH]
            vectors: NDArray[np.float32] = await self._embedder.embed([text for _, text in part])
            self._index.add([id_ for id_, _ in part], vectors)
        return self._index


def entry_texts(entry: MemoryEntry) -> list[str]:
    """Return the texts by which an entry is found: its examples, its condition, its own text."""
    where = [] if entry.scope.where is None else [entry.scope.where]
    return [*where, entry.text, *entry.scope.inside]
