"""Vectors for the benchmark of memory search: embedded sentences, extended to a million.

Sentences of real feedback and answers are embedded by the packaged MiniLM. The first
:data:`QUERIES` are the queries; the others are extended: each new vector lies between a sentence
and one of its 20 nearest, at a random place, plus noise. The noise has the covariance of the
difference between a sentence and the mean of its 5 nearest, so that it has the spectrum of real
differences. Its scale is chosen so that a vector's 10 nearest others are as similar as real
sentences would be at this number; mean similarity grows linearly in the logarithm of the number,
which is fitted to real sentences. Queries are real sentences that nothing was derived from, so that
they lie apart from the extended vectors, farther than real ones would: the search is harder.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
from numpy.typing import NDArray

from backtalk.embedders import SentenceEmbedder
from backtalk.feedback import Preference
from backtalk.formats import RejectedRow, read
from backtalk.models.run_sync import run_sync
from benchmarks.finetuning_data import FOLDER

QUERIES = 300
SENTENCES = 16_000
NEIGHBOURS = 20
SCALE = 0.8
"""Scale of the noise, at which the ten nearest of a million have a mean similarity of 0.75."""

Vectors = NDArray[np.float32]


def sentences() -> list[str]:
    """Return distinct sentences of 20 to 110 characters, in random order."""
    texts = [
        part.strip()
        for text in _texts()
        for part in re.split(r"(?<=[.!?])\s+|\n+", text)
        if 20 <= len(part.strip()) <= 110
    ]
    distinct = list(dict.fromkeys(texts))
    order = np.random.default_rng(0).permutation(len(distinct))
    return [distinct[index] for index in order[:SENTENCES]]


def embedded_sentences(folder: Path) -> Vectors:
    """Return the unit vectors of the sentences, from the folder if they were embedded before."""
    path = folder / "sentences.npy"
    if not path.exists():
        texts = sentences()
        embedder = SentenceEmbedder()
        vectors = [
            run_sync(embedder.embed(texts[begin : begin + 500]))
            for begin in range(0, len(texts), 500)
        ]
        np.save(path, np.concatenate(vectors))
    vectors_: Vectors = np.load(path)
    return vectors_


def extended(base: Vectors, count: int, path: Path) -> Vectors:
    """Return vectors that are derived from those of sentences, mapped from a file.

    Parameters
    ----------
    base : array
        Unit vectors of sentences, shape ``(n, dimension)``.
    count : int
        Number of vectors to make.
    path : Path
        File to write, unless it exists.
    """
    if not path.exists():
        rng = np.random.default_rng(1)
        similarities = base @ base.T
        np.fill_diagonal(similarities, -1)
        near = np.argpartition(-similarities, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]
        del similarities
        differences = base - base[near[:, :5]].mean(axis=1)
        root = np.linalg.cholesky(np.cov(differences.T) + 1e-9 * np.eye(base.shape[1]))
        made = np.lib.format.open_memmap(path, "w+", np.float32, (count, base.shape[1]))
        for begin in range(0, count, 50_000):
            size = min(50_000, count - begin)
            first = rng.integers(len(base), size=size)
            second = near[first, rng.integers(NEIGHBOURS, size=size)]
            share = rng.random((size, 1), np.float32)
            noise = rng.standard_normal((size, base.shape[1]), np.float32)
            rows = base[first] * (1 - share) + base[second] * share
            rows += SCALE * (noise @ root.T.astype(np.float32))
            made[begin : begin + size] = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        made.flush()
    mapped: Vectors = np.load(path, mmap_mode="r")
    return mapped


def scopes(vectors: Vectors) -> Iterator[tuple[str, NDArray[np.bool_] | None]]:
    """Yield scopes by name, each as a mask; ``None`` for all.

    Half of them pass vectors at random, the others those most similar to three of them, as the
    entries of a user who writes about three subjects.
    """
    rng = np.random.default_rng(3)
    for share in (0.001, 0.01, 0.1):
        yield f"{share:.1%}, any subject", rng.random(len(vectors)) < share
        subjects = vectors[np.sort(rng.choice(len(vectors), 3, replace=False))]
        similarity = np.concatenate(
            [
                (vectors[begin : begin + 50_000] @ subjects.T).max(axis=1)
                for begin in range(0, len(vectors), 50_000)
            ]
        )
        similarity += 0.03 * rng.standard_normal(len(vectors)).astype(np.float32)
        yield f"{share:.1%}, three subjects", similarity >= np.quantile(similarity, 1 - share)
    yield "all", None


def _texts() -> Iterator[str]:
    for row in read(FOLDER / "hh_rlhf_harmless.jsonl.gz"):
        if isinstance(row, RejectedRow):
            continue
        for case in row.cases:
            yield from (message.text for message in case.interaction.prompt)
            for preference in case.of(Preference):
                yield case.text(preference.chosen)
                yield case.text(preference.rejected)
    comments: Any = pa_csv.read_csv(
        FOLDER / "sight_feedback.csv.gz",
        parse_options=pa_csv.ParseOptions(newlines_in_values=True),
    )
    yield from filter(None, comments["comment"].to_pylist())
    outputs = pq.read_table(FOLDER / "alpaca_eval_outputs.parquet")
    yield from dict.fromkeys(outputs["instruction"].to_pylist())
    yield from outputs["output"].to_pylist()[::2]
