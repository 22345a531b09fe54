"""An embedder that embeds each text once, however often it is asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from backtalk.models.protocol import Embedder


class CachedEmbedder:
    """Keeps the vectors of all texts in memory: for work that comes back to the same texts.

    Parameters
    ----------
    embedder : Embedder
        What embeds a text that was not seen before.

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
        """That of the embedder: the vectors are the same."""
        return self.embedder.identity

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return self.embedder.dimension

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors, of shape ``(len(texts), dimension)``."""
        new = [text for text in dict.fromkeys(texts) if text not in self._vectors]
        if new:
            self._vectors.update(zip(new, await self.embedder.embed(new), strict=True))
        if not texts:
            return np.empty((0, self.dimension), np.float32)
        return np.stack([self._vectors[text] for text in texts])

    def to_files(self) -> dict[str, bytes]:
        """Return the embedder itself as plain files; the vectors are not kept."""
        from backtalk.embedders.io import embedder_to_files  # noqa: PLC0415 - it knows this one

        return embedder_to_files(self.embedder)
