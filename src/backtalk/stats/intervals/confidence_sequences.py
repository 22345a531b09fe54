"""Confidence sequences: intervals that are valid at all times simultaneously.

A confidence interval for a fixed sample size loses its coverage if somebody looks after each value
and stops when they like the result. A confidence sequence covers the truth at all times together,
with probability at least ``level``, so peeking and early stopping are free.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.validation import (
    Floats,
    check_level,
    finite_values,
    probability_values,
    require_same_length,
)

_FRACTIONS = 0.95 * 0.5 ** np.arange(10)
"""Fractions of the capital that are bet. Between two of them the best fraction is missed by a
factor of at most 1.41, which costs 6 % of the log-capital."""
_RATES = 0.95 * 0.5 ** np.arange(16)
_GRID_CELLS = 2000
"""Number of cells of the grid of means in the search over two means."""
_BATCH_SIZE = 2_000_000
_BISECTIONS = 40
_SMALLEST = 1e-9


def mean_confidence_sequence(
    values: ArrayLike, counts: ArrayLike | None = None, *, level: float = 0.95
) -> Estimate:
    """Estimate a mean of values in [0, 1] by betting, valid at all times.

    A gambler who bets a fraction of their capital on the next value being above (below) a mean m
    cannot expect to gain if m is the mean, whatever the values' distribution. The capital is a
    martingale, and ever exceeds ``2 / (1 - level)`` with probability at most ``(1 - level) / 2``
    (Ville 1939). The sequence is the set of all m that are not rejected by such a capital
    (Waudby-Smith and Ramdas 2024, "Estimating means of bounded random variables by betting",
    section 4). The capital is spread over fixed fractions (a discrete universal portfolio, Cover
    1991; Orabona and Jun 2024), so the sequence does not depend on the order of the values.

    It is valid for values with the same mean given the values before, whatever rule decides when
    the next value comes, so also for the arms of a bandit.

    Parameters
    ----------
    values : ArrayLike
        Shape (n,), in [0, 1].
    counts : ArrayLike, optional
        Number of times that each value occurred, shape (n,). Default: once each.
    level : float, default 0.95
        Probability of coverage at all times.

    Raises
    ------
    InvalidValues
        If there is no value, or one is not in [0, 1].
    """
    distinct, frequencies = _count_values(values, counts)
    threshold = math.log(2 / (1 - check_level(level)))
    low = _lower_limit(distinct, frequencies, threshold)
    high = 1 - _lower_limit(1 - distinct, frequencies, threshold)
    total = frequencies.sum()
    mean = float(distinct @ frequencies / total)
    return Estimate(
        mean, min(low, mean), max(high, mean), level, int(total), None, "betting sequence"
    )


def difference_confidence_sequence(
    first: ArrayLike,
    second: ArrayLike,
    *,
    counts: tuple[ArrayLike, ArrayLike] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Estimate the difference of two means, first minus second, valid at all times.

    The capital of a bet that the first mean is above m + d, times that of a bet that the second is
    below m, is a martingale if the means are those, because each value changes one of the two. A
    difference d is rejected if every m is. As for :func:`mean_confidence_sequence`, any rule may
    decide which group the next value is from, if it does not depend on that value; the groups may
    have different sizes.

    Parameters
    ----------
    first, second : ArrayLike
        Values of each group, in [0, 1], shapes (n,) and (m,).
    counts : tuple[ArrayLike, ArrayLike], optional
        Number of times that each value occurred, for both groups. Default: once each.
    level : float, default 0.95
        Probability of coverage at all times.

    Raises
    ------
    InvalidValues
        If either group has no value, or one that is not in [0, 1].
    """
    values_a, counts_a = _count_values(first, None if counts is None else counts[0])
    values_b, counts_b = _count_values(second, None if counts is None else counts[1])
    threshold = math.log(2 / (1 - check_level(level)))
    value = float(values_a @ counts_a / counts_a.sum() - values_b @ counts_b / counts_b.sum())
    low = _lower_difference(values_a, counts_a, values_b, counts_b, threshold)
    high = -_lower_difference(values_b, counts_b, values_a, counts_a, threshold)
    number = int(counts_a.sum() + counts_b.sum())
    return Estimate(
        value, min(low, value), max(high, value), level, number, None, "betting sequence"
    )


def average_confidence_sequence(
    total: float, squares: float, n: int, *, bound: float, level: float = 0.95
) -> Estimate:
    """Estimate the average conditional expectation of n numbers, valid at all times.

    Each number may have a different expectation given those before, so nothing has to be
    stationary. The sub-exponential empirical Bernstein bound of Howard, Ramdas, McAuliffe and
    Sekhon (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences", theorem 4,
    with 0 as the prediction and a discrete mixture over its rate.

    With numbers weighted by inverse propensities (:func:`weighted_effect`) the average is a
    policy's effect, or value, under a logging policy that learned at the same time (Waudby-Smith
    et al. 2024, "Anytime-valid off-policy inference for contextual bandits").

    Parameters
    ----------
    total, squares : float
        Sum of the numbers, and sum of their squares.
    n : int
        Number of numbers.
    bound : float
        Upper bound on the absolute value of any number that could occur.
    level : float, default 0.95
        Probability of coverage at all times.

    Raises
    ------
    InvalidValues
        If there is no number, or the sum of squares exceeds what the bound allows.
    """
    if n < 1:
        raise InvalidValues("There is no number", "Give at least one")
    if not math.isfinite(total + squares) or not bound > 0 or squares > n * bound**2 * (1 + 1e-9):
        raise InvalidValues(
            f"{n} numbers whose squares sum to {squares:g} are not within {bound:g}",
            "Give the largest absolute value that could occur",
        )
    threshold = math.log(2 / (1 - check_level(level)))
    scaled, spread = total / bound, squares / bound**2
    low = bound * _lower_average(scaled, spread, n, threshold)
    high = -bound * _lower_average(-scaled, spread, n, threshold)
    return Estimate(total / n, low, high, level, n, None, "weighted sequence")


def weighted_confidence_sequence(
    total: float, squares: float, weight: float, n: int, *, level: float = 0.95
) -> Estimate:
    """Estimate a weighted average of conditional expectations, valid at all times.

    The weight of a number is known before the number, as a weight that limits a number of large
    variance. It is :func:`average_confidence_sequence` for numbers with bounds of their own.

    Parameters
    ----------
    total, squares : float
        Sum of the weighted numbers, each in [-1, 1], and sum of their squares.
    weight : float
        Sum of the weights, above 0.
    n : int
        Number of numbers.
    level : float, default 0.95
        Probability of coverage at all times.

    Returns
    -------
    Estimate
        Average, and interval within [-1, 1].

    Raises
    ------
    InvalidValues
        If there is no number, the weight is not above 0, or the squares sum to more than n.
    """
    if n < 1 or not weight > 0:
        raise InvalidValues("There is no number with a weight", "Give at least one")
    if not math.isfinite(total + squares) or squares > n * (1 + 1e-9):
        raise InvalidValues(
            f"{n} numbers whose squares sum to {squares:g} are not within 1",
            "Give numbers that are multiplied by their weights",
        )
    threshold = math.log(2 / (1 - check_level(level)))
    low = _lower_average(total, squares, weight, threshold)
    high = -_lower_average(-total, squares, weight, threshold)
    return Estimate(total / weight, low, high, level, n, None, "weighted sequence")


def log_e_value(total: float, squares: float) -> float:
    """Return the logarithm of an e-value against "the average is at most 0".

    It exceeds ``log(1 / a)`` at any time with probability at most ``a`` if the average conditional
    expectation of the numbers is at most 0 at that time. It belongs to the lower end of
    :func:`weighted_confidence_sequence`.

    Parameters
    ----------
    total, squares : float
        Sum of numbers in [-1, 1], and sum of their squares.
    """
    logs = _RATES * total + (np.log1p(-_RATES) + _RATES) * squares
    return float(np.logaddexp.reduce(logs) - math.log(_RATES.size))


def weighted_effect(value: float, *, centre: float, sign: int, propensity: float) -> float:
    """Return a number whose expectation is the effect of one arm over another.

    Horvitz and Thompson's (1952) weighting with a control variate: ``sign (value - centre) /
    propensity``. The centre has the same effect on both arms, so it changes the variance and not
    the expectation, as long as it does not depend on the value.

    Parameters
    ----------
    value : float
        Reward, in [0, 1].
    centre : float
        Prediction of the reward of either arm, made before the reward is known.
    sign : int
        1 if the prompt went to the arm whose effect is estimated, -1 if it went to the other.
    propensity : float
        Probability with which the prompt went to that arm.
    """
    return sign * (value - centre) / propensity


def _count_values(values: ArrayLike, counts: ArrayLike | None) -> tuple[Floats, Floats]:
    array = probability_values(values)
    if counts is None:
        distinct, numbers = np.unique(array, return_counts=True)
        return distinct, numbers.astype(float)
    frequencies = finite_values(counts, "counts")
    require_same_length(values=array, counts=frequencies)
    if (frequencies < 0).any() or frequencies.sum() < 1:
        raise InvalidValues("counts has no positive entry", "Give the number of each value")
    return array, frequencies


def _log_capital(values: Floats, counts: Floats, means: Floats) -> Floats:
    """Return the log-capital of bets that the mean is above each of ``means``, same shape.

    A fraction f bet on a value x against a mean m becomes ``1 + f (x / m - 1)``. That decreases
    in m for each x, so the capital does too.
    """
    sums = np.zeros((means.size, _FRACTIONS.size))
    inverse_means = 1 / np.maximum(means, _SMALLEST)
    size = max(1, _BATCH_SIZE // sums.size)
    for start in range(0, values.size, size):
        batch, frequencies = values[start : start + size], counts[start : start + size]
        gains = np.multiply.outer(inverse_means, batch) - 1
        sums += np.log1p(_FRACTIONS[None, :, None] * gains[:, None, :]) @ frequencies
    return np.asarray(np.logaddexp.reduce(sums, axis=1) - math.log(_FRACTIONS.size))


def _lower_limit(values: Floats, counts: Floats, threshold: float) -> float:
    """Return the largest mean below which every mean is rejected."""
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        if _log_capital(values, counts, np.array([middle]))[0] >= threshold:
            low = middle
        else:
            high = middle
    return low


def _lower_difference(
    values_a: Floats, counts_a: Floats, values_b: Floats, counts_b: Floats, threshold: float
) -> float:
    """Return the largest difference, in whole cells, below which every difference is rejected.

    The capitals are evaluated at the ends of a cell where they are smallest, so the grid widens the
    interval by up to two cells and never narrows it.
    """
    grid = np.linspace(0.0, 1.0, _GRID_CELLS + 1)
    above = _log_capital(values_a, counts_a, grid)
    below = _log_capital(1 - values_b, counts_b, 1 - grid)

    def is_rejected(shift: int) -> bool:
        start, end = max(0, -shift - 1), min(_GRID_CELLS, _GRID_CELLS - shift - 1)
        cells = np.arange(start, end + 1)
        upper = np.minimum(cells + shift + 1, _GRID_CELLS)
        return bool((above[upper] + below[cells]).min() >= threshold)

    low, high = -_GRID_CELLS - 1, _GRID_CELLS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if is_rejected(middle) else (low, middle)
    return max(low, -_GRID_CELLS) / _GRID_CELLS


def _lower_average(total: float, spread: float, n: float, threshold: float) -> float:
    """Return the largest average below which every one is rejected; numbers in [-1, 1]."""
    cost = (-np.log1p(-_RATES) - _RATES) * spread
    low, high = -1.0, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        logs = _RATES * (total - n * middle) - cost
        if np.logaddexp.reduce(logs) - math.log(_RATES.size) >= threshold:
            low = middle
        else:
            high = middle
    return low
