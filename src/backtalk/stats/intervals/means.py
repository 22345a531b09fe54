"""Intervals for a mean: Student's t, the score interval, and a distribution-free interval."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.distributions import t_quantile
from backtalk.stats.estimate import Estimate, NoSpread
from backtalk.stats.intervals.binomial import score_equation_roots
from backtalk.stats.intervals.clusters import DOMINANT, Totals, moments, totals
from backtalk.stats.intervals.gaffke import bounded_limits
from backtalk.stats.validation import (
    Floats,
    bounded_values,
    check_level,
    finite_values,
    group_numbers,
)


def t_interval(
    values: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95
) -> Estimate:
    """Estimate a mean with Student's interval, cluster-robust where there are clusters.

    Parameters
    ----------
    values : ArrayLike
        Shape (n,), on any scale.
    clusters : ArrayLike, optional
        Cluster label of each value, shape (n,). The mean is over values; see
        :func:`backtalk.stats.intervals.clusters.moments`. Default: values are independent.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    NoSpread
        If there are fewer than two clusters, or all values are equal, which would give an
        interval of width 0.
    """
    array = finite_values(values)
    data = totals(array, clusters)
    estimates = moments(data)
    count = data.sums.shape[-1]
    if count < 2 or estimates.variance == 0:
        raise NoSpread(
            "The values do not vary" if count > 1 else "There is one value, or one cluster",
            "Use mean_interval with bounds=, the ends of the scale, which gives an interval even "
            "then",
        )
    reach = t_quantile(0.5 + check_level(level) / 2, estimates.freedom) * np.sqrt(
        estimates.variance
    )
    mean = float(estimates.mean)
    return _estimate(array, clusters, (mean - float(reach), mean + float(reach)), level, "t")


def score_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = 0.95,
) -> Estimate:
    """Estimate the mean of bounded values with the score interval; see :func:`score_limits`.

    Parameters
    ----------
    values : ArrayLike
        Shape (n,), within the bounds.
    clusters : ArrayLike, optional
        Cluster label of each value, shape (n,). Default: values are independent.
    bounds : tuple[float, float], default (0.0, 1.0)
        Ends of the scale.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    InvalidValues
        If a value is missing or out of bounds.
    """
    array = bounded_values(values, bounds)
    ends = score_limits(totals(array, clusters).rescaled(*bounds), check_level(level))
    return _estimate(array, clusters, _unscaled(ends, bounds), level, "score")


def bounded_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = 0.95,
    mid: bool = False,
) -> Estimate:
    """Estimate the mean of bounded values with Gaffke's distribution-free interval.

    It covered at least at ``level`` for every distribution that was simulated, and is wide. See
    :func:`backtalk.stats.intervals.gaffke.bounded_limits`.

    Parameters
    ----------
    values, clusters, bounds, level
        See :func:`score_interval`.
    mid : bool, default False
        If true, give up the guarantee for a shorter interval.

    Raises
    ------
    InvalidValues
        If a value is missing or out of bounds.
    """
    array = bounded_values(values, bounds)
    data = totals(array, clusters).rescaled(*bounds)
    ends = bounded_limits(data, check_level(level), mid=mid)
    method = "bounded (mid)" if mid else "bounded"
    return _estimate(array, clusters, _unscaled(ends, bounds), level, method)


def score_limits(data: Totals, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return the score limits for the mean of values in [0, 1].

    Wilson's interval with the variance estimated rather than assumed: the limits solve
    ``(m - mu)² = t² k mu (1 - mu)``, where ``k`` is the (cluster-robust) variance of the mean
    ``m`` over ``m (1 - m)``, and ``t`` is Student's quantile. This is the quasi-score interval
    under the variance function mu (1 - mu) (Wedderburn 1974; McCullagh 1983), which zeros and
    ones have exactly and Beta variables up to a factor. The factor, ``k`` times the degrees of
    freedom, is at most 1 and there is nothing to estimate when it is; the degrees of freedom
    are divided by 1 less the factor.

    If one cluster accounts for more than 45 % of the squared deviations, the sample does not
    determine its variance, and the interval is widened to include :func:`bounded_limits`. If all
    values are equal, it is those limits. The share was tuned by simulation: at 45 % the coverage
    is from 93 to 97 % for values as skewed as Beta(0.05, 0.95), from 10 values up.

    Parameters
    ----------
    data : Totals
        Totals of values in [0, 1], shape (..., clusters).
    level : float, default 0.95
        Nominal coverage.

    Returns
    -------
    low, high : Floats
        Shape (...).
    """
    estimates = moments(data)
    spread = estimates.mean * (1.0 - estimates.mean)
    usable = (spread > 0) & (estimates.variance > 0) & np.isfinite(estimates.variance)
    ratio = np.divide(estimates.variance, spread, out=np.zeros_like(spread), where=usable)
    certain = np.minimum(ratio * estimates.freedom, 1.0 - 1e-6)
    quantile = t_quantile(0.5 + level / 2, estimates.freedom / (1.0 - certain))
    low, high = (
        np.asarray(end) for end in score_equation_roots(estimates.mean, quantile**2 * ratio)
    )
    unreliable = (estimates.dominance > DOMINANT) | ~usable
    if unreliable.any():
        sizes = np.broadcast_to(data.sizes, data.sums.shape)
        wide = bounded_limits(Totals(data.sums[unreliable], sizes[unreliable]), level)
        reliable = usable[unreliable]
        low[unreliable] = np.where(reliable, np.minimum(low[unreliable], wide[0]), wide[0])
        high[unreliable] = np.where(reliable, np.maximum(high[unreliable], wide[1]), wide[1])
    return low, high


def _unscaled(ends: tuple[Floats, Floats], bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    return low + (high - low) * float(ends[0]), low + (high - low) * float(ends[1])


def _estimate(
    array: Floats,
    clusters: ArrayLike | None,
    ends: tuple[float, float],
    level: float,
    method: str,
) -> Estimate:
    count = None if clusters is None else group_numbers(clusters, array.size)[1]
    return Estimate(float(array.mean()), *ends, level, array.size, count, method)
