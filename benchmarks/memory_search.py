"""Search in a memory of a million entries: ``python -m benchmarks memory-search``.

Vectors are described in :mod:`benchmarks.memory_vectors`. They, and the index, are left in the
folder ``backtalk-benchmarks`` of the system's temporary folder, as they take minutes to make.
"""

from __future__ import annotations

import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from backtalk.memory.index import VectorIndex
from benchmarks.measure import seconds
from benchmarks.memory_vectors import QUERIES, Vectors, embedded_sentences, extended, scopes
from benchmarks.table import Table

COUNT = 1_000_000
K = 10
SEARCHES = 200
EXACT_SEARCHES = 11
REMOVED = 10_000
LISTS = (32, 128)
"""Numbers of lists that faiss visits alone."""
SHORTLIST = 200
"""Number of rows of faiss's results that are compared exactly."""

Ids = NDArray[np.int64]
Mask = NDArray[np.bool_]
Search = Callable[[Vectors], Ids]


@dataclass(frozen=True)
class Measured:
    """Result of searches, one at a time."""

    recall: float
    wall: list[float]
    """Seconds of each search."""
    cpu: list[float]
    """Seconds of processor time of the searching thread."""

    @property
    def cells(self) -> tuple[str, str]:
        """Recall, and the median and 99th percentile of the time."""
        p50, p99 = np.quantile(self.wall, [0.5, 0.99]) * 1e3
        return f"{self.recall:.3f}", f"{p50:.2f} / {p99:.1f} ({self.cpu_ms:.2f})"

    @property
    def cpu_ms(self) -> float:
        """Median processor time, in milliseconds."""
        return statistics.median(self.cpu) * 1e3


def tables() -> list[Table]:
    """Measure searches, then deletion and a restart."""
    folder = Path(tempfile.gettempdir()) / "backtalk-benchmarks"
    folder.mkdir(exist_ok=True)
    sentences = embedded_sentences(folder)
    queries = sentences[:QUERIES][:SEARCHES]
    vectors = extended(sentences[QUERIES:], COUNT, folder / "vectors.npy")
    build = _built(folder, vectors)
    masks = dict(scopes(vectors))
    exact = nearest(queries, vectors, masks)
    index = VectorIndex.load(folder / "index")
    searches = Table(
        "memory-search",
        "Memory search",
        (
            "scope", "entries", "Backtalk: recall@10", "p50 / p99 (CPU p50), ms",
            *(
                name
                for lists in LISTS
                for name in (f"faiss IVF, {lists} lists: recall@10", "p50 / p99 (CPU p50), ms")
            ),
            "NumPy, exact: p50, ms", "Backtalk over NumPy",
        ),
        tuple(
            _row(name, mask, index=index, queries=queries, vectors=vectors, exact=exact[name])
            for name, mask in masks.items()
        ),
        f"{COUNT:,} vectors of {vectors.shape[1]} dimensions: sentences embedded by MiniLM, "
        "extended by interpolation with noise of the spectrum of real differences; "
        f"{SEARCHES} held-out sentences as queries, one at a time, after as many to warm up. "
        "Scopes pass entries at random, or those on three subjects, which are mostly far from "
        "the queries. The peer is the same faiss index with its own search, which visits the "
        "nearest lists whatever the scope, and the exact order of the best "
        f"{SHORTLIST}; faiss {faiss.__version__}. {_load_note()} "
        f"To build the index took {build:.0f} s.",
    )  # fmt: skip
    return [
        searches,
        _restart(folder, index, queries=queries, vectors=vectors, masks=masks, exact=exact),
    ]


def nearest(queries: Vectors, vectors: Vectors, masks: dict[str, Mask | None]) -> dict[str, Ids]:
    """Return the exact ten nearest in each scope, by brute force.

    Parameters
    ----------
    queries, vectors : array
        Unit vectors, of shapes ``(queries, dimension)`` and ``(n, dimension)``.
    masks : dict[str, array or None]
        Scopes by name.
    """
    best = {
        name: (np.full((len(queries), K), -np.inf), np.full((len(queries), K), -1))
        for name in masks
    }
    for begin in range(0, len(vectors), 20_000):
        products = queries @ vectors[begin : begin + 20_000].T
        for name, mask in masks.items():
            part = slice(None) if mask is None else np.flatnonzero(mask[begin : begin + 20_000])
            ids = np.arange(begin, begin + products.shape[1])[part]
            all_products = np.concatenate([best[name][0], products[:, part]], axis=1)
            shape = (len(queries), len(ids))
            all_ids = np.concatenate([best[name][1], np.broadcast_to(ids, shape)], axis=1)
            order = np.argpartition(-all_products, K - 1, axis=1)[:, :K]
            best[name] = tuple(
                np.take_along_axis(values, order, 1) for values in (all_products, all_ids)
            )
    return {name: ids for name, (_, ids) in best.items()}


def measured(search: Search, queries: Vectors, exact: Ids) -> Measured:
    """Search for each query, twice; the second time counts.

    Parameters
    ----------
    search : Callable
        Search for one query.
    queries : array
        Unit vectors, shape ``(queries, dimension)``.
    exact : array
        Ids of the nearest, shape ``(queries, 10)``.
    """
    for query in queries:
        search(query[None])
    wall, cpu, hits = [], [], 0
    for query, expected in zip(queries, exact, strict=True):
        begin, cpu_begin = time.perf_counter(), time.thread_time()
        result = search(query[None])
        cpu.append(time.thread_time() - cpu_begin)
        wall.append(time.perf_counter() - begin)
        hits += len(set(result[0].tolist()) & set(expected.tolist()) - {-1})
    return Measured(hits / exact[exact >= 0].size, wall, cpu)


def _built(folder: Path, vectors: Vectors) -> float:
    """Build the index unless it is there, and return the seconds that this took."""
    note = folder / "build.json"
    if not note.exists():
        index = VectorIndex(vectors.shape[1])
        duration = seconds(lambda: index.add(np.arange(len(vectors)), vectors))
        index.save(folder / "index")
        note.write_text(json.dumps(duration))
    return float(json.loads(note.read_text()))


def _row(
    name: str,
    mask: Mask | None,
    *,
    index: VectorIndex,
    queries: Vectors,
    vectors: Vectors,
    exact: Ids,
) -> tuple[str, ...]:
    allowed = None if mask is None else np.flatnonzero(mask)
    ours = measured(lambda query: index.search(query, K, allowed=allowed)[0], queries, exact)
    peers = [
        measured(_faiss_search(index, vectors, mask, lists), queries, exact) for lists in LISTS
    ]
    few = slice(EXACT_SEARCHES)
    brute = measured(_numpy_search(vectors, allowed), queries[few], exact[few])
    numpy_p50, p50 = statistics.median(brute.wall), statistics.median(ours.wall)
    return (
        name,
        f"{len(vectors) if allowed is None else len(allowed):,}",
        *ours.cells,
        *(cell for peer in peers for cell in peer.cells),
        f"{numpy_p50 * 1e3:.1f}",
        f"{p50 / numpy_p50:.2f}",
    )


def _faiss_search(index: VectorIndex, vectors: Vectors, mask: Mask | None, lists: int) -> Search:
    """Return a search of the same faiss index with its own choice of lists.

    Parameters
    ----------
    index : VectorIndex
        Index with lists.
    vectors : array
        Unit vectors, shape ``(n, dimension)``, by which the best are compared exactly.
    mask : array of bool or None
        Rows of the scope.
    lists : int
        Number of lists that are visited.
    """
    ivf: Any = index._partition._ivf  # noqa: SLF001 - the same lists and codes for both

    def search(query: Vectors) -> Ids:
        bits = None if mask is None else np.packbits(mask, bitorder="little")
        selector = None if bits is None else faiss.IDSelectorBitmap(bits)
        parameters: Any = faiss.SearchParametersIVF(nprobe=lists, sel=selector)
        rows: Ids = ivf.search(query, SHORTLIST, params=parameters)[1][0]
        rows = np.sort(rows[rows >= 0])
        best = rows[np.argsort(-(np.take(vectors, rows, axis=0) @ query[0]))[:K]]
        return np.concatenate([best, np.full(K - len(best), -1, np.int64)])[None]

    return search


def _numpy_search(vectors: Vectors, allowed: Ids | None) -> Search:
    def search(query: Vectors) -> Ids:
        products = (vectors if allowed is None else vectors[allowed]) @ query[0]
        best = np.argpartition(-products, K - 1)[:K]
        return (best if allowed is None else allowed[best])[None]

    return search


def _restart(
    folder: Path,
    index: VectorIndex,
    *,
    queries: Vectors,
    vectors: Vectors,
    masks: dict[str, Mask | None],
    exact: dict[str, Ids],
) -> Table:
    """Remove entries, first those that the queries return, then restart from disk."""
    hits = np.unique(exact["all"])
    others = np.random.default_rng(4).choice(len(vectors), REMOVED - len(hits), replace=False)
    removed = np.union1d(hits, others)
    one = [seconds(lambda id_=id_: index.remove([id_])) for id_ in removed[:200].tolist()]
    index.remove(removed)
    alive = np.ones(len(vectors), bool)
    alive[removed] = False
    remaining = {
        name: alive if mask is None else mask & alive
        for name, mask in masks.items()
        if mask is None or name.startswith(("1.0%", "10.0%"))
    }
    exact = nearest(queries, vectors, remaining)
    with tempfile.TemporaryDirectory(dir=folder) as saved:
        index.save(saved)
        again = seconds(lambda: index.save(saved))
        restarted: list[VectorIndex] = []
        load = seconds(lambda: restarted.append(VectorIndex.load(saved)))
        rows = []
        for name in remaining:
            mask = masks[name]
            allowed = None if mask is None else np.flatnonzero(mask)
            results = [
                np.concatenate([i.search(q[None], K, allowed=allowed)[0] for q in queries])
                for i in (index, restarted[0])
            ]
            after = measured(
                lambda query, allowed=allowed: restarted[0].search(query, K, allowed=allowed)[0],
                queries, exact[name],
            )  # fmt: skip
            same = np.mean(results[0] == results[1])
            returned = int(np.isin(results[1], removed).sum())
            rows.append((name, *after.cells, str(returned), f"{same:.1%}"))
    return Table(
        "memory-search-restart",
        "Memory search after deletion and a restart",
        (
            "scope", "recall@10", "p50 / p99 (CPU p50), ms", "removed entries returned",
            "same answers as before the restart",
        ),
        tuple(rows),
        f"The same index after {len(removed):,} of its entries were removed, among them all that "
        f"the queries had returned: {statistics.median(one) * 1e3:.2f} ms for one entry. Saved, "
        f"and loaded in {load:.2f} s; a second save, of changes only, took {again:.2f} s. "
        f"{_load_note()}",
    )  # fmt: skip


def _load_note() -> str:
    """Return a sentence on what else the machine did."""
    load, priority = os.getloadavg()[0], os.getpriority(os.PRIO_PROCESS, 0)
    note = f"The machine had a load of {load:.0f} on {os.cpu_count()} cores"
    return f"{note}, and this process a priority of {priority}." if priority else f"{note}."
