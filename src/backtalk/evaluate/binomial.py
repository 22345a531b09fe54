"""Intervals for a proportion: so many successes in so many trials."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from backtalk.evaluate.arrays import Floats, level_of
from backtalk.evaluate.estimate import Estimate, InvalidValues
from backtalk.evaluate.quantiles import beta_area, normal_quantile


def wilson(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion with Wilson's interval. See :func:`wilson_limits`."""
    low, high = wilson_limits(*_counts(successes, n), level_of(level))
    return Estimate(successes / n, float(low), float(high), level, n, None, "wilson")


def exact(successes: int, n: int, *, level: float = 0.95, mid: bool = True) -> Estimate:
    """Estimate a proportion with an interval from binomial tails. See :func:`exact_limits`."""
    low, high = exact_limits(*_counts(successes, n), level_of(level), mid=mid)
    method = "mid-P exact" if mid else "Clopper-Pearson"
    return Estimate(successes / n, float(low), float(high), level, n, None, method)


def wilson_limits(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Wilson's score limits for a proportion (Wilson 1927); arguments broadcast."""
    count = np.asarray(n, dtype=float)
    share = np.asarray(successes, dtype=float) / count
    return score_ends(share, normal_quantile(0.5 + level / 2) ** 2 / count * np.ones_like(share))


def exact_limits(
    successes: ArrayLike, n: ArrayLike, level: float = 0.95, *, mid: bool = True
) -> tuple[Floats, Floats]:
    """Limits for a proportion from the binomial tail areas; arguments broadcast.

    With ``mid`` the observed count is given half its probability (Lancaster 1961; Berry and
    Armitage 1995); without, the limits are those of Clopper and Pearson (1934).
    """
    won, count = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(n, dtype=float))
    tail = 0.5 - level / 2
    low = _exact_lower(won, count, tail, mid)
    return low, 1.0 - _exact_lower(count - won, count, tail, mid)


def score_ends(mean: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """The two solutions of ``(mean - mu)² = scale mu (1 - mu)`` for mu; arguments broadcast."""
    middle = (mean + scale / 2) / (1.0 + scale)
    reach = np.sqrt(scale * mean * (1.0 - mean) + scale**2 / 4) / (1.0 + scale)
    return np.maximum(middle - reach, 0.0), np.minimum(middle + reach, 1.0)


def _counts(successes: int, n: int) -> tuple[int, int]:
    if n < 1 or not 0 <= successes <= n:
        raise InvalidValues(
            f"There cannot be {successes} successes in {n} trials", "Give 0 <= successes <= n"
        )
    return successes, n


def _exact_lower(won: Floats, count: Floats, tail: float, mid: bool) -> Floats:
    low, high = np.zeros(won.shape), np.ones(won.shape)
    above = np.maximum(won + 1.0, 1.0)
    for _ in range(50):
        middle = 0.5 * (low + high)
        reached = np.where(won > 0, beta_area(np.maximum(won, 1.0), count - won + 1.0, middle), 1.0)
        if mid:
            passed = np.where(
                won < count, beta_area(above, np.maximum(count - won, 1.0), middle), 0.0
            )
            reached = 0.5 * (reached + passed)
        over = reached > tail
        high, low = np.where(over, middle, high), np.where(over, low, middle)
    return np.where(won > 0, 0.5 * (low + high), 0.0)
