"""Vector index: nearest vectors by cosine similarity, with removal and scope filters."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.errors import BacktalkError
from backtalk.memory.index import partition as partitions
from backtalk.memory.index.exact import nearest_rows, unit
from backtalk.memory.index.files import SavedIndex, read_index, write_index
from backtalk.memory.index.partition import Partition
from backtalk.memory.index.read_write_lock import ReadWriteLock
from backtalk.memory.index.row_table import MISSING
from backtalk.memory.index.rows import Rows

EXACT_ROWS = 32_768
"""Number of vectors up to which a search of all is exact."""

EXACT_SCOPE = 4_000
"""Number of allowed vectors up to which a search is always exact."""

_GROWTH = 4
"""Growth since the partition was trained after which it is trained again."""


class VectorIndex:
    """Vectors by id, searched by cosine similarity.

    A search is exact up to 32,768 vectors, and up to 4,000 allowed ones in a larger index. Beyond
    that, with the extra ``backtalk[memory]``, it reads only lists of vectors like the query (see
    :class:`~backtalk.memory.index.partition.Partition`), and the similarities that it returns are
    exact. Without the extra, all searches are exact. The lists are learned by the addition that
    exceeds 32,768 vectors, and again each time their number is 4 times as large; this takes about
    a minute per million. Other additions change nothing but their own list.

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
        self._changing = threading.Lock()
        self._lock = ReadWriteLock()
        self._rows = Rows(dimension)
        self._partition: Partition | None = None
        self._trained = 0
        self._saved: SavedIndex | None = None

    def __len__(self) -> int:
        """Return the number of vectors."""
        return self._rows.held

    def __contains__(self, id_: int) -> bool:
        """Report whether the index has a vector of this id."""
        with self._lock.read():
            return len(self._rows.of(np.array([id_], np.int64))) > 0

    @property
    def ids(self) -> NDArray[np.int64]:
        """Ids of all vectors, sorted."""
        with self._lock.read():
            return np.sort(self._rows.ids[self._rows.all_held()])

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
        keys, units = self._checked_ids(ids), unit(self._checked(vectors, "vectors"))
        if len(keys) != len(units):
            raise BacktalkError(
                f"{len(keys)} ids came with {len(units)} vectors", "Give one id for each vector"
            )
        unique, last = np.unique(keys[::-1], return_index=True)
        units = units[len(keys) - 1 - last]
        with self._changing:
            lists = None if self._partition is None else self._partition.nearest_lists(units)
            with self._lock.write():
                self._remove(unique)
                rows = self._rows.append(unique, units)
                if self._partition is not None:
                    self._partition.add(rows, units, lists)
            self._reorganise()

    def remove(self, ids: ArrayLike) -> int:
        """Remove vectors by id, and return how many there were; unknown ids are ignored."""
        keys = self._checked_ids(ids)
        with self._changing:
            with self._lock.write():
                removed = self._remove(keys)
            self._reorganise()
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
            Ids that may be found, or a mask over ids: ``allowed[id]``. Ids beyond the end of the
            mask are not allowed; unknown ids are ignored. Many ids take less time if they are
            sorted. All are allowed by default.

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
            rows, products = self._nearest(units, k, allowed)
            ids[:, : rows.shape[1]] = self._rows.ids[rows]
        similarities[:, : rows.shape[1]] = products
        return ids, similarities

    def save(self, folder: str | Path) -> None:
        """Write the index into a folder, which is made if it is missing.

        Only the changes are written if the folder holds what this index was loaded from, or what
        it saved last. Removed vectors are erased from the files. A process that loads the folder
        meanwhile gets the previous state or the new one; of two that save, the later counts.
        """
        with self._changing:
            with self._lock.write():
                purged = self._partition is not None and self._partition.purge()
            with self._lock.read():
                self._saved = write_index(
                    Path(folder), self._rows, self._partition, self._saved, purged=purged,
                    trained=self._trained,
                )  # fmt: skip

    @classmethod
    def load(cls, folder: str | Path) -> VectorIndex:
        """Return the index that :meth:`save` wrote; its vectors are mapped from the file.

        Raises
        ------
        BacktalkError
            If the folder holds no index.
        """
        index_folder = Path(folder)
        rows, partition, saved = read_index(index_folder)
        index = cls(rows.dimension)
        index._rows, index._partition, index._saved = rows, partition, saved
        index._trained = saved.trained
        return index

    def _remove(self, ids: NDArray[np.int64]) -> int:
        rows = self._rows.of(ids)
        self._rows.remove(rows)
        if self._partition is not None:
            self._partition.remove(rows)
        return len(rows)

    def _reorganise(self) -> None:
        """Drop removed rows once they are the majority, and train the lists if it is time."""
        rows, partition = self._rows, self._partition
        if rows.removed > max(rows.held, 1024):
            rows, partition = rows.compacted(), None
        outgrown = partition is None or rows.held > _GROWTH * self._trained
        if rows.held > EXACT_ROWS and outgrown and partitions.is_available():
            partition = Partition.train(rows.vectors, rows.all_held())
            self._trained = rows.held
        if rows is not self._rows or partition is not self._partition:
            with self._lock.write():
                self._rows, self._partition = rows, partition

    def _nearest(
        self, units: NDArray[np.float32], k: int, allowed: ArrayLike | None
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return the nearest rows and their similarities, as many as there are, up to k."""
        rows = self._rows
        scope = None if allowed is None else rows.of(_allowed_ids(allowed))
        if scope is not None and len(scope) == rows.held:
            scope = None
        size = rows.held if scope is None else len(scope)
        if self._partition is not None and size > max(EXACT_SCOPE, k) and len(units):
            results = [
                self._partition.search(query[None], rows.vectors, k, scope) for query in units
            ]
            nearest, products = zip(*results, strict=True)
            return np.concatenate(nearest), np.concatenate(products)
        if scope is None and rows.removed:
            scope = rows.all_held()
        return nearest_rows(units, rows.vectors, k, scope)

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


def _allowed_ids(allowed: ArrayLike) -> NDArray[np.int64]:
    ids = np.asarray(allowed)
    return np.flatnonzero(ids) if ids.dtype == bool else ids.astype(np.int64, copy=False)
