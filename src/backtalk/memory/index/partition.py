"""Partition of the rows into lists of similar vectors, so that a search reads few of them."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.memory.index.exact import nearest_rows

_ROWS_PER_CENTROID = 25
_ITERATIONS = 6
_BATCH = 65_536
_BUDGET, _GROWTH = 3_100, 0.6
"""Allowed rows that a search compares if 10,000 are allowed, and the exponent of its growth."""

_SPREAD = 0.1
"""Exponent of the share of allowed rows by which more lists are visited if these are spread."""

_EVEN = 0.7
"""Bound of the ratio of rows near the query to those expected of a scope that is spread evenly."""

_COUNTED = 10_000
"""Rows of a scope by which its rows in each list are estimated; a smaller scope is counted."""

_SCAN = 0.02
"""Share of allowed rows above which lists are read in order; below, allowed rows one by one."""

_SHORTLIST, _MIN_SHORTLIST = 8, 200
"""Rows compared exactly at the end, as a multiple of the number of results, and at least."""

_PARTS = 128
"""Number of parts of a vector up to which each has fewer values."""

_BITS = 4
"""Bits of a code, as the scan with vector instructions takes them."""


def is_available() -> bool:
    """Report whether faiss, which a partition needs, is installed."""
    return find_spec("faiss") is not None


def _faiss() -> Any:
    """Return the package of the extra ``backtalk[memory]``, whose type stubs lack options."""
    return import_module("faiss")


class Partition:
    """Lists of similar rows, with a code of 4 bits for every 1, 2 or 4 values of a vector.

    A search visits the lists whose centroids are most similar to the query, until they hold enough
    rows of the scope: 3,100 of a scope of 10,000, 49,000 of 1,000,000. The share falls with the
    size of the scope, as the nearest rows are then nearer. If the scope is small compared to the
    index, its rows in these lists are compared exactly; otherwise the codes are compared, and the
    best 200 rows then exactly. So a scope is searched as well as the whole index is, wherever its
    rows lie. Inverted lists: Sivic and Zisserman (2003), "Video Google"; codes: Jégou et al.
    (2011), "Product quantization for nearest neighbor search", compared in registers (André et al.
    2015, "Cache locality is not enough"); their implementation is faiss's
    ``IndexIVFPQFastScan``.

    Parameters
    ----------
    ivf : faiss.IndexIVF
        Trained index over row numbers.
    lists : NDArray[np.int32]
        List of each row, -1 if it is not held, shape ``(rows,)``.
    """

    def __init__(self, ivf: Any, lists: NDArray[np.int32]) -> None:
        faiss = _faiss()

        self.lists = lists
        self._ivf = ivf
        self._centroids = faiss.downcast_index(ivf.quantizer).reconstruct_n(0, ivf.nlist)
        self._sizes = np.bincount(lists[lists >= 0], minlength=ivf.nlist)
        self._removed = np.empty(0, np.int64)

    @classmethod
    def train(cls, vectors: NDArray[np.float32], rows: NDArray[np.int64]) -> Partition:
        """Return a partition of rows into about ``2 * sqrt(n)`` lists, by spherical k-means.

        Parameters
        ----------
        vectors : NDArray[np.float32]
            Unit vectors, shape ``(n, dimension)``.
        rows : NDArray[np.int64]
            Rows to hold.
        """
        faiss = _faiss()

        count = int(2 * np.sqrt(len(rows)))
        sample_size = min(len(rows), _ROWS_PER_CENTROID * count)
        sample = np.sort(np.random.default_rng(0).choice(rows, sample_size, replace=False))
        dimension = vectors.shape[1]
        clustering = faiss.Clustering(dimension, count)
        clustering.spherical = True
        clustering.niter = _ITERATIONS
        clustering.min_points_per_centroid = 1
        quantizer = faiss.IndexFlatIP(dimension)
        training = vectors[np.resize(sample, max(sample_size, 2**_BITS))]
        clustering.train(training, quantizer)
        parts, metric = _subvectors(dimension), faiss.METRIC_INNER_PRODUCT
        ivf = faiss.IndexIVFPQFastScan(quantizer, dimension, count, parts, _BITS, metric)
        ivf.by_residual = False
        ivf.train(training)
        partition = cls(ivf, np.empty(0, np.int32))
        for begin in range(0, len(rows), _BATCH):
            batch = rows[begin : begin + _BATCH]
            partition.add(batch, vectors[batch])
        return partition

    def nearest_lists(self, vectors: NDArray[np.float32]) -> NDArray[np.int64]:
        """Return the list that each vector belongs to, shape ``(n,)``."""
        if not len(vectors):
            return np.empty(0, np.int64)
        lists: NDArray[np.int64] = self._ivf.quantizer.assign(np.ascontiguousarray(vectors), 1)
        return lists[:, 0]

    def add(
        self,
        rows: NDArray[np.int64],
        vectors: NDArray[np.float32],
        lists: NDArray[np.int64] | None = None,
    ) -> None:
        """Add rows with numbers that are not in the partition.

        Parameters
        ----------
        rows : NDArray[np.int64]
            Numbers of the rows.
        vectors : NDArray[np.float32]
            Unit vectors, shape ``(n, dimension)``.
        lists : NDArray[np.int64], optional
            Their lists, from :meth:`nearest_lists`.
        """
        if not len(rows):
            return
        lists = self.nearest_lists(vectors) if lists is None else lists
        self._ivf.add_with_ids(np.ascontiguousarray(vectors), np.ascontiguousarray(rows))
        end = int(rows.max()) + 1
        if end > len(self.lists):
            grown = np.full(max(end, len(self.lists) * 5 // 4), -1, np.int32)
            grown[: len(self.lists)] = self.lists
            self.lists = grown
        self.lists[rows] = lists
        self._sizes += np.bincount(lists, minlength=len(self._sizes))

    def remove(self, rows: NDArray[np.int64]) -> None:
        """Remove rows from the results; their codes go with the next :meth:`purge`."""
        self._sizes -= np.bincount(self.lists[rows], minlength=len(self._sizes))
        self.lists[rows] = -1
        self._removed = np.concatenate([self._removed, rows])

    def purge(self) -> bool:
        """Erase the codes of removed rows, and report whether there were any.

        This takes some 10 ms per million rows in the partition.
        """
        faiss = _faiss()

        if not len(self._removed):
            return False
        sizes = self._list_sizes()
        self._ivf.remove_ids(faiss.IDSelectorBatch(self._removed))
        self._clear_free_slots(np.flatnonzero(self._list_sizes() < sizes))
        self._removed = np.empty(0, np.int64)
        return True

    def _list_sizes(self) -> NDArray[np.int64]:
        lists = self._ivf.invlists
        return np.array([lists.list_size(number) for number in range(self._ivf.nlist)])

    def _clear_free_slots(self, numbers: NDArray[np.int64]) -> None:
        """Erase the codes after the last row of some lists.

        faiss 1.15.1 leaves the codes of removed rows there, and mixes those of rows that are added
        later with them, so that these are not found.
        """
        faiss = _faiss()

        lists = faiss.downcast_InvertedLists(self._ivf.invlists)
        if not hasattr(lists, "packer"):  # lists that an earlier version wrote
            return
        slots, size = lists.n_per_block, lists.block_size
        empty = np.zeros(lists.packer.code_size, np.uint8)
        for number in numbers.tolist():
            blocks, used = divmod(lists.list_size(number), slots)
            if used:
                codes = faiss.rev_swig_ptr(lists.get_codes(number), (blocks + 1) * size)
                last = codes[blocks * size :].reshape(1, -1)
                for slot in range(used, slots):
                    lists.packer.pack_1(empty, slot, last)

    def search(
        self,
        query: NDArray[np.float32],
        vectors: NDArray[np.float32],
        k: int,
        rows: NDArray[np.int64] | None = None,
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Return rows with the largest dot products, and these, each of shape ``(1, k)``.

        Parameters
        ----------
        query : NDArray[np.float32]
            Shape ``(1, dimension)``.
        vectors : NDArray[np.float32]
            Unit vectors of all rows, shape ``(n, dimension)``.
        k : int
            Number of results, at most the number of rows of the scope.
        rows : NDArray[np.int64], optional
            Rows of the scope; all by default.
        """
        counts = self._sizes if rows is None else self._counts(rows)
        size = int(counts.sum()) if rows is None else len(rows)
        similarities = np.vecdot(self._centroids, query[0])
        visited = self._visited(np.argsort(-similarities), counts, size, k)
        candidates = np.empty(0, np.int64)
        if rows is None or size >= _SCAN * len(vectors):
            scope = self._bitmap(rows)
            shortlist = max(_SHORTLIST * k, _MIN_SHORTLIST)
            candidates = self._scan(query, visited, similarities[visited], shortlist, scope)
        if len(candidates) < min(k, int(counts[visited].sum())):
            # The scope is small, or the codes do not tell rows apart, as for a zero vector.
            near = np.zeros(len(counts), bool)
            near[visited] = True
            held = np.flatnonzero(self.lists >= 0) if rows is None else rows
            candidates = held[near[self.lists[held]]]
        return nearest_rows(query, vectors, k, candidates)

    def _counts(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the number of rows of a scope in each list, estimated by some of them if many."""
        step = max(1, len(rows) // _COUNTED)
        return step * np.bincount(self.lists[rows[::step]], minlength=len(self._sizes))

    def _visited(
        self, order: NDArray[np.int64], counts: NDArray[np.int64], size: int, k: int
    ) -> NDArray[np.int64]:
        """Return the lists to visit, in order.

        Parameters
        ----------
        order : NDArray[np.int64]
            All lists, the most similar to the query first.
        counts : NDArray[np.int64]
            Number of rows of the scope in each list.
        size : int
            Number of rows of the scope.
        k : int
            Number of results.
        """
        held = int(self._sizes.sum())
        nearest = counts[order]
        enough = int(np.searchsorted(np.cumsum(nearest), max(_budget(size), 20 * k))) + 1
        spread = int(np.ceil(len(order) * _budget(held) / held * (held / size) ** _SPREAD))
        rows, expected = int(nearest[:spread].sum()), size * spread / len(order)
        if rows >= 20 * k and _EVEN * expected <= rows <= expected / _EVEN:
            enough = min(enough, spread)
        return order[:enough]

    def _bitmap(self, rows: NDArray[np.int64] | None) -> NDArray[np.uint8] | None:
        """Return a bit for each row, 1 in the scope, or ``None`` if all codes may be compared."""
        if rows is None:
            if not len(self._removed):
                return None
            return np.packbits(self.lists >= 0, bitorder="little")
        mask = np.zeros(len(self.lists), bool)
        mask[rows] = True
        return np.packbits(mask, bitorder="little")

    def _scan(
        self,
        query: NDArray[np.float32],
        lists: NDArray[np.int64],
        similarities: NDArray[np.float32],
        count: int,
        scope: NDArray[np.uint8] | None,
    ) -> NDArray[np.int64]:
        """Return the rows whose codes are most similar to the query, sorted."""
        faiss = _faiss()

        selector = None if scope is None else faiss.IDSelectorBitmap(scope)
        parameters = faiss.SearchParametersIVF(nprobe=len(lists), sel=selector)
        products = np.empty((1, count), np.float32)
        rows = np.empty((1, count), np.int64)
        lists = np.ascontiguousarray(lists, np.int64)
        pointer = faiss.swig_ptr
        self._ivf.search_preassigned_c(
            1, pointer(query), count, pointer(lists), pointer(similarities), pointer(products),
            pointer(rows), False, parameters,
        )  # fmt: skip
        return np.sort(rows[rows >= 0])

    def save(self, path: Path) -> None:
        """Write the partition into a file."""
        faiss = _faiss()

        faiss.write_index(self._ivf, str(path))

    @classmethod
    def load(cls, path: Path, lists: NDArray[np.int32]) -> Partition:
        """Return the partition that :meth:`save` wrote, with the list of each row."""
        faiss = _faiss()

        return cls(faiss.read_index(str(path)), lists)


def _budget(size: int) -> float:
    """Return the number of rows to compare of a scope of this size."""
    return float(_BUDGET * (size / 10_000) ** _GROWTH)


def _subvectors(dimension: int) -> int:
    """Return the number of parts of a vector: one for each value if they are few, or 2, or 4."""
    widths = [width for width in (1, 2, 4) if dimension % width == 0]
    return dimension // next((one for one in widths if dimension <= one * _PARTS), widths[-1])
