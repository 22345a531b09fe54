"""Cluster-robust moments of a mean."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.validation import Floats, group_numbers

DOMINANT = 0.45
"""Share of the squared deviations above which one cluster makes the variance unreliable."""


class Totals(NamedTuple):
    """Sum and number of the values in each cluster.

    Both have shape (..., clusters); leading axes are independent data sets. Values without
    clusters are clusters of size one.
    """

    sums: Floats
    sizes: Floats

    def rescaled(self, low: float, high: float) -> Totals:
        """Return the totals of the values mapped from [low, high] to [0, 1]."""
        return Totals((self.sums - low * self.sizes) / (high - low), self.sizes)


class Moments(NamedTuple):
    """Mean with its variance and degrees of freedom, each of shape (...)."""

    mean: Floats
    variance: Floats
    """Variance of the mean."""
    freedom: Floats
    """Degrees of freedom of the variance."""
    dominance: Floats
    """Share of the squared deviations in the most deviating cluster; 1 if nothing deviates."""


def totals(values: Floats, clusters: ArrayLike | None) -> Totals:
    """Sum values by cluster.

    Parameters
    ----------
    values : Floats
        Shape (n,).
    clusters : ArrayLike or None
        Cluster label of each value, shape (n,). None if values are independent.

    Returns
    -------
    Totals
        Totals of shape (clusters,).
    """
    if clusters is None:
        return Totals(values, np.ones_like(values))
    numbers, count = group_numbers(clusters, values.shape[0])
    ones = np.ones_like(values)
    sums, sizes = (
        np.asarray(np.bincount(numbers, weights=weights, minlength=count), dtype=float)
        for weights in (values, ones)
    )
    return Totals(sums, sizes)


def moments(data: Totals) -> Moments:
    """Estimate the mean over values, with a variance that allows for the clusters.

    The variance is CR2 of Bell and McCaffrey (2002), which is unbiased if values within clusters
    are independent; ``freedom`` is their Satterthwaite approximation under the same assumption.
    With clusters of size one these are s²/n and n - 1. With a single cluster the variance is
    infinite and ``freedom`` is 1.
    """
    sums, sizes = data
    if sums.shape[-1] == 1:
        mean = (sums / sizes)[..., 0]
        return Moments(mean, np.full_like(mean, np.inf), np.ones_like(mean), np.ones_like(mean))
    total = sizes.sum(-1, keepdims=True)
    weights = sizes / total
    mean = sums.sum(-1, keepdims=True) / total
    deviations = ((sums - mean * sizes) / total) ** 2
    spread = deviations.sum(-1)
    noise = (1e-13 * np.abs(sums / sizes).max(-1)) ** 2
    spread = np.where(spread <= noise, 0.0, spread)
    largest = deviations.max(-1)
    dominance = np.divide(largest, spread, out=np.ones_like(spread), where=spread > 0)
    variance = np.where(spread > 0, (deviations / (1.0 - weights)).sum(-1), 0.0)
    return Moments(mean[..., 0], variance, _freedom(weights), dominance)


def _freedom(weights: Floats) -> Floats:
    """Return Satterthwaite's degrees of freedom of CR2 for a mean of independent values.

    With ``l_g = 1_g - weights`` and cluster means of variance 1 / size, ``l_g' V l_h`` is
    ``[g = h] / size_g - 1 / n``, so the sums over pairs of clusters have a closed form.
    """
    share = weights**2 / (1.0 - weights)
    pairs = share.sum(-1) ** 2 - (share**2).sum(-1) + (weights**2).sum(-1)
    return np.asarray(1.0 / pairs)
