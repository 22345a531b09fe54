"""Agreement coefficients with intervals, from observed and expected disagreement."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.distributions import t_quantile
from backtalk.stats.estimate import Estimate, NotIdentified
from backtalk.stats.intervals.binomial import exact_limits, score_equation_roots
from backtalk.stats.intervals.clusters import DOMINANT, Totals
from backtalk.stats.intervals.gaffke import bounded_limits
from backtalk.stats.validation import Floats, Ints, check_level, group_numbers

_MAX_BLOCKS = 1000


@dataclass(frozen=True)
class Agreement:
    """Agreement beyond chance: 1 - observed / expected disagreement.

    Attributes
    ----------
    estimate
        1 for perfect agreement, 0 for agreement by chance, negative for less than that.
    observed, expected
        Mean disagreement in the data, and under independent labels. The distance of two labels is
        0 if they are equal and 1 for the two that are furthest apart.
    categories
        Number of different labels in the data.
    rarest
        Count of the least frequent label. Below five the expected disagreement is poorly known,
        and the interval allows for it.
    missing
        Number of missing ratings that were left out: empty cells of a table of ratings.
    """

    estimate: Estimate
    observed: float
    expected: float
    categories: int
    rarest: int
    missing: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def jackknife_blocks(clusters: ArrayLike | None, items: int) -> tuple[Ints, int, int | None]:
    """Return the jackknife block of each item, the number of blocks and the number of clusters.

    The jackknife leaves out one block at a time. Blocks are the clusters, or the items if there
    are no clusters (``None`` is then the number of clusters). More than 1,000 of them are dealt
    round robin into 1,000 blocks, which keeps the cost linear.
    """
    if clusters is None:
        units, count, cluster_count = np.arange(items, dtype=np.intp), items, None
    else:
        units, count = group_numbers(clusters, items)
        cluster_count = count
    return units % _MAX_BLOCKS, min(count, _MAX_BLOCKS), cluster_count


def make_agreement(
    disagreement: tuple[float, float],
    without: tuple[Floats, Floats],
    *,
    frequencies: NDArray[Any],
    items: int,
    clusters: int | None,
    level: float,
    missing: int = 0,
) -> Agreement:
    """Return 1 - observed / expected disagreement with its interval.

    The variance of the ratio is jackknifed. The observed disagreement is a mean of values in
    [0, 1], so its limits solve the score equation as in
    :func:`backtalk.stats.intervals.means.score_limits`; they are then divided by the expected
    disagreement. The interval is therefore skewed near perfect agreement, and has a positive
    width there. As for a mean, it is widened if disagreement is graded and one item or cluster
    accounts for most of the variance.

    A label with fewer than five ratings can make the ratio look stable only because its few items
    enter both parts. The variance is then at least that of the observed part alone, and the
    interval covers more often than ``level``.

    Parameters
    ----------
    disagreement : tuple[float, float]
        Observed and expected disagreement of all items.
    without : tuple[Floats, Floats]
        The same with each block left out in turn, both of shape (blocks,).
    frequencies : NDArray[Any]
        Count of each label, shape (labels,).
    items : int
        Number of items.
    clusters : int or None
        Number of clusters, None if items are independent.
    level : float
        Nominal coverage.
    missing : int, default 0
        Number of ratings that were left out.

    Raises
    ------
    NotIdentified
        If all labels are the same, so that no disagreement is expected.
    """
    observed, expected = disagreement
    used = frequencies[frequencies > 0]
    if expected <= 0:
        raise NotIdentified(
            "All labels are the same, so agreement beyond chance is undefined",
            "Label items that differ, or report accuracy",
        )
    known = int(used.min()) >= 5
    low, high = _observed_limits(observed, expected, without, check_level(level), known=known)
    estimate = Estimate(
        value=1.0 - observed / expected,
        low=1.0 - high / expected,
        high=1.0 - low / expected,
        level=level,
        n=items,
        clusters=clusters,
        method="jackknife score",
    )
    return Agreement(estimate, observed, expected, len(used), int(used.min()), missing)


def _observed_limits(
    observed: float, expected: float, without: tuple[Floats, Floats], level: float, *, known: bool
) -> tuple[float, float]:
    blocks = len(without[0])
    spread = observed * (1.0 - observed)
    if spread <= 1e-12:
        return _exact_limits(round(observed) * blocks, blocks, level)
    ratios = np.full(blocks, observed / expected)
    np.divide(*without, out=ratios, where=without[1] > 0)
    deviations = _variance_terms(ratios) * expected**2
    if not known:
        deviations = max(deviations, _variance_terms(without[0]), key=np.sum)
    variance = float(deviations.sum())
    quantile = t_quantile(0.5 + level / 2, max(blocks - 1, 1))
    low, high = score_equation_roots(np.asarray(observed), quantile**2 * variance / spread)
    pseudovalues = np.clip(blocks * observed - (blocks - 1) * without[0], 0.0, 1.0)
    graded = bool(((pseudovalues > 1e-9) & (pseudovalues < 1.0 - 1e-9)).any())
    if graded and (blocks < 2 or deviations.max() >= DOMINANT * variance):
        wide = bounded_limits(Totals(pseudovalues, np.ones(blocks)), level)
        low, high = np.minimum(low, wide[0]), np.maximum(high, wide[1])
    return float(low), float(high)


@lru_cache(maxsize=256)
def _exact_limits(successes: int, n: int, level: float) -> tuple[float, float]:
    low, high = exact_limits(successes, n, level)
    return float(low), float(high)


def _variance_terms(without: Floats) -> Floats:
    """Return the contribution of each block to the jackknife variance, shape (blocks,)."""
    return np.asarray((len(without) - 1) / len(without) * (without - without.mean()) ** 2)
