"""Confidence sequences: intervals that hold at every moment at once, however often one looks.

An interval for a fixed number of values is wrong for somebody who looks after each value and stops
when they like what they see. A confidence sequence covers the truth at all times together, with
probability at least ``level``, so that looking and stopping cost nothing.
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
"""The shares of the capital that are bet. Between two of them the best one is missed by a factor
of at most 1.41, which costs 6 % of the log-capital."""
_RATES = 0.95 * 0.5 ** np.arange(16)
_CELLS = 2000
"""Into how many cells the means are cut where two are searched together."""
_AT_ONCE = 2_000_000
_HALVINGS = 40
_SMALLEST = 1e-9


def mean_confidence_sequence(
    values: ArrayLike, counts: ArrayLike | None = None, *, level: float = 0.95
) -> Estimate:
    """Estimate a mean of values in [0, 1] by betting, valid at every moment.

    Somebody who bets a share of their capital on the next value being above (below) a mean m
    grows poor if m is the mean, whatever the values' distribution: the capital is a martingale,
    and exceeds ``2 / (1 - level)`` with probability at most ``(1 - level) / 2`` ever (Ville 1939).
    The sequence is all m that have not made such a fortune (Waudby-Smith and Ramdas 2024,
    "Estimating means of bounded random variables by betting", section 4). Here capital is spread
    over fixed shares (a discrete universal portfolio, Cover 1991; Orabona and Jun 2024), so that
    the sequence depends on the values only and not on their order.

    It holds for values of one mean given those before, whoever decides when the next one comes:
    for the arms of a bandit too.

    Parameters
    ----------
    values : ArrayLike
        Shape (n,), in [0, 1].
    counts : ArrayLike, optional
        How often each value came; once each, if left out.
    level : float, default 0.95
        The probability with which it holds at all times.

    Raises
    ------
    InvalidValues
        If there is no value, or one is not in [0, 1].
    """
    kept, often = _counted(values, counts)
    bar = math.log(2 / (1 - check_level(level)))
    low = _lower_limit(kept, often, bar)
    high = 1 - _lower_limit(1 - kept, often, bar)
    mean = float(kept @ often / often.sum())
    return Estimate(
        mean, min(low, mean), max(high, mean), level, int(often.sum()), None, "betting sequence"
    )


def difference_confidence_sequence(
    first: ArrayLike,
    second: ArrayLike,
    *,
    counts: tuple[ArrayLike, ArrayLike] | None = None,
    level: float = 0.95,
) -> Estimate:
    """Estimate the mean of the first minus that of the second, valid at every moment.

    The capital of a bet that the first mean is above m + d, times that of a bet that the second is
    below m, is a martingale if the means are those: each value moves one of the two. A difference
    is left out where every m has made a fortune. As :func:`mean_sequence`, it holds whoever
    decides which of the two the next value is of, as long as that does not depend on the value;
    neither need be judged as often as the other.

    Parameters
    ----------
    first, second : ArrayLike
        Values in [0, 1].
    counts : tuple[ArrayLike, ArrayLike], optional
        How often each value came, for both; once each, if left out.
    level : float, default 0.95
        The probability with which it holds at all times.

    Raises
    ------
    InvalidValues
        If either has no value, or one that is not in [0, 1].
    """
    one, ones = _counted(first, None if counts is None else counts[0])
    two, twos = _counted(second, None if counts is None else counts[1])
    bar = math.log(2 / (1 - check_level(level)))
    value = float(one @ ones / ones.sum() - two @ twos / twos.sum())
    low = _lower_difference(one, ones, two, twos, bar)
    high = -_lower_difference(two, twos, one, ones, bar)
    number = int(ones.sum() + twos.sum())
    return Estimate(
        value, min(low, value), max(high, value), level, number, None, "betting sequence"
    )


def average_confidence_sequence(
    total: float, squares: float, n: int, *, bound: float, level: float = 0.95
) -> Estimate:
    """Estimate the average of what n numbers were expected to be, valid at every moment.

    Each number may have an expectation of its own, given those before: nothing need stay as it
    was. The sub-exponential empirical Bernstein bound of Howard, Ramdas, McAuliffe and Sekhon
    (2021), "Time-uniform, nonparametric, nonasymptotic confidence sequences", theorem 4, with 0 as
    the prediction and a discrete mixture over its rate.

    With numbers weighted by inverse propensities (:func:`weighted_effect`) the average is that of
    a policy's effect, or value, under a policy that learned while it was logging (Waudby-Smith et
    al. 2024, "Anytime-valid off-policy inference for contextual bandits").

    Parameters
    ----------
    total, squares : float
        The sum of the numbers and that of their squares.
    n : int
        How many there are.
    bound : float
        No number may be larger than this in absolute value, nor could have been.
    level : float, default 0.95
        The probability with which it holds at all times.

    Raises
    ------
    InvalidValues
        If there is no number, or the squares are more than the bound allows.
    """
    if n < 1:
        raise InvalidValues("There is no number", "Give at least one")
    if not bound > 0 or squares > n * bound**2 * (1 + 1e-9):
        raise InvalidValues(
            f"{n} numbers whose squares sum to {squares:g} are not within {bound:g}",
            "Give the largest absolute value that could have come",
        )
    bar = math.log(2 / (1 - check_level(level)))
    scaled, spread = total / bound, squares / bound**2
    low = bound * _lower_average(scaled, spread, n, bar)
    high = -bound * _lower_average(-scaled, spread, n, bar)
    return Estimate(total / n, low, high, level, n, None, "weighted sequence")


def weighted_effect(value: float, *, centre: float, sign: int, propensity: float) -> float:
    """Return a number whose expectation is the effect of one arm over another.

    Horvitz and Thompson's (1952) weighting with a guess subtracted: ``sign (value - centre) /
    propensity``. As both arms are treated alike, the guess changes the spread and not the
    expectation, whatever it is, if it was made before the value came.

    Parameters
    ----------
    value : float
        In [0, 1].
    centre : float
        What was to be expected of either arm.
    sign : int
        1 if the arm got the prompt whose effect it is, -1 for the one it is compared with.
    propensity : float
        The probability with which that one got the prompt.
    """
    return sign * (value - centre) / propensity


def _counted(values: ArrayLike, counts: ArrayLike | None) -> tuple[Floats, Floats]:
    kept = probability_values(values)
    if counts is None:
        kept, number = np.unique(kept, return_counts=True)
        return kept, number.astype(float)
    often = finite_values(counts, "counts")
    require_same_length(values=kept, counts=often)
    if (often < 0).any() or often.sum() < 1:
        raise InvalidValues("counts has no value that came", "Give how often each value came")
    return kept, often


def _log_capital(values: Floats, counts: Floats, means: Floats) -> Floats:
    """Return the log-capital of bets that the mean is above each of the given ones.

    A share f is bet at the odds of a value x to a mean m: it becomes ``1 + f (x / m - 1)``. For
    each x that falls as m grows, so that the capital does.
    """
    sums = np.zeros((means.size, _FRACTIONS.size))
    odds = 1 / np.maximum(means, _SMALLEST)
    some = max(1, _AT_ONCE // sums.size)
    for start in range(0, values.size, some):
        part, often = values[start : start + some], counts[start : start + some]
        gains = np.multiply.outer(odds, part) - 1
        sums += np.log1p(_FRACTIONS[None, :, None] * gains[:, None, :]) @ often
    return np.asarray(np.logaddexp.reduce(sums, axis=1) - math.log(_FRACTIONS.size))


def _lower_limit(values: Floats, counts: Floats, bar: float) -> float:
    """Return the largest mean below which every mean has made a fortune."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        if _log_capital(values, counts, np.array([middle]))[0] >= bar:
            low = middle
        else:
            high = middle
    return low


def _lower_difference(
    first: Floats, ones: Floats, second: Floats, twos: Floats, bar: float
) -> float:
    """Return the largest difference of whole cells below which every one has made a fortune.

    The capitals are taken at the ends of a cell where they are least, so that the grid widens the
    interval by up to two cells and never narrows it.
    """
    grid = np.linspace(0.0, 1.0, _CELLS + 1)
    above = _log_capital(first, ones, grid)
    below = _log_capital(1 - second, twos, 1 - grid)

    def fortune(shift: int) -> bool:
        start, end = max(0, -shift - 1), min(_CELLS, _CELLS - shift - 1)
        places = np.arange(start, end + 1)
        upper = np.minimum(places + shift + 1, _CELLS)
        return bool((above[upper] + below[places]).min() >= bar)

    low, high = -_CELLS - 1, _CELLS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fortune(middle) else (low, middle)
    return max(low, -_CELLS) / _CELLS


def _lower_average(total: float, spread: float, n: int, bar: float) -> float:
    """Return the largest average below which every one has made a fortune; numbers in [-1, 1]."""
    cost = (-np.log1p(-_RATES) - _RATES) * spread
    low, high = -1.0, 1.0
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        logs = _RATES * (total - n * middle) - cost
        if np.logaddexp.reduce(logs) - math.log(_RATES.size) >= bar:
            low = middle
        else:
            high = middle
    return low
