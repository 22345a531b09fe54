"""Kinds of requests, found by clustering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.feedback.interaction import Prompt
from backtalk.learn.lazy_modules import np
from backtalk.models.protocol import Embedder
from backtalk.policy.prompt_selector import PromptSelector, request_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

MIN_REQUESTS = 6
"""Minimum number of requests of a kind."""


@dataclass(frozen=True)
class RequestKinds:
    """Clusters of requests."""

    embedder: Embedder
    """Embedder of requests."""
    centers: NDArray[np.float64]
    """Mean vector of each kind, shape ``(kinds, d)``."""

    def nearest(self) -> PromptSelector:
        """Return the selector of the kind whose mean is closest to a request.

        ``-|x - m|^2 / 2`` is linear in ``x`` up to a term that all kinds share.
        """
        norms = (self.centers**2).sum(axis=1)
        return PromptSelector(self.embedder, np.ascontiguousarray(self.centers.T), -norms / 2)

    async def of(self, prompts: Sequence[Prompt]) -> list[int]:
        """Return the index of the kind of each request."""
        if not prompts:
            return []
        return [one.index for one in await self.nearest().select(prompts)]


async def find_kinds(
    prompts: Sequence[Prompt], embedder: Embedder, *, most: int, seed: int
) -> RequestKinds:
    """Return the kinds of requests: as many clusters as the silhouette favours.

    Lloyd (1982), "Least squares quantization in PCM"; Rousseeuw (1987), "Silhouettes: a graphical
    aid to the interpretation and validation of cluster analysis".

    Parameters
    ----------
    prompts : sequence of Prompt
        Requests.
    embedder : Embedder
        Embedder of requests.
    most : int
        Maximum number of kinds. There is one if no number of clusters has a positive silhouette, or
        if each has a cluster of fewer than six requests.
    seed : int
        Seed of the clustering.
    """
    from sklearn.cluster import KMeans  # noqa: PLC0415 - slow to import
    from sklearn.metrics import silhouette_score  # noqa: PLC0415 - slow to import

    vectors = np.asarray(
        await embedder.embed([request_text(prompt) for prompt in prompts]), dtype=float
    )
    best, centers = 0.0, vectors.mean(axis=0, keepdims=True)
    distinct = len(np.unique(vectors, axis=0))
    for count in range(2, min(most, distinct - 1, len(prompts) // MIN_REQUESTS) + 1):
        fitted = KMeans(count, n_init=5, random_state=seed).fit(vectors)
        if np.bincount(fitted.labels_, minlength=count).min() < MIN_REQUESTS:
            continue
        score = float(silhouette_score(vectors, fitted.labels_))
        if score > best:
            best, centers = score, np.asarray(fitted.cluster_centers_, dtype=float)
    return RequestKinds(embedder, centers)
