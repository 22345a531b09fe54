"""Vector index: nearest vectors by cosine similarity, with removal and scope filters."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.errors import BacktalkError
from backtalk.memory.index.exact import nearest_rows, unit
from backtalk.memory.index.read_write_lock import ReadWriteLock
from backtalk.memory.index.row_table import MISSING, RowTable


class VectorIndex:
    """Vectors by id, searched by cosine similarity.

    Several threads may search while others add and remove. A zero vector has similarity 0 with
    everything.

    Parameters
    ----------
    dimension : int
        Length of a vector.

    Examples
    --------
    >>> index = VectorIndex(2)
    >>> index.add([7, 8, 9], [[1, 0], [0, 1], [1, 1]])
    >>> ids, similarities = index.search([[1, 0]], k=2)
    >>> ids.tolist(), [round(float(value), 2) for value in similarities[0]]
    ([[7, 9]], [1.0, 0.71])
    >>> index.search([[1, 0]], k=2, allowed=[8, 9])[0].tolist()
    [[9, 8]]
    """

    def __init__(self, dimension: int) -> None:
        if dimension < 1:
            raise BacktalkError(
                f"A vector index cannot have dimension {dimension}", "Give 1 or more"
            )
        self.dimension = dimension
        self._lock = ReadWriteLock()
        self._table = RowTable()
        self._ids = np.empty(0, np.int64)
        self._vectors = np.empty((0, dimension), np.float32)
        self._live = np.empty(0, bool)
        self._rows = 0
        self._dead = 0

    def __len__(self) -> int:
        """Return the number of vectors."""
        return self._rows - self._dead

    def __contains__(self, id_: int) -> bool:
        """Report whether the index has a vector of this id."""
        with self._lock.read():
            return bool(self._table.rows(np.array([id_], np.int64))[0] != MISSING)

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids of all vectors, sorted."""
        with self._lock.read():
            return np.sort(self._ids[: self._rows][self._live[: self._rows]])

    def add(self, ids: ArrayLike, vectors: ArrayLike) -> None:
        """Add vectors, and replace those whose ids are there already.

        Parameters
        ----------
        ids : array of int
            Ids of at least 0, shape ``(n,)``. If an id occurs twice, its last vector counts.
        vectors : array of float
            Shape ``(n, dimension)``; their lengths do not matter.

        Raises
        ------
        BacktalkError
            If a vector has another dimension or is not finite, if there are more or fewer ids than
            vectors, or if an id is negative.
        """
        keys, rows = self._checked_ids(ids), unit(self._checked(vectors, "vectors"))
        if len(keys) != len(rows):
            raise BacktalkError(
                f"{len(keys)} ids came with {len(rows)} vectors", "Give one id for each vector"
            )
        _, last = np.unique(keys[::-1], return_index=True)
        last = np.sort(len(keys) - 1 - last)
        with self._lock.write():
            self._remove(keys)
            self._append(keys[last], rows[last])

    def remove(self, ids: ArrayLike) -> int:
        """Remove vectors by id, and return how many there were; unknown ids are ignored."""
        keys = self._checked_ids(ids)
        with self._lock.write():
            removed = self._remove(keys)
            if self._dead > len(self):
                self._compact()
        return removed

    def search(
        self, queries: ArrayLike, k: int, *, allowed: ArrayLike | None = None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the ids with the highest cosine similarity to each query.

        Parameters
        ----------
        queries : array of float
            Shape ``(queries, dimension)``.
        k : int
            Number of results per query.
        allowed : array of int or of bool, optional
            Ids that may be found, in any order, or a mask over ids: ``allowed[id]``. Ids beyond
            the end of the mask are not allowed; unknown ids are ignored. All are allowed by
            default.

        Returns
        -------
        tuple[NDArray[np.int64], NDArray[np.float32]]
            Ids and similarities, each of shape ``(queries, k)``, the most similar first. Where
            fewer than k are allowed, the rest have id -1 and similarity ``-inf``.

        Raises
        ------
        BacktalkError
            If a query has another dimension or is not finite, or if k is less than 1.
        """
        if k < 1:
            raise BacktalkError(f"A search for {k} results finds nothing", "Give a k of 1 or more")
        units = unit(self._checked(queries, "queries"))
        ids = np.full((len(units), k), MISSING, np.int64)
        similarities = np.full((len(units), k), -np.inf, np.float32)
        with self._lock.read():
            rows, products = nearest_rows(
                units, self._vectors[: self._rows], k, self._searchable(allowed)
            )
            ids[:, : rows.shape[1]] = self._ids[rows]
        similarities[:, : rows.shape[1]] = products
        return ids, similarities

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is made if it is missing."""
        path = Path(folder)
        path.mkdir(parents=True, exist_ok=True)
        with self._lock.write():
            self._compact()
            np.save(path / "ids.npy", self._ids[: self._rows])
            np.save(path / "vectors.npy", self._vectors[: self._rows])
        (path / "index.json").write_text(json.dumps({"dimension": self.dimension}))

    @classmethod
    def load(cls, folder: str | Path) -> VectorIndex:
        """Return the index that :meth:`save` wrote.

        Raises
        ------
        BacktalkError
            If the folder holds no index.
        """
        path = Path(folder)
        if not (path / "index.json").exists():
            raise BacktalkError(
                f"There is no vector index in {path}", "Write one with VectorIndex.save"
            )
        index = cls(json.loads((path / "index.json").read_text())["dimension"])
        index._append(np.load(path / "ids.npy"), np.load(path / "vectors.npy"))
        return index

    def _append(self, ids: NDArray[np.int64], units: NDArray[np.float32]) -> None:
        end = self._rows + len(ids)
        if end > len(self._ids):
            size = max(end, 2 * len(self._ids), 64)
            self._ids = np.resize(self._ids, size)
            vectors = np.empty((size, self.dimension), np.float32)
            vectors[: self._rows] = self._vectors[: self._rows]
            self._vectors = vectors
            self._live = np.resize(self._live, size)
        self._ids[self._rows : end] = ids
        self._vectors[self._rows : end] = units
        self._live[self._rows : end] = True
        self._table.assign(ids, np.arange(self._rows, end, dtype=np.int32))
        self._rows = end

    def _remove(self, ids: NDArray[np.int64]) -> int:
        unique = np.unique(ids)
        rows = self._table.rows(unique)
        there = rows != MISSING
        self._live[rows[there]] = False
        self._vectors[rows[there]] = 0
        self._table.assign(unique[there], np.full(there.sum(), MISSING, np.int32))
        self._dead += int(there.sum())
        return int(there.sum())

    def _compact(self) -> None:
        live = np.flatnonzero(self._live[: self._rows])
        ids, vectors = self._ids[live], self._vectors[live]
        self._rows = self._dead = 0
        self._table = RowTable()
        self._append(ids, vectors)

    def _searchable(self, allowed: ArrayLike | None) -> NDArray[np.int32] | None:
        """Return the rows to search in order, or ``None`` for all."""
        if allowed is None:
            return np.flatnonzero(self._live[: self._rows]) if self._dead else None
        scope = np.asarray(allowed)
        if scope.dtype == bool:
            scope = np.flatnonzero(scope)
        rows = self._table.rows(np.unique(scope.astype(np.int64)))
        return np.sort(rows[rows != MISSING])

    def _checked(self, vectors: ArrayLike, name: str) -> NDArray[np.float32]:
        array = np.asarray(vectors, np.float32)
        if array.ndim != 2 or array.shape[1] != self.dimension:
            raise BacktalkError(
                f"The {name} have shape {array.shape}, but the index has dimension "
                f"{self.dimension}",
                f"Give an array of shape (n, {self.dimension}), from the embedder of the index",
            )
        if not np.isfinite(array).all():
            raise BacktalkError(
                f"The {name} contain values that are not finite", "Replace NaN and infinity first"
            )
        return array

    def _checked_ids(self, ids: ArrayLike) -> NDArray[np.int64]:
        array = np.atleast_1d(np.asarray(ids))
        keys = array.astype(np.int64)
        if array.ndim != 1 or (len(keys) and (array.dtype.kind not in "iu" or keys.min() < 0)):
            raise BacktalkError(
                "The ids of a vector index are a list of integers of at least 0",
                "Number the entries, and give their numbers",
            )
        return keys
