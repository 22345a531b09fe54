"""Exact search: cosine similarities with all rows, or with chosen rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BLOCK = 8192
"""Rows whose similarities are computed at once."""


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors scaled to length 1, shape ``(n, dimension)``; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def nearest_rows(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    k: int,
    rows: NDArray[np.int32] | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the rows with the largest dot products, and these.

    Parameters
    ----------
    queries : NDArray[np.float32]
        Shape ``(queries, dimension)``.
    vectors : NDArray[np.float32]
        Shape ``(n, dimension)``.
    k : int
        Number of rows per query.
    rows : NDArray[np.int32], optional
        Rows to search; all by default.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.float32]]
        Rows and dot products, each of shape ``(queries, min(k, number of rows))``, the largest
        first, equal ones by row.
    """
    count = len(vectors) if rows is None else len(rows)
    best_rows = np.empty((len(queries), 0), np.int64)
    best = np.empty((len(queries), 0), np.float32)
    for begin in range(0, count, BLOCK):
        chosen = np.arange(begin, min(begin + BLOCK, count))
        if rows is not None:
            chosen = rows[chosen].astype(np.int64)
            products = queries @ vectors[chosen].T
        else:
            products = queries @ vectors[begin : begin + BLOCK].T
        top = _largest(products, k)
        best_rows = np.concatenate([best_rows, chosen[top]], axis=1)
        best = np.concatenate([best, np.take_along_axis(products, top, 1)], axis=1)
    order = np.lexsort((best_rows, -best))[:, :k]
    return np.take_along_axis(best_rows, order, 1), np.take_along_axis(best, order, 1)


def _largest(products: NDArray[np.float32], k: int) -> NDArray[np.int64]:
    """Return the columns of the k largest values of each row, in any order."""
    if products.shape[1] <= k:
        return np.broadcast_to(np.arange(products.shape[1]), products.shape)
    return np.argpartition(products, -k, axis=1)[:, -k:]
