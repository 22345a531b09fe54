"""Candidates for a request: the entries for a user, the most similar ones if there are many."""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from backtalk.memory.entry import MemoryEntry
from backtalk.memory.index import VectorIndex
from backtalk.models.protocol import Embedder

MAX_CANDIDATES = 256
"""Number of entries for everybody, or of a user, up to which all of them are candidates."""

NEAREST_TEXTS = 100
"""Number of texts most similar to the request whose entries are candidates if there are more."""

_TEXTS = 8
"""Maximum number of texts of an entry that are compared with a request."""
_BATCH = 1_024


class CandidateIndex:
    """Entries for everybody and for each user, by similarity where they are many.

    Parameters
    ----------
    embedder : Embedder
        Embedder of entries and requests.
    """

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._groups: dict[str | None, _Group] = defaultdict(lambda: _Group(embedder))

    def add(self, row: int, entry: MemoryEntry) -> None:
        """Add an entry."""
        for user in entry.scope.users or (None,):
            self._groups[user].add(row, entry)

    def remove(self, row: int, entry: MemoryEntry) -> None:
        """Remove an entry."""
        for user in entry.scope.users or (None,):
            self._groups[user].remove(row)

    async def find(self, request: str, user: str | None) -> list[str]:
        """Return the ids of the candidates for a request of a user.

        Parameters
        ----------
        request : str
            Text of the request.
        user : str or None
            Id of the user.
        """
        users = [None] if user is None else [None, user]
        groups = [self._groups[one] for one in users if one in self._groups]
        if all(len(group) <= MAX_CANDIDATES for group in groups):
            return [id_ for group in groups for id_ in group.ids()]
        (vector,) = await self._embedder.embed([request])
        return [id_ for group in groups for id_ in await group.nearest(vector)]


class _Group:
    """Entries for everybody, or for one user. Vectors are made once they are needed."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder
        self._ids: dict[int, str] = {}
        self._waiting: dict[int, MemoryEntry] = {}
        self._index: VectorIndex | None = None
        self._embedding = threading.Lock()

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._ids)

    def ids(self) -> list[str]:
        """Return the ids of all entries, in the order of their rows."""
        return [id_ for _, id_ in sorted(self._ids.items())]

    def add(self, row: int, entry: MemoryEntry) -> None:
        """Add an entry."""
        self._ids[row] = entry.id
        self._waiting[row] = entry

    def remove(self, row: int) -> None:
        """Remove an entry."""
        self._ids.pop(row, None)
        self._waiting.pop(row, None)
        if self._index is not None:
            self._index.remove([row * _TEXTS + number for number in range(_TEXTS)])

    async def nearest(self, vector: NDArray[np.float32]) -> list[str]:
        """Return the ids of the entries whose texts are most similar to a vector."""
        if len(self) <= MAX_CANDIDATES:
            return self.ids()
        index = await self._embedded()
        nearest, _ = await asyncio.to_thread(index.search, vector[None], NEAREST_TEXTS)
        rows = dict.fromkeys((nearest[0][nearest[0] >= 0] // _TEXTS).tolist())
        return [self._ids[row] for row in rows if row in self._ids]

    async def _embedded(self) -> VectorIndex:
        """Return the index with the vectors of all entries."""
        if self._index is not None and not self._waiting:
            return self._index
        async with _held(self._embedding):
            if self._index is None:
                self._index = VectorIndex(self._embedder.dimension)
            while self._waiting:
                await self._embed_some(self._index)
        return self._index

    async def _embed_some(self, index: VectorIndex) -> None:
        """Embed a batch of the entries that wait. One that is removed meanwhile is not found."""
        batch = list(islice(self._waiting.items(), _BATCH))
        texts = [
            (row * _TEXTS + number, text)
            for row, entry in batch
            for number, text in enumerate(entry_texts(entry)[:_TEXTS])
        ]
        vectors: NDArray[np.float32] = await self._embedder.embed([text for _, text in texts])
        await asyncio.to_thread(index.add, [id_ for id_, _ in texts], vectors)
        for row, entry in batch:
            if self._waiting.get(row) is entry:
                del self._waiting[row]


@asynccontextmanager
async def _held(lock: threading.Lock) -> AsyncIterator[None]:
    """Hold a lock of threads without blocking the event loop."""
    if not lock.acquire(blocking=False):
        await asyncio.to_thread(lock.acquire)
    try:
        yield
    finally:
        lock.release()


def entry_texts(entry: MemoryEntry) -> list[str]:
    """Return the texts by which an entry is found: its examples, its condition, its own text."""
    where = [] if entry.scope.where is None else [entry.scope.where]
    return [*where, entry.text, *entry.scope.inside]
