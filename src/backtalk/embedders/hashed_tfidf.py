"""Hashed TF-IDF: vectors of texts from their words alone, without a network or a model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from backtalk.errors import RecordError
from backtalk.feedback.record import content_id

STATE = "hashed.safetensors"

_WORD = r"\w+"


class HashedTfidf:
    """Vectors from words and pairs of neighbouring words, hashed into a fixed number of places.

    Each word or pair adds 1 or -1, as a second hash says, to its place, so that collisions cancel
    out on average: Weinberger et al. (2009), "Feature hashing for large scale multitask learning".
    A count c enters as 1 + log c, times the log of how rare the place is in the fitted texts; then
    each vector has length 1. A text without words is the zero vector.

    Parameters
    ----------
    idf : NDArray[np.float32]
        How much each place weighs, shape ``(dimension,)``; found by :meth:`fit`.

    Examples
    --------
    >>> from backtalk.models.run_sync import run_sync
    >>> embedder = HashedTfidf.fit(["Is it open?", "When does it open?"], dimension=64)
    >>> run_sync(embedder.embed(["open"])).shape
    (1, 64)
    """

    kind: ClassVar[str] = "hashed"

    def __init__(self, idf: NDArray[np.float32]) -> None:
        self.idf = idf

    @classmethod
    def fit(cls, texts: Sequence[str], *, dimension: int = 1024) -> HashedTfidf:
        """Return an embedder that knows how rare words are in these texts.

        Parameters
        ----------
        texts : sequence of str
            What the embedder will be used on, or much like it. Without any, all words weigh the
            same.
        dimension : int, default 1024
            The length of a vector. More means fewer collisions.
        """
        unweighted = cls(np.ones(dimension, dtype=np.float32))
        holding = np.bincount(unweighted._counts(texts).indices, minlength=dimension)
        idf = np.log((1 + len(texts)) / (1 + holding)) + 1
        return cls(idf.astype(np.float32))

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return len(self.idf)

    @cached_property
    def identity(self) -> str:
        """The weights of the places decide the vectors."""
        return f"hashed {self.dimension} {content_id(self.idf.tobytes().hex())}"

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, of shape ``(len(texts), dimension)``."""
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = self._counts(texts)
        counts.data = np.sign(counts.data) * (1 + np.log(np.abs(counts.data)))
        vectors: NDArray[np.float32] = counts.toarray().astype(np.float32) * self.idf
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def _counts(self, texts: Sequence[str]) -> Any:
        """Return how often each place is hit, a sparse matrix ``(len(texts), dimension)``."""
        from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415 - a second

        if not texts:
            from scipy.sparse import csr_matrix  # noqa: PLC0415 - only here

            return csr_matrix((0, self.dimension))
        hashing = HashingVectorizer(
            n_features=self.dimension, ngram_range=(1, 2), norm=None, token_pattern=_WORD
        )
        counts = hashing.transform(texts)
        counts.eliminate_zeros()
        return counts

    def to_files(self) -> dict[str, bytes]:
        """Return the embedder as plain JSON and safetensors."""
        described = json.dumps({"kind": self.kind, "dimension": self.dimension}, sort_keys=True)
        return {"embedder.json": described.encode(), STATE: save({"idf": self.idf})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> HashedTfidf:
        """Return the embedder that ``to_files`` wrote."""
        if STATE not in files:
            raise RecordError(f"A hashed embedder needs a file {STATE}, which is not there")
        return cls(load(files[STATE])["idf"])
