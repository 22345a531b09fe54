"""Intervals for weighted rewards on a bounded scale, by betting.

The large-sample interval of an importance-weighted mean trusts the variance of the sample. If
rewards are rare or weights large, a few rows hold that variance, and a sample without them looks
certain. A bet against each mean needs no variance.
"""

from __future__ import annotations

import math

import numpy as np

from backtalk.stats.validation import Floats

MIN_ROWS = 25.0
"""Least number of rows that the variance of the terms rests on, for a large-sample interval."""
MIN_REWARDS = 15.0
"""Least effective number of rewards, and of shortfalls from the largest reward."""

_FRACTIONS = 0.95 * 0.5 ** np.arange(8)
"""Fractions of the largest safe bet. The capital is spread evenly over them."""
_BISECTIONS = 30


def rows_of_variance(terms: Floats) -> float:
    """Return the number of equal deviations with the same fourth moment: ``n / kurtosis``.

    The relative error of a sample variance is about the root of its inverse. It is 0 if the terms
    are equal.
    """
    squares = (terms - terms.mean()) ** 2
    fourth = float((squares**2).sum())
    return float(squares.sum()) ** 2 / fourth if fourth > 0 else 0.0


def effective_number(values: Floats) -> float:
    """Return ``(sum x)² / sum x²`` of numbers of at least 0: how many equal ones weigh as much."""
    squares = float((values**2).sum())
    return float(values.sum()) ** 2 / squares if squares > 0 else 0.0


def betting_limit(sums: Floats, sizes: Floats, shortfall: float, level: float) -> float:
    """Return a lower limit of ``E[sums] / E[sizes]`` on a scale from 0 to 1.

    A gambler bets that the ratio is above m. A fraction f of their capital becomes
    ``1 + f (s - m b) / (m max(b) + shortfall)`` for a sum s and a size b, whose expectation is at
    most 1 if the ratio is at most m. Every m is rejected at which the capital exceeds
    ``2 / (1 - level)``, which happens with probability at most ``(1 - level) / 2`` (Markov).
    Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting";
    Karampatziakis, Mineiro and Ramdas (2021), "Off-policy confidence sequences".

    Parameters
    ----------
    sums, sizes : Floats
        Shape (n,); independent pairs. Sizes are at least 0.
    shortfall : float
        The largest amount by which a sum of the largest size could be below 0.
    level : float
        Nominal coverage of the two-sided interval.
    """
    threshold = math.log(2 / (1 - level)) + math.log(_FRACTIONS.size)
    largest = float(sizes.max())
    low, high = 0.0, 1.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        gains = (sums - middle * sizes) / (middle * largest + shortfall)
        capital = np.log1p(np.maximum(_FRACTIONS[:, None] * gains, -1 + 1e-12)).sum(1)
        if np.logaddexp.reduce(capital) >= threshold:
            low = middle
        else:
            high = middle
    return low
