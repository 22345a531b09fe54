"""How far labels from two or more sources agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.agreement_coefficient import Agreement, jackknife_blocks, make_agreement
from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats, Ints, require_same_length

Weights = Literal["linear", "quadratic"]
Metric = Literal["nominal", "ordinal", "interval"]


def accuracy(
    predicted: ArrayLike,
    actual: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Estimate:
    """Estimate how often two sequences of labels are equal.

    Parameters
    ----------
    predicted, actual : ArrayLike
        Shape (n,), labels of one type.
    clusters : ArrayLike, optional
        One label per item, or None.
    """
    one, other = _pair(predicted, actual)
    return mean_interval((one == other).astype(float), clusters, level=level)


def cohen_kappa(
    first: ArrayLike,
    second: ArrayLike,
    *,
    weights: Weights | None = None,
    categories: Sequence[Any] | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Agreement:
    """Estimate the agreement of two raters beyond chance (Cohen 1960, 1968).

    Parameters
    ----------
    first, second : ArrayLike
        Shape (n,): the label that each rater gave each item.
    weights : Weights, optional
        None counts every disagreement as one; ``linear`` and ``quadratic`` count it by the
        distance of the labels in the order of the categories, or its square.
    categories : sequence of Any, optional
        All labels in their order; sorted, if not given.
    clusters : ArrayLike, optional
        One label per item, or None.
    level : float, default 0.95
        Nominal coverage of the interval, see
        :func:`backtalk.stats.agreement_coefficient.beyond_chance`.

    Raises
    ------
    NotIdentified
        If all labels are the same.
    """
    one, other = _pair(first, second)
    codes, count = _codes(np.concatenate([one, other]), categories)
    rows, columns = codes[: len(one)], codes[len(one) :]
    blocks, number, named = jackknife_blocks(clusters, len(one))
    tables = np.zeros((number, count, count))
    np.add.at(tables, (blocks, rows, columns), 1.0)
    total = tables.sum(0)
    distances = _distances(count, weights)
    observed, expected = _table_disagreement(total[None], distances)
    return make_agreement(
        (float(observed[0]), float(expected[0])),
        _table_disagreement(total - tables, distances),
        frequencies=np.bincount(codes, minlength=count),
        items=len(one),
        clusters=named,
        level=level,
    )


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]] | NDArray[Any],
    *,
    metric: Metric = "nominal",
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Agreement:
    """Estimate the agreement of any number of raters beyond chance (Krippendorff 2004, ch. 11).

    Parameters
    ----------
    ratings : Sequence[Sequence[Any]] | NDArray[Any]
        Shape (raters, items); None or NaN where a rater passed. Numbers for the ordinal and
        interval metrics, anything that sorts for the nominal one.
    metric : Metric, default "nominal"
        How far apart two labels are: fully unless equal, by the labels ranked between them,
        or by their difference; the latter two squared.
    clusters : ArrayLike, optional
        One label per item, or None.
    level : float, default 0.95
        Nominal coverage of the interval, see
        :func:`backtalk.stats.agreement_coefficient.beyond_chance`.

    Raises
    ------
    InvalidValues
        If no item was rated twice, or the metric is unknown.
    NotIdentified
        If all labels are the same.
    """
    counts, values = _rating_counts(ratings, metric)
    blocks, _, named = jackknife_blocks(clusters, len(counts))
    paired = counts.sum(1) >= 2
    if not paired.any():
        raise InvalidValues("No item was rated twice", "Have two raters rate some items")
    counts, blocks = counts[paired], blocks[paired]
    greatest = _greatest(counts, values, metric)
    observed, expected = _rating_disagreement(counts, values, metric)
    without = _without_each(counts, blocks, values, metric)
    return make_agreement(
        (observed / greatest, expected / greatest),
        (without[0] / greatest, without[1] / greatest),
        frequencies=counts.sum(0),
        items=len(counts),
        clusters=named and int(np.unique(np.asarray(clusters)[paired]).size),
        level=level,
    )


def _pair(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    one, other = np.asarray(first), np.asarray(second)
    if one.ndim != 1 or one.size == 0:
        raise InvalidValues(f"The labels have shape {one.shape}", "Give one label per item")
    require_same_length(first=one, second=other)
    return one, other


def _codes(labels: NDArray[Any], categories: Sequence[Any] | None) -> tuple[Ints, int]:
    result, codes = np.unique(labels, return_inverse=True)
    if categories is None:
        return codes.astype(np.intp), len(result)
    place = {category: number for number, category in enumerate(categories)}
    unknown = [label for label in result.tolist() if label not in place]
    if unknown:
        raise InvalidValues(f"{unknown[0]!r} is not among the categories", "Name all labels")
    order = np.array([place[label] for label in result.tolist()], dtype=np.intp)
    return order[codes], len(categories)


def _distances(count: int, weights: Weights | None) -> Floats:
    if weights not in (None, "linear", "quadratic"):
        raise InvalidValues(f"There are no weights {weights!r}", "Known: linear, quadratic")
    steps = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) / max(count - 1, 1)
    if weights is None:
        return (steps > 0).astype(float)
    return np.asarray(steps if weights == "linear" else steps**2)


def _table_disagreement(tables: Floats, distances: Floats) -> tuple[Floats, Floats]:
    """Observed and expected disagreement of each of (tables, labels, labels) counts."""
    sizes = np.maximum(tables.sum((1, 2)), 1.0)
    observed = (tables * distances).sum((1, 2)) / sizes
    rows, columns = tables.sum(2), tables.sum(1)
    expected = np.einsum("ti,ij,tj->t", rows, distances, columns) / sizes**2
    return observed, expected


def _rating_counts(
    ratings: Sequence[Sequence[Any]] | NDArray[Any], metric: Metric
) -> tuple[Floats, Floats]:
    """How often each item got each label, (items, labels), and the labels as numbers."""
    if metric not in ("nominal", "ordinal", "interval"):
        raise InvalidValues(f"There is no metric {metric!r}", "Known: nominal, ordinal, interval")
    table = np.asarray(ratings, dtype=object)
    if table.ndim != 2:
        raise InvalidValues(f"ratings has shape {table.shape}", "Give (raters, items)")
    given = np.array([[x is not None and x == x for x in row] for row in table])  # noqa: PLR0124
    rated = table[given].tolist()
    labels = np.asarray(rated if metric == "nominal" else [float(x) for x in rated])
    result, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((table.shape[1], len(result)))
    np.add.at(counts, (np.nonzero(given)[1], codes), 1.0)
    values = np.zeros(len(result)) if metric == "nominal" else result.astype(float)
    return counts, values


def _rating_disagreement(counts: Floats, values: Floats, metric: Metric) -> tuple[float, float]:
    """Observed and expected disagreement, in the units of the metric, of items rated twice."""
    marginals = counts.sum(0)
    values = _ranked(marginals, values, metric)
    observed = _within_items(counts, values, metric).sum() / marginals.sum()
    return float(observed), float(_by_chance(marginals[None], values, metric)[0])


def _without_each(
    counts: Floats, blocks: Ints, values: Floats, metric: Metric
) -> tuple[Floats, Floats]:
    """The same with each block of items left out; none if there is but one."""
    present, members = np.unique(blocks, return_inverse=True)
    if len(present) < 2:
        return np.zeros(1), np.zeros(1)
    if metric == "ordinal":
        parts = [_rating_disagreement(counts[blocks != b], values, metric) for b in present]
        return np.array([part[0] for part in parts]), np.array([part[1] for part in parts])
    within = _within_items(counts, values, metric)
    own = np.zeros((len(present), counts.shape[1]))
    np.add.at(own, members, counts)
    left = counts.sum(0) - own
    observed = (within.sum() - np.bincount(members, within)) / left.sum(1)
    return observed, _by_chance(left, values, metric)


def _greatest(counts: Floats, values: Floats, metric: Metric) -> float:
    """The distance of the two labels that are furthest apart; 1 where there is but one."""
    marginals = counts.sum(0)
    used = _ranked(marginals, values, metric)[marginals > 0]
    return 1.0 if metric == "nominal" else float(np.ptp(used)) ** 2 or 1.0


def _ranked(marginals: Floats, values: Floats, metric: Metric) -> Floats:
    return np.asarray(np.cumsum(marginals) - marginals / 2) if metric == "ordinal" else values


def _within_items(counts: Floats, values: Floats, metric: Metric) -> Floats:
    return np.asarray(_pair_distances(counts, values, metric) / (counts.sum(1) - 1.0))


def _by_chance(marginals: Floats, values: Floats, metric: Metric) -> Floats:
    given = marginals.sum(1)
    return np.asarray(_pair_distances(marginals, values, metric) / (given * (given - 1.0)))


def _pair_distances(counts: Floats, values: Floats, metric: Metric) -> Floats:
    """Sum of the distances of all ordered pairs of labels in each row of counts."""
    sizes = counts.sum(1)
    if metric == "nominal":
        return np.asarray(sizes**2 - (counts**2).sum(1))
    pairs = 2.0 * (sizes * (counts @ values**2) - (counts @ values) ** 2)
    return np.asarray(np.maximum(pairs, 0.0))
