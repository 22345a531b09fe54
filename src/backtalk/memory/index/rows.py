"""Rows of a vector index: ids and unit vectors, in memory or mapped from a file."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backtalk.memory.index.row_table import MISSING, RowTable

_MIN_CAPACITY = 64


class Rows:
    """Ids and unit vectors in the order in which they were added.

    A removed row stays, as a zero vector without an id.

    Parameters
    ----------
    dimension : int
        Length of a vector.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        self.count = 0
        """Number of rows, removed ones included."""
        self.removed = 0
        self.path: Path | None = None
        """File of the vectors, once they were saved."""
        self._ids = np.empty(0, np.int64)
        self._vectors = np.empty((0, dimension), np.float32)
        self._table = RowTable()
        self._saved = 0
        self._unsaved_removals: list[NDArray[np.int64]] = []

    @property
    def ids(self) -> NDArray[np.int64]:
        """Id of each row, -1 if it was removed, shape ``(count,)``."""
        return self._ids[: self.count]

    @property
    def vectors(self) -> NDArray[np.float32]:
        """Vectors, shape ``(count, dimension)``."""
        return self._vectors[: self.count]

    @property
    def held(self) -> int:
        """Number of rows that were not removed."""
        return self.count - self.removed

    def of(self, ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the sorted rows of those ids that are held."""
        rows = self._table.rows(ids)
        if len(rows) and rows.min() == MISSING:
            rows = rows[rows != MISSING]
        rising = bool((rows[1:] > rows[:-1]).all())
        return (rows if rising else np.unique(rows)).astype(np.int64)

    def all_held(self) -> NDArray[np.int64]:
        """Return all rows that were not removed."""
        return np.flatnonzero(self.ids != MISSING)

    def append(self, ids: NDArray[np.int64], units: NDArray[np.float32]) -> NDArray[np.int64]:
        """Add rows with new ids, and return their numbers."""
        end = self.count + len(ids)
        if end > len(self._ids):
            size = max(end, len(self._ids) * 3 // 2, _MIN_CAPACITY)
            self._ids = np.resize(self._ids, size)
            grown = np.empty((size, self.dimension), np.float32)
            grown[: self.count] = self.vectors
            self._vectors = grown
        rows = np.arange(self.count, end)
        self._ids[rows] = ids
        self._vectors[self.count : end] = units
        self._table.assign(ids, rows.astype(np.int32))
        self.count = end
        return rows

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Remove rows, and erase their vectors."""
        ids = self._ids[rows]
        self._table.assign(ids, np.full(len(ids), MISSING, np.int32))
        self._ids[rows] = MISSING
        self._vectors[rows] = 0
        self._unsaved_removals.append(rows[rows < self._saved])
        self.removed += len(rows)

    def compacted(self) -> Rows:
        """Return the rows without the removed ones."""
        rows = Rows(self.dimension)
        held = self.all_held()
        rows.append(self.ids[held], self.vectors[held])
        return rows

    def save_vectors(self, path: Path) -> None:
        """Write the vectors into a file, or only the changes if it is that of the last time."""
        changes = path == self.path and path.exists()
        with path.open("r+b" if changes else "wb") as file:
            if changes:
                for row in np.concatenate([*self._unsaved_removals, np.empty(0, np.int64)]):
                    file.seek(int(row) * self.dimension * 4)
                    file.write(bytes(self.dimension * 4))
            begin = self._saved if changes else 0
            file.seek(begin * self.dimension * 4)
            self._vectors[begin : self.count].tofile(file)
            file.flush()
            size = max(self.count * 5 // 4, _MIN_CAPACITY) * self.dimension * 4
            if os.fstat(file.fileno()).st_size < size:
                file.truncate(size)
        self.path, self._saved, self._unsaved_removals = path, self.count, []

    @classmethod
    def load(cls, path: Path, ids: NDArray[np.int64], dimension: int) -> Rows:
        """Return rows whose vectors are mapped from a file that :meth:`save_vectors` wrote.

        Parameters
        ----------
        path : Path
            File of the vectors.
        ids : NDArray[np.int64]
            Id of each row, -1 if it was removed.
        dimension : int
            Length of a vector.
        """
        rows = cls(dimension)
        rows.path, rows._saved, rows.count = path, len(ids), len(ids)
        # What is written to the mapping stays in this process; room for new rows is in the file.
        rows._vectors = np.memmap(path, np.float32, "c").reshape(-1, dimension)
        rows._ids = np.resize(ids, len(rows._vectors))
        held = rows.all_held()
        rows.removed = len(ids) - len(held)
        rows._table.assign(rows._ids[held], held.astype(np.int32))
        return rows


def delete_unless(folder: Path, names: set[str]) -> None:
    """Delete the files of an index that are not among these names."""
    for pattern in ("vectors-*", "rows-*", "partition-*"):
        for path in folder.glob(pattern):
            if path.name not in names:
                with suppress(OSError):  # an open file cannot be deleted on Windows
                    path.unlink()
