"""Gaffke's distribution-free limits for the mean of bounded values."""

from __future__ import annotations

import numpy as np

from backtalk.stats.distributions import expit
from backtalk.stats.intervals.clusters import Totals
from backtalk.stats.validation import Floats

_STEP = 0.3
_GROUP = 32
"""Number of factors of a product before its logarithm is taken, which keeps it below 1e200."""
_GRID = np.arange(0.0, 13.0, _STEP)
_MAX_CELLS = 500_000
_SMALLEST = 1e-12
"""Mean below which a value counts as 0: the integral is scaled by its inverse, which would
overflow."""


def bounded_limits(data: Totals, level: float, *, mid: bool = True) -> tuple[Floats, Floats]:
    """Return limits for the mean of values in [0, 1].

    Gaffke (2005) bounds a mean by the quantile of a random average: the values and one more
    at the end of the scale, weighted by a flat Dirichlet sample. For zeros and ones that is
    Clopper and Pearson's limit. With ``mid`` the added value is at either end with equal
    probability, which for zeros and ones is the mid-P limit; the guarantee then holds on average
    only. The quantile is not simulated: the distribution function of a sum of weighted
    exponentials is inverted numerically along its saddle point (Daniels 1954).

    Parameters
    ----------
    data : Totals
        Totals of values in [0, 1], shape (..., clusters). The added value has the mean size.
    level : float
        Nominal coverage.
    mid : bool, default True
        If true, give up the guarantee for shorter limits.

    Returns
    -------
    low, high : Floats
        Shape (...).
    """
    shape = data.sums.shape[:-1]
    sums = data.sums.reshape(-1, data.sums.shape[-1])
    sizes = np.broadcast_to(data.sizes, data.sums.shape).reshape(sums.shape)
    rows = max(1, _MAX_CELLS // (sums.shape[1] * _GRID.size))
    parts = [
        _limits(sums[start : start + rows], sizes[start : start + rows], 0.5 - level / 2, mid)
        for start in range(0, len(sums), rows)
    ]
    low, high = (np.concatenate(ends).reshape(shape) for ends in zip(*parts, strict=True))
    return low, high


def _limits(sums: Floats, sizes: Floats, tail: float, mid: bool) -> tuple[Floats, Floats]:
    """Return both limits; the upper one is 1 minus the lower limit of 1 minus the values."""
    added = (0.0, 1.0) if mid else (0.0,)
    both = np.concatenate([sums, sizes - sums]), np.concatenate([sizes, sizes])
    low, mirrored = np.split(_quantile(*both, tail, added), 2)
    return low, 1.0 - mirrored


def _quantile(sums: Floats, sizes: Floats, tail: float, added: tuple[float, ...]) -> Floats:
    """Return the quantile of the random average, which for these tails lies below the mean."""
    sums = np.where(sums < _SMALLEST * sizes, 0.0, sums)
    low, high = np.zeros(len(sums)), sums.sum(1) / sizes.sum(1)
    for _ in range(20):
        middle = 0.5 * (low + high)
        above = _probability_below(sums, sizes, middle, added) > tail
        high = np.where(above, middle, high)
        low = np.where(above, low, middle)
    return np.where(low == 0.0, 0.0, 0.5 * (low + high))


def _probability_below(sums: Floats, sizes: Floats, x: Floats, added: tuple[float, ...]) -> Floats:
    """Return P(random average <= x), averaged over the positions of the added value."""
    terms = sums - x[:, None] * sizes
    typical = sizes.mean(1)
    columns = [np.column_stack([terms, typical * (end - x)]) for end in added]
    probabilities = _probability_positive(np.concatenate(columns)).reshape(len(added), -1)
    return 1.0 - np.asarray(probabilities.mean(0))


def _probability_positive(terms: Floats) -> Floats:
    """Return P(sum of terms times independent exponentials > 0) of each row.

    The moment generating function M(z) = prod 1 / (1 - term z), over 2 pi i z, is integrated
    along Re z = c, where c is the real saddle point of M(z) / z: there the integrand does not
    oscillate. The absolute error is below 1e-5.
    """
    largest = terms.max(1)
    probability = np.zeros(len(terms))
    positive = largest > 0
    terms, largest = terms[positive], largest[positive]
    low, high = np.full(len(terms), -30.0), np.full(len(terms), 30.0)
    for _ in range(16):
        middle = 0.5 * (low + high)
        saddle = expit(middle) / largest
        rising = (terms / (1.0 - terms * saddle[:, None])).sum(1) > 1.0 / saddle
        low, high = np.where(rising, low, middle), np.where(rising, middle, high)
    saddle = expit(0.5 * (low + high)) / largest
    left = 1.0 - terms * saddle[:, None]
    poles = np.column_stack([terms / left, -1.0 / saddle])
    scale = 1.0 / np.sqrt((poles**2).sum(1))
    log_size, angle = _log_product(scale[:, None] * np.sinh(_GRID), poles)
    size = log_size + np.log(left).sum(1)[:, None]
    heights = np.cos(angle) * np.cosh(_GRID) * np.exp(-size)
    area = _STEP * (heights.sum(1) - 0.5 * heights[:, 0])
    probability[positive] = scale / saddle * area / np.pi
    return probability


def _log_product(distance: Floats, poles: Floats) -> tuple[Floats, Floats]:
    """Return the log-modulus and the angle of ``prod(1 + i distance pole)`` over the poles.

    Shapes (rows, grid) and (rows, poles) to (rows, grid). The angle is correct up to a multiple of
    a full turn.
    """
    log_size, angle = np.zeros((2, *distance.shape))
    for start in range(0, poles.shape[1], _GROUP):
        real, imaginary = np.ones(distance.shape), np.zeros(distance.shape)
        for pole in poles[:, start : start + _GROUP].T:
            turn = distance * pole[:, None]
            real, imaginary = real - turn * imaginary, imaginary + turn * real
        log_size += np.log(np.hypot(real, imaginary))
        angle += np.arctan2(imaginary, real)
    return log_size, angle
