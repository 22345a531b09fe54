"""The likelihood of paired comparisons, with a chance of ties or without, and its maximum."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtalk.stats.estimate import InvalidValues
from backtalk.stats.validation import Floats, Ints


class Comparisons(NamedTuple):
    """Who met whom, with what result, how many times.

    ``first``, ``second``, ``results`` and ``counts`` have shape (n,); ``separate_ties`` says
    whether a result of 1/2 is an event of its own, rather than half a win for either.
    """

    first: Ints
    second: Ints
    results: Floats
    counts: Floats
    items: int
    separate_ties: bool


class _Slopes(NamedTuple):
    """Derivatives of each row's log-likelihood, in the difference and in log nu."""

    by_difference: Floats
    by_tie: Floats
    curve_difference: Floats
    curve_tie: Floats
    curve_both: Floats


def _slopes(data: Comparisons, parameters: Floats) -> _Slopes:
    half = 0.5 * (parameters[data.first] - parameters[data.second])
    log_tie = parameters[-1] if data.separate_ties else -np.inf
    logits = np.stack([half, -half, np.full_like(half, log_tie)])
    probabilities = np.exp(logits - logits.max(0))
    win, _, tie = probabilities / probabilities.sum(0)
    expected = win + tie / 2
    tied = (data.results == 0.5) if data.separate_ties else np.zeros(len(half), dtype=bool)
    return _Slopes(
        by_difference=data.results - expected,
        by_tie=tied - tie,
        curve_difference=win + tie / 4 - expected**2,
        curve_tie=tie * (1.0 - tie),
        curve_both=tie / 2 - expected * tie,
    )


def fit(data: Comparisons, ridge: float) -> tuple[Floats, Floats]:
    """Return the parameters that fit best, and the inverse of the curvature there.

    Parameters are the strengths, of mean 0, then log nu where ties are separate. By Newton's
    method, penalised by ``ridge / 2 * sum strength²``.

    Raises
    ------
    InvalidValues
        If they do not settle, which they do where they are identified.
    """
    size = data.items + data.separate_ties
    strengths = np.zeros(size)
    strengths[: data.items] = 1.0
    pinned = np.outer(strengths, strengths) / data.items + ridge * np.diag(strengths)
    parameters: Floats = np.zeros(size)
    for _ in range(200):
        slopes = _slopes(data, parameters)
        force = _scatter(data, slopes.by_difference * data.counts, slopes.by_tie * data.counts)
        inverse = np.asarray(np.linalg.inv(_curvature(data, slopes) + pinned), dtype=float)
        step = inverse @ (force - ridge * strengths * parameters)
        longest = float(np.abs(step).max())
        parameters = parameters + step * min(1.0, 2.0 / max(longest, 1e-300))
        if longest < 1e-10 * (1.0 + float(np.abs(parameters).max())):
            return parameters, inverse
    raise InvalidValues(
        "The strengths did not settle in 200 steps", "Pass a larger ridge=, or ties='half'"
    )


def _scatter(data: Comparisons, by_difference: Floats, by_tie: Floats) -> Floats:
    force = np.zeros(data.items)
    np.add.at(force, data.first, by_difference)
    np.add.at(force, data.second, -by_difference)
    return np.append(force, by_tie.sum()) if data.separate_ties else force


def _curvature(data: Comparisons, slopes: _Slopes) -> Floats:
    size = data.items + data.separate_ties
    matrix = np.zeros((size, size))
    weight = slopes.curve_difference * data.counts
    for rows, columns, sign in _corners(data):
        np.add.at(matrix, (rows, columns), sign * weight)
    if data.separate_ties:
        cross = _scatter(data, slopes.curve_both * data.counts, np.zeros(1))
        matrix[-1, :] += cross
        matrix[:, -1] += cross
        matrix[-1, -1] = float((slopes.curve_tie * data.counts).sum())
    return matrix


def _corners(data: Comparisons) -> list[tuple[Ints, Ints, float]]:
    one, other = data.first, data.second
    return [(one, one, 1.0), (other, other, 1.0), (one, other, -1.0), (other, one, -1.0)]


def sandwich(
    data: Comparisons, parameters: Floats, inverse: Floats, groups: tuple[Ints, int] | None
) -> Floats:
    """Return the covariance of the parameters that holds whatever the outcomes' spread.

    The inverse curvature, the spread of the scores of independent rows or groups of rows, and
    the inverse again, times n / (n - parameters) or groups / (groups - 1).
    """
    slopes = _slopes(data, parameters)
    size = data.items + data.separate_ties
    if groups is None:
        rows = np.arange(len(data.results), dtype=np.intp)
        independent, factor = float(data.counts.sum()), np.sqrt(data.counts)
    else:
        rows, count = groups
        independent, factor = float(count), data.counts
    scores = np.zeros((int(rows.max()) + 1, size))
    np.add.at(scores, (rows, data.first), slopes.by_difference * factor)
    np.add.at(scores, (rows, data.second), -slopes.by_difference * factor)
    if data.separate_ties:
        np.add.at(scores[:, -1], rows, slopes.by_tie * factor)
    free = size - 1 if groups is None else 1
    correction = independent / max(independent - free, 1.0)
    return np.asarray(correction * inverse @ (scores.T @ scores) @ inverse)
