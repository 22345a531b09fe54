"""Empirical Bayes: estimates of entries with few scores are drawn to the mean of all entries."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

_FEW = 5
"""Number of entries below which the prior is not estimated."""
_PRIOR_VARIANCE = 0.01
"""Variance of the prior, with the mean 0, if there are few entries."""


def shrunk_effects(estimates: ArrayLike, variances: ArrayLike) -> list[float]:
    """Return posterior means under a normal prior whose mean and variance are estimated.

    The variance of the prior is that of DerSimonian and Laird (1986), "Meta-analysis in clinical
    trials", equation 8; the posterior means are as in Efron and Morris (1973), "Stein's estimation
    rule and its competitors".

    Parameters
    ----------
    estimates, variances : ArrayLike
        Estimates and their variances, above 0, shape (n,).
    """
    values, noise = np.asarray(estimates, dtype=float), np.asarray(variances, dtype=float)
    mean, between = 0.0, _PRIOR_VARIANCE
    if len(values) >= _FEW:
        weights = 1 / noise
        centre = weights @ values / weights.sum()
        excess = weights @ (values - centre) ** 2 - (len(values) - 1)
        scale = weights.sum() - (weights**2).sum() / weights.sum()
        between = max(float(excess / scale), 0.0)
        pooled = 1 / (noise + between)
        mean = float(pooled @ values / pooled.sum())
    return [float(one) for one in mean + (values - mean) * between / (between + noise)]
