"""Agreement between labels from two or more raters: accuracy, kappa and alpha."""

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
    """Estimate the share of items on which two sequences of labels are equal.

    Parameters
    ----------
    predicted, actual : ArrayLike
        Labels of each item, shape (n,), of one type.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    InvalidValues
        If there are no labels, or the lengths differ.
    """
    a, b = _label_arrays(predicted, actual)
    return mean_interval((a == b).astype(float), clusters, level=level)


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
        Label of each item by each rater, shape (n,).
    weights : Weights, optional
        ``linear`` and ``quadratic`` weigh a disagreement by the distance of the labels in the
        order of the categories, or its square. Default: every disagreement weighs the same.
    categories : sequence of Any, optional
        All labels in their order. Default: the labels that occur, sorted.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage of the interval; see
        :func:`backtalk.stats.agreement_coefficient.make_agreement`.

    Raises
    ------
    NotIdentified
        If all labels are the same.
    """
    a, b = _label_arrays(first, second)
    codes, count = _codes(np.concatenate([a, b]), categories)
    rows, columns = codes[: len(a)], codes[len(a) :]
    blocks, block_count, cluster_count = jackknife_blocks(clusters, len(a))
    tables = np.zeros((block_count, count, count))
    np.add.at(tables, (blocks, rows, columns), 1.0)
    total = tables.sum(0)
    distances = _distances(count, weights)
    observed, expected = _table_disagreement(total[None], distances)
    return make_agreement(
        (float(observed[0]), float(expected[0])),
        _table_disagreement(total - tables, distances),
        frequencies=np.bincount(codes, minlength=count),
        items=len(a),
        clusters=cluster_count,
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
        Shape (raters, items), None or NaN for a missing rating. Numbers for the ordinal and
        interval metrics, any sortable labels for the nominal one.
    metric : Metric, default "nominal"
        Distance of two labels: 1 unless equal (nominal), the squared number of ratings ranked
        between them (ordinal), or their squared difference (interval).
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage of the interval; see
        :func:`backtalk.stats.agreement_coefficient.make_agreement`.

    Raises
    ------
    InvalidValues
        If no item has two ratings, or the metric is unknown.
    NotIdentified
        If all labels are the same.
    """
    counts, values = _rating_counts(ratings, metric)
    blocks, _, cluster_count = jackknife_blocks(clusters, len(counts))
    paired = counts.sum(1) >= 2
    if not paired.any():
        raise InvalidValues("No item was rated twice", "Collect a second rating for some items")
    counts, blocks = counts[paired], blocks[paired]
    max_distance = _max_distance(counts, values, metric)
    observed, expected = _rating_disagreement(counts, values, metric)
    without = _without_each(counts, blocks, values, metric)
    return make_agreement(
        (observed / max_distance, expected / max_distance),
        (without[0] / max_distance, without[1] / max_distance),
        frequencies=counts.sum(0),
        items=len(counts),
        clusters=cluster_count and int(np.unique(np.asarray(clusters)[paired]).size),
        level=level,
    )


def _label_arrays(first: ArrayLike, second: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    a, b = np.asarray(first), np.asarray(second)
    if a.ndim != 1 or a.size == 0:
        raise InvalidValues(f"The labels have shape {a.shape}", "Give one label per item")
    require_same_length(first=a, second=b)
    return a, b


def _codes(labels: NDArray[Any], categories: Sequence[Any] | None) -> tuple[Ints, int]:
    present, codes = np.unique(labels, return_inverse=True)
    if categories is None:
        return codes.astype(np.intp), len(present)
    index = {category: number for number, category in enumerate(categories)}
    unknown = [label for label in present.tolist() if label not in index]
    if unknown:
        raise InvalidValues(f"{unknown[0]!r} is not among the categories", "Name all labels")
    order = np.array([index[label] for label in present.tolist()], dtype=np.intp)
    return order[codes], len(categories)


def _distances(count: int, weights: Weights | None) -> Floats:
    if weights not in (None, "linear", "quadratic"):
        raise InvalidValues(f"There are no weights {weights!r}", "Known: linear, quadratic")
    steps = np.abs(np.subtract.outer(np.arange(count), np.arange(count))) / max(count - 1, 1)
    if weights is None:
        return (steps > 0).astype(float)
    return np.asarray(steps if weights == "linear" else steps**2)


def _table_disagreement(tables: Floats, distances: Floats) -> tuple[Floats, Floats]:
    """Return the observed and expected disagreement of counts of shape (tables, labels, labels)."""
    sizes = np.maximum(tables.sum((1, 2)), 1.0)
    observed = (tables * distances).sum((1, 2)) / sizes
    rows, columns = tables.sum(2), tables.sum(1)
    expected = np.einsum("ti,ij,tj->t", rows, distances, columns) / sizes**2
    return observed, expected


def _rating_counts(
    ratings: Sequence[Sequence[Any]] | NDArray[Any], metric: Metric
) -> tuple[Floats, Floats]:
    """Return the count of each label on each item, (items, labels), and the labels as numbers."""
    if metric not in ("nominal", "ordinal", "interval"):
        raise InvalidValues(f"There is no metric {metric!r}", "Known: nominal, ordinal, interval")
    is_float = isinstance(ratings, np.ndarray) and ratings.dtype == np.float64
    table = np.asarray(ratings, dtype=None if is_float else object)
    if table.ndim != 2:
        raise InvalidValues(f"ratings has shape {table.shape}", "Give (raters, items)")
    if is_float:
        present = ~np.isnan(table)
        labels = table[present]
    else:
        present = np.array([[x is not None and x == x for x in row] for row in table])  # noqa: PLR0124
        rated = table[present].tolist()
        labels = np.asarray(rated if metric == "nominal" else [float(x) for x in rated])
    distinct, codes = np.unique(labels, return_inverse=True)
    counts = np.zeros((table.shape[1], len(distinct)))
    np.add.at(counts, (np.nonzero(present)[1], codes), 1.0)
    values = np.zeros(len(distinct)) if metric == "nominal" else distinct.astype(float)
    return counts, values


def _rating_disagreement(counts: Floats, values: Floats, metric: Metric) -> tuple[float, float]:
    """Return the observed and expected disagreement of items rated twice, in metric units."""
    marginals = counts.sum(0)
    values = _ranks(marginals, values, metric)
    observed = _within_items(counts, values, metric).sum() / marginals.sum()
    return float(observed), float(_expected(marginals[None], values, metric)[0])


def _without_each(
    counts: Floats, blocks: Ints, values: Floats, metric: Metric
) -> tuple[Floats, Floats]:
    """Return the disagreements with each block of items left out; zeros if there is one block."""
    present, members = np.unique(blocks, return_inverse=True)
    if len(present) < 2:
        return np.zeros(1), np.zeros(1)
    if metric == "ordinal":
        return _ordinal_without_each(counts, members, len(present))
    distances = _within_items(counts, values, metric)
    block_counts = np.zeros((len(present), counts.shape[1]))
    np.add.at(block_counts, members, counts)
    rest = counts.sum(0) - block_counts
    observed = (distances.sum() - np.bincount(members, distances)) / rest.sum(1)
    return observed, _expected(rest, values, metric)


def _ordinal_without_each(counts: Floats, members: Ints, blocks: int) -> tuple[Floats, Floats]:
    """Return the ordinal disagreements with each block left out.

    The ranks of the labels depend on the block. The summed distance within items is a quadratic
    form of the ranks, whose coefficients are sums over items.
    """
    sizes = counts.sum(1)
    weighted = counts / (sizes - 1.0)[:, None]
    labels = counts.shape[1]
    block_counts, linear = np.zeros((2, blocks, labels))
    quadratic = np.zeros((blocks, labels, labels))
    np.add.at(block_counts, members, counts)
    np.add.at(linear, members, weighted * sizes[:, None])
    np.add.at(quadratic, members, weighted[:, :, None] * counts[:, None, :])
    marginals = counts.sum(0) - block_counts
    ranks = np.cumsum(marginals, axis=1) - marginals / 2
    squares = np.einsum("bl,bl->b", linear.sum(0) - linear, ranks**2)
    products = np.einsum("bl,blm,bm->b", ranks, quadratic.sum(0) - quadratic, ranks)
    total = marginals.sum(1)
    observed = 2.0 * np.maximum(squares - products, 0.0) / total
    pairs = total * (marginals * ranks**2).sum(1) - (marginals * ranks).sum(1) ** 2
    return observed, 2.0 * np.maximum(pairs, 0.0) / (total * (total - 1.0))


def _max_distance(counts: Floats, values: Floats, metric: Metric) -> float:
    """Return the distance of the two labels that are furthest apart; 1 if there is one label."""
    marginals = counts.sum(0)
    used = _ranks(marginals, values, metric)[marginals > 0]
    return 1.0 if metric == "nominal" else float(np.ptp(used)) ** 2 or 1.0


def _ranks(marginals: Floats, values: Floats, metric: Metric) -> Floats:
    return np.asarray(np.cumsum(marginals) - marginals / 2) if metric == "ordinal" else values


def _within_items(counts: Floats, values: Floats, metric: Metric) -> Floats:
    return np.asarray(_pair_distances(counts, values, metric) / (counts.sum(1) - 1.0))


def _expected(marginals: Floats, values: Floats, metric: Metric) -> Floats:
    total = marginals.sum(1)
    return np.asarray(_pair_distances(marginals, values, metric) / (total * (total - 1.0)))


def _pair_distances(counts: Floats, values: Floats, metric: Metric) -> Floats:
    """Return the summed distance of all ordered pairs of labels in each row of counts."""
    sizes = counts.sum(1)
    if metric == "nominal":
        return np.asarray(sizes**2 - (counts**2).sum(1))
    pairs = 2.0 * (sizes * (counts @ values**2) - (counts @ values) ** 2)
    return np.asarray(np.maximum(pairs, 0.0))
