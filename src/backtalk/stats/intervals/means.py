"""Intervals for the mean of values, bounded or not, in clusters or not."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.distributions import t_quantile
from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.intervals.binomial import score_equation_roots
from backtalk.stats.intervals.clusters import DOMINANT, Totals, moments, totals
from backtalk.stats.intervals.gaffke import bounded_limits
from backtalk.stats.validation import Floats, bounded_values, check_level, finite_values


def t_interval(
    values: ArrayLike, clusters: ArrayLike | None = None, *, level: float = 0.95
) -> Estimate:
    """Estimate a mean with Student's interval, cluster-robust where there are clusters.

    Parameters
    ----------
    values : ArrayLike
        Shape (n,), any scale.
    clusters : ArrayLike, optional
        One label per value, or None. The mean is over values; see
        :func:`backtalk.stats.intervals.clusters.moments`.

    Raises
    ------
    InvalidValues
        If there are fewer than two clusters, or if all values are equal: the interval would
        have no width.
    """
    array = finite_values(values)
    data = totals(array, clusters)
    known = moments(data)
    count = data.sums.shape[-1]
    if count < 2 or known.variance == 0:
        raise InvalidValues(
            "The values do not vary" if count > 1 else "There is one value, or one cluster",
            "Give the bounds of the scale, which bound the mean even so",
        )
    reach = t_quantile(0.5 + check_level(level) / 2, known.freedom) * np.sqrt(known.variance)
    mean = float(known.mean)
    return _estimate(array, clusters, (mean - float(reach), mean + float(reach)), level, "t")


def score_interval(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    level: float = 0.95,
) -> Estimate:
    """Estimate the mean of bounded values by their quasi-score. See :func:`score_limits`."""
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
    """Estimate the mean of bounded values with an interval that assumes nothing else.

    It covers at least as often as ``level`` says, for any distribution tried so far, and is
    wide. See :func:`backtalk.stats.intervals.gaffke.bounded_limits`.
    """
    array = bounded_values(values, bounds)
    data = totals(array, clusters).rescaled(*bounds)
    ends = bounded_limits(data, check_level(level), mid=mid)
    method = "bounded (mid)" if mid else "bounded"
    return _estimate(array, clusters, _unscaled(ends, bounds), level, method)


def score_limits(data: Totals, level: float = 0.95) -> tuple[Floats, Floats]:
    """Limits for the mean of values in [0, 1], of any shape, in clusters or not.

    Wilson's interval with the variance estimated rather than assumed: the limits solve
    ``(m - mu)² = t² k mu (1 - mu)``, where ``k`` is the (cluster-robust) variance of the mean
    ``m`` over ``m (1 - m)``, and ``t`` is Student's quantile. This is the quasi-score interval
    under the variance function mu (1 - mu) (Wedderburn 1974; McCullagh 1983), which zeros and
    ones have exactly and Beta variables up to a factor. The factor, ``k`` times the degrees of
    freedom, is at most 1 and there is nothing to estimate when it is; the degrees of freedom
    are divided by 1 less the factor.

    Where one cluster accounts for more than 45 % of the squared deviations, the sample cannot
    say how large the variance is: the interval is widened to include :func:`bounded_limits`,
    and where all values are equal it is those limits. The share was set by measuring: at 45 %
    coverage is from 93 to 97 % for values as skewed as Beta(0.05, 0.95), from 10 values up.

    Parameters
    ----------
    data : Totals
        Totals of values in [0, 1], shape (..., clusters).

    Returns
    -------
    low, high
        Shape (...).
    """
    known = moments(data)
    spread = known.mean * (1.0 - known.mean)
    usable = (spread > 0) & (known.variance > 0) & np.isfinite(known.variance)
    ratio = np.divide(known.variance, spread, out=np.zeros_like(spread), where=usable)
    certain = np.minimum(ratio * known.freedom, 1.0 - 1e-6)
    quantile = t_quantile(0.5 + level / 2, known.freedom / (1.0 - certain))
    low, high = (np.asarray(end) for end in score_equation_roots(known.mean, quantile**2 * ratio))
    unsure = (known.dominance > DOMINANT) | ~usable
    if unsure.any():
        sizes = np.broadcast_to(data.sizes, data.sums.shape)
        wide = bounded_limits(Totals(data.sums[unsure], sizes[unsure]), level)
        sure = usable[unsure]
        low[unsure] = np.where(sure, np.minimum(low[unsure], wide[0]), wide[0])
        high[unsure] = np.where(sure, np.maximum(high[unsure], wide[1]), wide[1])
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
    count = None if clusters is None else int(np.unique(np.asarray(clusters)).size)
    return Estimate(float(array.mean()), *ends, level, array.size, count, method)
