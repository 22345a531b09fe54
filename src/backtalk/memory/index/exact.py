"""Exact search: cosine similarities with all rows, or with chosen rows."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_BLOCK = 512
"""Rows that are read at once, so that they stay in the processor's cache."""

_PRODUCTS = 1 << 24
"""Maximum number of dot products in memory."""


def unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return vectors scaled to length 1, shape ``(n, dimension)``; a zero vector stays zero."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def nearest_rows(
    queries: NDArray[np.float32],
    vectors: NDArray[np.float32],
    k: int,
    rows: NDArray[np.int64] | None = None,
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
    rows : NDArray[np.int64], optional
        Rows to search; all by default.

    Returns
    -------
    tuple[NDArray[np.int64], NDArray[np.float32]]
        Rows and dot products, each of shape ``(queries, min(k, number of rows))``, the largest
        first, equal ones by row.
    """
    count = len(vectors) if rows is None else len(rows)
    step = max(1, _PRODUCTS // max(count, 1))
    parts = [
        _largest(_products(queries[begin : begin + step], vectors, rows), k)
        for begin in range(0, len(queries), step)
    ] or [(np.empty((0, min(k, count)), np.int64), np.empty((0, min(k, count)), np.float32))]
    columns = np.concatenate([part[0] for part in parts])
    products = np.concatenate([part[1] for part in parts])
    return (columns if rows is None else rows[columns]), products


def _products(
    queries: NDArray[np.float32], vectors: NDArray[np.float32], rows: NDArray[np.int64] | None
) -> NDArray[np.float32]:
    """Return the dot products, shape ``(queries, rows)``."""
    if rows is None:
        return queries @ vectors.T
    products = np.empty((len(queries), len(rows)), np.float32)
    buffer = np.empty((min(_BLOCK, len(rows)), vectors.shape[1]), np.float32)
    for begin in range(0, len(rows), _BLOCK):
        chosen = rows[begin : begin + _BLOCK]
        block = np.take(vectors, chosen, axis=0, out=buffer[: len(chosen)], mode="clip")
        out = products[:, begin : begin + _BLOCK]
        if len(queries) == 1:  # one thread: to wait for others takes longer than a small block
            np.vecdot(block, queries[0], out=out[0])
        else:
            out[:] = queries @ block.T
    return products


def _largest(
    products: NDArray[np.float32], k: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the columns of the k largest values of each row, and these, in order."""
    count = products.shape[1]
    columns = np.broadcast_to(np.arange(count), products.shape)
    if count > k:
        columns = np.argpartition(products, count - k, axis=1)[:, count - k :]
    values = np.take_along_axis(products, columns, 1)
    order = np.lexsort((columns, -values))
    return np.take_along_axis(columns, order, 1), np.take_along_axis(values, order, 1)
