"""Agreement between labels from two or more raters: accuracy, kappa and alpha."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.agreement_coefficient import Agreement, jackknife_blocks, make_agreement
from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.labels import (
    as_array,
    as_numbers,
    encode_present,
    encode_together,
    in_order,
    known_labels,
)
from backtalk.stats.validation import Floats, Ints, group_numbers

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
        Labels of each item, shape (n,), of one type: 1 and "1" are refused side by side.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    InvalidValues
        If there are no labels, one is missing (see :mod:`backtalk.stats.labels`), they are of
        different types, or the lengths differ.
    """
    (a, b), _ = encode_together(predicted=predicted, actual=actual)
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
        Label of each item by each rater, shape (n,), of one type.
    weights : Weights, optional
        ``linear`` and ``quadratic`` weigh a disagreement by the distance of the labels in the
        order of the categories, or its square. Default: every disagreement weighs the same.
    categories : sequence of Any, optional
        All labels in their order, the lowest first. Default: the labels that occur, in the order
        of numbers, also of numbers that are written as text.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage of the interval; see
        :func:`backtalk.stats.agreement_coefficient.make_agreement`.

    Raises
    ------
    InvalidValues
        If a label is missing (see :mod:`backtalk.stats.labels`) or not among the categories, or
        there are weights and the order of more than two labels is unknown.
    NotIdentified
        If all labels are the same.
    """
    (rows, columns), labels = encode_together(first=first, second=second)
    if weights is not None:
        listed = in_order(labels, categories, f"cohen_kappa with {weights} weights")
    else:
        listed = labels if categories is None else known_labels(labels, categories)
    count, codes = len(listed), _places(labels, listed)
    rows, columns = codes[rows], codes[columns]
    blocks, block_count, cluster_count = jackknife_blocks(clusters, len(rows))
    tables = np.zeros((block_count, count, count))
    np.add.at(tables, (blocks, rows, columns), 1.0)
    total = tables.sum(0)
    distances = _distances(count, weights)
    observed, expected = _table_disagreement(total[None], distances)
    return make_agreement(
        (float(observed[0]), float(expected[0])),
        _table_disagreement(total - tables, distances),
        frequencies=np.bincount(np.concatenate([rows, columns]), minlength=count),
        items=len(rows),
        clusters=cluster_count,
        level=level,
    )


def krippendorff_alpha(
    ratings: Sequence[Sequence[Any]] | NDArray[Any],
    *,
    metric: Metric = "nominal",
    categories: Sequence[Any] | None = None,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Agreement:
    """Estimate the agreement of any number of raters beyond chance (Krippendorff 2004, ch. 11).

    Parameters
    ----------
    ratings : Sequence[Sequence[Any]] | NDArray[Any]
        Shape (raters, items), labels of one type. Missing ratings (see
        :mod:`backtalk.stats.labels`) are left out and counted in the result. The interval metric
        needs numbers, the ordinal one numbers or ``categories``; numbers may be written as text.
    metric : Metric, default "nominal"
        Distance of two labels: 1 unless equal (nominal), the squared number of ratings ranked
        between them (ordinal), or their squared difference (interval).
    categories : sequence of Any, optional
        All labels in their order, the lowest first, for the ordinal metric. Default: the order of
        numbers.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage of the interval; see
        :func:`backtalk.stats.agreement_coefficient.make_agreement`.

    Raises
    ------
    InvalidValues
        If no item has two ratings, the metric is unknown, or it needs an order or numbers that the
        labels do not have.
    NotIdentified
        If all labels are the same.
    """
    counts, values, missing = _rating_counts(ratings, metric, categories)
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
        clusters=cluster_count and _count_used(clusters, paired),
        level=level,
        missing=missing,
    )


def _count_used(clusters: Any, used: NDArray[np.bool_]) -> int:
    return int(np.unique(group_numbers(clusters, len(used))[0][used]).size)


def _places(labels: Sequence[Any], listed: Sequence[Any]) -> Ints:
    """Return the place of each label in a list of all labels."""
    index = {label: place for place, label in enumerate(listed)}
    return np.array([index[label] for label in labels], dtype=np.intp)


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
    ratings: Any, metric: Metric, categories: Sequence[Any] | None
) -> tuple[Floats, Floats, int]:
    """Return the counts of each label on each item, the labels' values, and the missing ratings.

    Counts have shape (items, labels), values (labels,).
    """
    if metric not in ("nominal", "ordinal", "interval"):
        raise InvalidValues(f"There is no metric {metric!r}", "Known: nominal, ordinal, interval")
    table = _rating_table(ratings)
    codes, labels = encode_present(table, "ratings")
    listed = _listed_labels(labels, metric, categories)
    raters, items = np.nonzero(codes >= 0)
    counts = np.zeros((table.shape[1], len(listed)))
    np.add.at(counts, (items, _places(labels, listed)[codes[raters, items]]), 1.0)
    values = np.asarray(as_numbers(listed) if metric == "interval" else np.arange(len(listed)))
    return counts, values.astype(float), table.size - len(items)


def _rating_table(ratings: Any) -> NDArray[Any]:
    if isinstance(ratings, np.ndarray):
        table = as_array(ratings)
    elif isinstance(ratings, (list, tuple)):
        rows = [as_array(row) for row in ratings]
        shapes = {row.shape for row in rows}
        if len(shapes) > 1:
            raise InvalidValues("ratings has rows of different lengths", "Give (raters, items)")
        table = np.array([row.astype(object) for row in rows], dtype=object)
    else:
        table = as_array(ratings)
    if table.ndim != 2:
        raise InvalidValues(f"ratings has shape {table.shape}", "Give (raters, items)")
    return table


def _listed_labels(
    labels: list[Any], metric: Metric, categories: Sequence[Any] | None
) -> list[Any]:
    """Return all labels, in their order if the metric depends on it."""
    if metric == "ordinal":
        return in_order(labels, categories, "krippendorff_alpha with the ordinal metric")
    if metric == "interval":
        if categories is not None:
            raise InvalidValues(
                "The interval metric measures differences of numbers, which categories have not",
                "Use metric='ordinal' with categories=, or give numbers without categories",
            )
        if as_numbers(labels) is None:
            example = next(label for label in labels if as_numbers([label]) is None)
            raise InvalidValues(
                f"The interval metric needs numbers, and {example!r} is not one",
                "Give numbers, or use metric='ordinal' with categories=",
            )
        return labels
    return labels if categories is None else known_labels(labels, categories)


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
