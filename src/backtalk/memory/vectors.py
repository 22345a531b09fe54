"""Bounded cache of an embedder's vectors, for texts that occur again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backtalk.models.protocol import Embedder

Vectors = NDArray[np.float32]

_SIZE = 50_000
"""Maximum number of vectors."""


class VectorCache:
    """Vectors of texts, scaled to length 1; the least recently used ones are dropped.

    Parameters
    ----------
    embedder : Embedder
        Embedder of texts that are not in the cache.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._vectors: OrderedDict[str, Vectors] = OrderedDict()

    @property
    def knows_meanings(self) -> bool:
        """False if the embedder only counts words, so that other words are as far as any."""
        return not self.embedder.identity.startswith("hashed ")

    async def add(self, texts: Sequence[str]) -> None:
        """Embed the texts that are not in the cache, in one call."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            vectors = np.asarray(await self.embedder.embed(new), dtype=np.float32)
            lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
            self._vectors.update(zip(new, vectors / np.maximum(lengths, 1e-12), strict=True))
        for text in texts:
            self._vectors.move_to_end(text)
        while len(self._vectors) > max(_SIZE, len(texts)):
            self._vectors.popitem(last=False)

    def of(self, texts: Sequence[str]) -> Vectors:
        """Return vectors of texts that :meth:`add` embedded, shape ``(len(texts), dimension)``."""
        if not texts:
            return np.zeros((0, self.embedder.dimension), np.float32)
        return np.stack([self._vectors[text] for text in texts])
