"""Table from ids to rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MISSING = -1
"""Row of an unknown id, and id of a missing result."""

SPARSE = 1 << 20
"""Ids up to this, or up to 8 times the number of rows, are looked up in an array."""


class RowTable:
    """Row of each id; ids are integers of at least 0.

    Small ids are looked up in an array, so that a scope of 100,000 ids takes a fraction of a
    millisecond; larger ones in a dictionary.
    """

    def __init__(self) -> None:
        self._dense = np.full(1024, MISSING, np.int32)
        self._sparse: dict[int, int] = {}
        self._count = 0

    def rows(self, ids: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return the row of each id, ``MISSING`` if it is unknown."""
        if len(ids) and ids.view(np.uint64).max() < len(self._dense):  # a negative id is large
            return self._dense[ids]
        rows = np.full(len(ids), MISSING, np.int32)
        small = (ids >= 0) & (ids < len(self._dense))
        rows[small] = self._dense[ids[small]]
        if self._sparse:
            large = np.flatnonzero(ids >= len(self._dense))
            rows[large] = [self._sparse.get(id_, MISSING) for id_ in ids[large].tolist()]
        return rows

    def assign(self, ids: NDArray[np.int64], rows: NDArray[np.int32]) -> None:
        """Set the rows of ids, ``MISSING`` to remove them."""
        self._count += len(ids)
        self._grow(int(ids.max(initial=0)) + 1)
        small = ids < len(self._dense)
        self._dense[ids[small]] = rows[small]
        for id_, row in zip(ids[~small].tolist(), rows[~small].tolist(), strict=True):
            if row == MISSING:
                self._sparse.pop(id_, None)
            else:
                self._sparse[id_] = row

    def _grow(self, size: int) -> None:
        if len(self._dense) < size <= max(SPARSE, 8 * self._count):
            grown = np.full(max(size, 2 * len(self._dense)), MISSING, np.int32)
            grown[: len(self._dense)] = self._dense
            self._dense = grown
            for id_ in [id_ for id_ in self._sparse if id_ < len(grown)]:
                grown[id_] = self._sparse.pop(id_)
