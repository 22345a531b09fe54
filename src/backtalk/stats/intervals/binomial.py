"""Binomial confidence intervals: Wilson's and Blaker's exact interval."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.distributions import beta_cdf, normal_quantile
from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.validation import Floats, check_level, is_number


def wilson_interval(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion with Wilson's interval; see :func:`wilson_limits`.

    Parameters
    ----------
    successes : int
        Number of successes.
    n : int
        Number of trials.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    InvalidValues
        Unless ``0 <= successes <= n`` and ``n`` is at least 1.
    """
    low, high = wilson_limits(*_counts(successes, n), check_level(level))
    return Estimate(successes / n, float(low), float(high), level, n, None, "wilson")


def exact_interval(successes: int, n: int, *, level: float = 0.95) -> Estimate:
    """Estimate a proportion with Blaker's exact interval; see :func:`exact_limits`.

    Parameters
    ----------
    successes, n, level
        See :func:`wilson_interval`.

    Raises
    ------
    InvalidValues
        Unless ``0 <= successes <= n`` and ``n`` is at least 1.
    """
    low, high = exact_limits(*_counts(successes, n), check_level(level))
    return Estimate(successes / n, float(low), float(high), level, n, None, "exact")


def wilson_limits(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return Wilson's score limits for a proportion (Wilson 1927).

    Parameters
    ----------
    successes, n : ArrayLike
        Numbers of successes and of trials, of any shapes that broadcast.
    level : float, default 0.95
        Nominal coverage.

    Returns
    -------
    low, high : Floats
        Of the broadcast shape.
    """
    count = np.asarray(n, dtype=float)
    share = np.asarray(successes, dtype=float) / count
    return score_equation_roots(
        share, normal_quantile(0.5 + level / 2) ** 2 / count * np.ones_like(share)
    )


def exact_limits(successes: ArrayLike, n: ArrayLike, level: float = 0.95) -> tuple[Floats, Floats]:
    """Return Blaker's exact limits for a proportion (Blaker 2000).

    A proportion is rejected if the observed tail, plus the largest tail on the other side that is
    no likelier, has a probability below 1 - level. The limits cover at least at ``level`` for every
    true proportion, and lie within those of Clopper and Pearson. Because counts are discrete, they
    cover more often for most proportions, the more so the fewer the trials: at 95 %, from 95 to
    99.7 % with 10 trials, 97.3 % on average.

    Parameters
    ----------
    successes, n : ArrayLike
        Numbers of successes and of trials, of any shapes that broadcast.
    level : float, default 0.95
        Nominal coverage.

    Returns
    -------
    low, high : Floats
        Of the broadcast shape.
    """
    won, count = np.broadcast_arrays(np.asarray(successes, dtype=float), np.asarray(n, dtype=float))
    return _exact_lower(won, count, 1.0 - level), 1.0 - _exact_lower(
        count - won, count, 1.0 - level
    )


def score_equation_roots(mean: Floats, scale: Floats) -> tuple[Floats, Floats]:
    """Return both solutions of ``(mean - mu)² = scale mu (1 - mu)`` for mu; arguments broadcast."""
    middle = (mean + scale / 2) / (1.0 + scale)
    reach = np.sqrt(scale * mean * (1.0 - mean) + scale**2 / 4) / (1.0 + scale)
    return np.maximum(middle - reach, 0.0), np.minimum(middle + reach, 1.0)


def _counts(successes: int, n: int) -> tuple[int, int]:
    counts = (successes, n)
    if not all(is_number(count) and math.isfinite(count) and count % 1 == 0 for count in counts):
        raise InvalidValues(
            f"{successes!r} successes in {n!r} trials are not two whole numbers",
            "Give whole numbers",
        )
    if n < 1 or not 0 <= successes <= n:
        raise InvalidValues(
            f"There cannot be {successes} successes in {n} trials", "Give 0 <= successes <= n"
        )
    return successes, n


def _exact_lower(won: Floats, count: Floats, missed: float) -> Floats:
    """Return the lower limit by bisection from Clopper and Pearson's (Klaschka and Reiczigel 2021).

    From that limit up to won / count the upper tail grows. The other side adds first the lower
    tail up to the largest count that is unlikelier at Clopper and Pearson's limit, then one count
    more. The first sum has one minimum and starts below ``missed``, so it crosses it once.
    """
    at_least = np.maximum(won, 1.0)

    def upper(probability: Floats) -> Floats:
        return beta_cdf(at_least, count - at_least + 1.0, probability)

    def lower(max_count: Floats, probability: Floats) -> Floats:
        tail = beta_cdf(count - max_count, np.maximum(max_count, 0.0) + 1.0, 1.0 - probability)
        return np.where(max_count < 0, 0.0, tail)

    def bisect(low: Floats, high: Floats, reached: Callable[[Floats], NDArray[np.bool_]]) -> Floats:
        for _ in range(50):
            middle = 0.5 * (low + high)
            over = reached(middle)
            high, low = np.where(over, middle, high), np.where(over, low, middle)
        return 0.5 * (low + high)

    start = bisect(
        np.zeros(won.shape), at_least / count, lambda probability: upper(probability) > missed / 2
    )
    few, many = np.full(won.shape, -1.0), at_least - 1.0
    while (many - few > 1).any():
        middle = np.where(many - few > 1, np.floor(0.5 * (few + many)), many)
        over = lower(middle, start) > missed / 2
        many, few = np.where(over, middle, many), np.where(over, few, np.minimum(middle, many - 1))
    limit = bisect(
        start,
        at_least / count,
        lambda probability: (
            (lower(many, probability) <= upper(probability))
            | (upper(probability) + lower(many - 1.0, probability) >= missed)
        ),
    )
    return np.where(won > 0, limit, 0.0)
