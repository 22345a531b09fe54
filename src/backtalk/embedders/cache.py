"""In-memory cache of an embedder's vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backtalk.embedders.io import embedder_to_files
from backtalk.models.protocol import Embedder


class CachedEmbedder:
    """Embedder that keeps all vectors in memory and embeds each text once.

    Parameters
    ----------
    embedder : Embedder
        Embedder of texts that are not in the cache.

    Examples
    --------
    >>> from backtalk.embedders import HashedTfidf
    >>> from backtalk.models.run_sync import run_sync
    >>> embedder = CachedEmbedder(HashedTfidf.fit(["open at nine"], dimension=64))
    >>> run_sync(embedder.embed(["nine", "nine"])).shape
    (2, 64)
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self._vectors: dict[str, NDArray[np.float32]] = {}

    @property
    def identity(self) -> str:
        """Identity of the embedder, as the vectors are the same."""
        return self.embedder.identity

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        return self.embedder.dimension

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, shape ``(len(texts), dimension)``."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, await self.embedder.embed(new), strict=True))
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return np.stack([self._vectors[text] for text in texts])

    def to_files(self) -> dict[str, bytes]:
        """Return the embedder as plain files, without the cached vectors."""
        return embedder_to_files(self.embedder)
