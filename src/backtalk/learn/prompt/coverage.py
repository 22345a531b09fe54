"""Choice of few texts that cover most kinds of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from backtalk.learn.lazy_modules import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtalk.embedders.registry import EmbedderName


async def covering(texts: Sequence[str], size: int, embedder: EmbedderName) -> list[int]:
    """Return indices of texts that are far from one another, a typical one first.

    Each one is the text farthest from those before it: Gonzalez (1985), "Clustering to minimize the
    maximum intercluster distance".

    Parameters
    ----------
    texts : sequence of str
        Texts, at least one.
    size : int
        Number of indices; all if there are fewer texts.
    embedder : {"hashed", "sentence"}
        Embedder of the texts.
    """
    vectors = await _vectors(texts, embedder)
    chosen = [int((vectors @ vectors.mean(axis=0)).argmax())]
    nearest = vectors @ vectors[chosen[0]]
    while len(chosen) < min(size, len(texts)):
        chosen.append(int(nearest.argmin()))
        nearest = np.maximum(nearest, vectors @ vectors[chosen[-1]])
    return chosen


async def clustered(
    texts: Sequence[str], count: int, embedder: EmbedderName, *, seed: int = 0
) -> list[list[int]]:
    """Return clusters of texts by k-means, each as indices from its centre outwards.

    Parameters
    ----------
    texts : sequence of str
        Texts, at least one.
    count : int
        Number of clusters, at most the number of texts.
    embedder : {"hashed", "sentence"}
        Embedder of the texts.
    seed : int, default 0
        Seed of the first centres.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415 - slow to import

    vectors = await _vectors(texts, embedder)
    fitted = KMeans(min(count, len(texts)), n_init=4, random_state=seed).fit(vectors)
    order = fitted.transform(vectors).argsort(axis=0)
    return [
        [int(index) for index in order[:, cluster] if fitted.labels_[index] == cluster]
        for cluster in range(fitted.n_clusters)
    ]


async def _vectors(texts: Sequence[str], embedder: EmbedderName) -> NDArray[np.float32]:
    from backtalk.embedders.registry import get_embedder  # noqa: PLC0415 - slow to import

    return await get_embedder(embedder, texts).embed(texts)
