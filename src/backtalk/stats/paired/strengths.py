"""Maximum-likelihood strengths of items from paired comparisons, with their covariance."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtalk.stats.estimate import InvalidValues
from backtalk.stats.paired.davidson import Derivatives, derivatives
from backtalk.stats.validation import Floats, Ints


class Comparisons(NamedTuple):
    """Paired comparisons of items, as columns over ``n`` rows."""

    first: Ints
    """Index of the first item, shape ``(n,)``."""
    second: Ints
    """Index of the second item, shape ``(n,)``."""
    outcomes: Floats
    """Share of the first item, of the second and of a tie, shape ``(n, 3)``; rows sum to 1."""
    counts: Floats
    """Number of times that each row occurred, shape ``(n,)``."""
    items: int
    """Number of items."""
    separate_ties: bool
    """If true, a tie is an outcome of its own; otherwise half a win for either item."""


def _derivatives(data: Comparisons, parameters: Floats) -> Derivatives:
    margin = parameters[data.first] - parameters[data.second]
    return derivatives(margin, data.outcomes, parameters[-1] if data.separate_ties else -np.inf)


def fit_strengths(data: Comparisons, ridge: float) -> tuple[Floats, Floats]:
    """Return the maximum-likelihood parameters and the inverse of the curvature there.

    Parameters are the strengths, of mean 0, then ``log(nu)`` where ties are separate: shape
    ``(items,)`` or ``(items + 1,)``. Newton's method, with penalty ``ridge / 2 * sum strength²``.

    Raises
    ------
    InvalidValues
        If Newton's method does not converge. It does if the strengths are identified.
    """
    size = data.items + data.separate_ties
    strengths = np.zeros(size)
    strengths[: data.items] = 1.0
    pinned = np.outer(strengths, strengths) / data.items + ridge * np.diag(strengths)
    parameters: Floats = np.zeros(size)
    for _ in range(200):
        slopes = _derivatives(data, parameters)
        score = _sum_by_item(data, slopes.margin * data.counts, slopes.log_nu * data.counts)
        inverse = np.asarray(np.linalg.inv(_curvature(data, slopes) + pinned), dtype=float)
        step = inverse @ (score - ridge * strengths * parameters)
        longest = float(np.abs(step).max())
        parameters = parameters + step * min(1.0, 2.0 / max(longest, 1e-300))
        if longest < 1e-10 * (1.0 + float(np.abs(parameters).max())):
            return parameters, inverse
    raise InvalidValues(
        "The strengths did not converge in 200 steps", "Pass a larger ridge=, or ties='half'"
    )


def _sum_by_item(data: Comparisons, by_margin: Floats, by_log_nu: Floats) -> Floats:
    score = np.asarray(np.bincount(data.first, by_margin, data.items), dtype=float)
    score -= np.bincount(data.second, by_margin, data.items)
    return np.append(score, by_log_nu.sum()) if data.separate_ties else score


def _curvature(data: Comparisons, slopes: Derivatives) -> Floats:
    size = data.items + data.separate_ties
    matrix = np.zeros((size, size))
    cells = data.first * data.items + data.second
    weights = np.bincount(cells, slopes.margin_curvature * data.counts, data.items**2)
    pairs = weights.reshape(data.items, data.items)
    pairs = pairs + pairs.T
    matrix[: data.items, : data.items] = np.diag(pairs.sum(1)) - pairs
    if data.separate_ties:
        cross = _sum_by_item(data, slopes.cross_curvature * data.counts, np.zeros(1))
        matrix[-1, :] += cross
        matrix[:, -1] += cross
        matrix[-1, -1] = float((slopes.log_nu_curvature * data.counts).sum())
    return matrix


def sandwich_covariance(
    data: Comparisons, parameters: Floats, inverse: Floats, groups: tuple[Ints, int] | None
) -> Floats:
    """Return the sandwich covariance of the parameters, which does not assume the model's spread.

    The inverse curvature, the spread of the scores of independent rows or groups of rows, and
    the inverse again, times n / (n - parameters) or groups / (groups - 1).

    Parameters
    ----------
    data : Comparisons
        Comparisons that were fitted.
    parameters : Floats
        Fitted parameters, shape ``(p,)``; see :func:`fit_strengths`.
    inverse : Floats
        Inverse curvature at the parameters, shape ``(p, p)``.
    groups : tuple[Ints, int] or None
        Group number of each row, shape ``(n,)``, and the number of groups. None if rows are
        independent.

    Returns
    -------
    Floats
        Shape ``(p, p)``.
    """
    slopes = _derivatives(data, parameters)
    size = data.items + data.separate_ties
    if groups is None:
        rows = np.arange(len(data.counts), dtype=np.intp)
        independent, factor = float(data.counts.sum()), np.sqrt(data.counts)
    else:
        rows, count = groups
        independent, factor = float(count), data.counts
    groups_count = int(rows.max()) + 1
    weight, cells = slopes.margin * factor, groups_count * size
    scores = np.asarray(np.bincount(rows * size + data.first, weight, cells), dtype=float)
    scores -= np.bincount(rows * size + data.second, weight, cells)
    scores = scores.reshape(groups_count, size)
    if data.separate_ties:
        scores[:, -1] += np.bincount(rows, slopes.log_nu * factor, groups_count)
    free = size - 1 if groups is None else 1
    correction = independent / max(independent - free, 1.0)
    return np.asarray(correction * inverse @ (scores.T @ scores) @ inverse)
