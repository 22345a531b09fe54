"""Cluster bootstrap intervals for a mean."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.estimate import Estimate, InvalidValues, NoSpread
from backtalk.stats.intervals.clusters import Totals, totals
from backtalk.stats.intervals.means import t_interval
from backtalk.stats.validation import Floats, check_level, finite_values

_MAX_CELLS = 4_000_000


def bootstrap(
    values: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    method: str = "studentised",
    resamples: int = 2000,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate a mean with a bootstrap interval.

    For a paired comparison, pass the differences; pairs are then resampled together.

    Parameters
    ----------
    values : ArrayLike
        Shape (n,), on any scale.
    clusters : ArrayLike, optional
        Cluster label of each value, shape (n,). Whole clusters are resampled; the mean is over
        values. Default: values are independent.
    method : str, default "studentised"
        ``studentised`` uses the quantiles of (mean* - mean) / error*, which adapts to skew;
        ``percentile`` uses those of mean*, which does not, and is too short below about 50
        clusters (Efron and Tibshirani 1993, chapters 12 and 13). With clusters of unequal sizes
        the studentised interval allows for their leverage, and includes the t interval.
    resamples : int, default 2000
        Number of resamples.
    level : float, default 0.95
        Nominal coverage.
    seed : int, default 0
        Seed of the resampling.

    Raises
    ------
    NoSpread
        If there are fewer than two clusters, or no two values differ.
    """
    array = finite_values(values)
    data = totals(array, clusters)
    ends = bootstrap_limits(
        data, method=method, resamples=resamples, level=check_level(level), seed=seed
    )
    if method == "studentised" and (data.sizes != data.sizes[0]).any():
        # Resamples seldom show what one large cluster could have been: t knows its leverage.
        student = t_interval(array, clusters, level=level)
        ends = min(ends[0], student.low), max(ends[1], student.high)
    count = None if clusters is None else data.sums.size
    name = f"{method} bootstrap"
    return Estimate(float(array.mean()), *ends, level, array.size, count, name)


def bootstrap_limits(
    data: Totals, *, method: str, resamples: int, level: float, seed: int
) -> tuple[float, float]:
    """Return the bootstrap limits of the mean of one data set.

    Parameters
    ----------
    data : Totals
        Totals of shape (clusters,).
    method, resamples, level, seed
        See :func:`bootstrap`.

    Raises
    ------
    InvalidValues
        If the method is unknown.
    NoSpread
        If there are fewer than two clusters, or no two values differ.
    """
    if method not in ("studentised", "percentile"):
        raise InvalidValues(f"There is no bootstrap {method!r}", "Known: studentised, percentile")
    count = data.sums.size
    mean, error = (float(part[0]) for part in _mean_and_error(np.arange(count)[None], data))
    if count < 2 or error <= 1e-13 * abs(mean):
        raise NoSpread(
            "Fewer than two values differ, or all are of one cluster, so there is no spread",
            "Use mean_interval with bounds=, the ends of the scale, which gives an interval even "
            "then",
        )
    rng = np.random.default_rng(seed)
    chunk = max(1, _MAX_CELLS // count)
    parts = [
        _mean_and_error(rng.integers(count, size=(min(chunk, resamples - start), count)), data)
        for start in range(0, resamples, chunk)
    ]
    means, errors = (np.concatenate(part) for part in zip(*parts, strict=True))
    tails = [0.5 - level / 2, 0.5 + level / 2]
    if method == "percentile":
        low, high = np.quantile(means, tails)
        return float(low), float(high)
    spread = errors > 1e-9 * error
    pivots = (means[spread] - mean) / errors[spread]
    below, above = np.quantile(pivots, tails)
    error *= _leverage_factor(data)
    return mean - float(above) * error, mean - float(below) * error


def _leverage_factor(data: Totals) -> float:
    """Return the jackknife error of the mean (CR3) over that for clusters of equal sizes.

    A large cluster draws the mean to itself, so its residual is too small by 1 minus its share.
    Bell and McCaffrey (2002), "Bias reduction in standard errors for linear regression with
    multi-stage samples". The factor is 1 if all sizes are equal.
    """
    share = data.sizes / data.sizes.sum()
    residuals = data.sums - data.sums.sum() * share
    squares = float((residuals**2).sum())
    if (share == share[0]).all() or squares == 0:
        return 1.0
    left = np.maximum(1 - share, 1e-9)
    ratio = float(np.sqrt(((residuals / left) ** 2).sum() / squares))
    return float(max(1.0, ratio * (1 - 1 / share.size)))


def _mean_and_error(indices: NDArray[np.integer[Any]], data: Totals) -> tuple[Floats, Floats]:
    """Return the ratio mean of each row of cluster indices and its cluster-robust error."""
    sums = data.sums[indices]
    if (data.sizes == 1).all():
        total = np.full(len(indices), float(indices.shape[1]))
        mean = sums.sum(1) / total
        residuals = sums - mean[:, None]
    else:
        sizes = data.sizes[indices]
        total = sizes.sum(1)
        mean = sums.sum(1) / total
        residuals = sums - mean[:, None] * sizes
    factor = indices.shape[1] / max(indices.shape[1] - 1, 1)
    return mean, np.sqrt(factor * (residuals**2).sum(1)) / total
