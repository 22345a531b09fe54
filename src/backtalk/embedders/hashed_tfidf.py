"""Hashed TF-IDF: vectors of word counts, without a language model."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save

from backtalk.embedders.registry import register_embedder
from backtalk.errors import RecordError
from backtalk.feedback.record import content_id

STATE = "hashed.safetensors"

_WORD = r"\w+"


@register_embedder("hashed")
class HashedTfidf:
    """TF-IDF of words and word bigrams, hashed into a fixed number of buckets.

    Each word or bigram adds 1 or -1 to its bucket, by the sign of a second hash, so that collisions
    cancel out on average: Weinberger et al. (2009), "Feature hashing for large scale multitask
    learning". A count c becomes ``1 + log c``, times the inverse document frequency of the bucket
    in the fitted texts. Each vector is then scaled to length 1. A text without words is the zero
    vector.

    Parameters
    ----------
    idf : NDArray[np.float32]
        Inverse document frequency of each bucket, shape ``(dimension,)``; see :meth:`fit`.

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
        """Return an embedder with the document frequencies of these texts.

        Parameters
        ----------
        texts : sequence of str
            Texts that are representative of those to embed. If empty, all words have equal weight.
        dimension : int, default 1024
            Number of buckets, which is the length of a vector. More buckets mean fewer collisions.
        """
        unweighted = cls(np.ones(dimension, dtype=np.float32))
        frequencies = np.bincount(unweighted._counts(texts).indices, minlength=dimension)
        idf = np.log((1 + len(texts)) / (1 + frequencies)) + 1
        return cls(idf.astype(np.float32))

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return len(self.idf)

    @cached_property
    def identity(self) -> str:
        """Dimension and content hash of the document frequencies."""
        return f"hashed {self.dimension} {content_id(self.idf.tobytes().hex())}"

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, shape ``(len(texts), dimension)``."""
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        counts = self._counts(texts)
        counts.data = np.sign(counts.data) * (1 + np.log(np.abs(counts.data)))
        vectors: NDArray[np.float32] = counts.toarray().astype(np.float32) * self.idf
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)

    def _counts(self, texts: Sequence[str]) -> Any:
        """Return the count of each bucket, a sparse matrix ``(len(texts), dimension)``."""
        from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415 - a second

        if not texts:
            from scipy.sparse import csr_matrix  # noqa: PLC0415 - only here

            return csr_matrix((0, self.dimension))
        vectorizer = HashingVectorizer(
            n_features=self.dimension, ngram_range=(1, 2), norm=None, token_pattern=_WORD
        )
        counts = vectorizer.transform(texts)
        counts.eliminate_zeros()
        return counts

    def to_files(self) -> dict[str, bytes]:
        """Return the embedder as JSON and safetensors."""
        fields = json.dumps({"kind": self.kind, "dimension": self.dimension}, sort_keys=True)
        return {"embedder.json": fields.encode(), STATE: save({"idf": self.idf})}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> HashedTfidf:
        """Return the embedder that :meth:`to_files` wrote.

        Raises
        ------
        RecordError
            If a file is missing.
        """
        if STATE not in files:
            raise RecordError(f"A hashed embedder needs a file {STATE}, which is missing")
        return cls(load(files[STATE])["idf"])
