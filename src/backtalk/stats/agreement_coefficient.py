"""Agreement beyond chance, from the disagreement that is seen and the one that is expected."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.stats.distributions import t_quantile
from backtalk.stats.estimate import Estimate, NotIdentified
from backtalk.stats.intervals.binomial import exact_limits, score_equation_roots
from backtalk.stats.intervals.clusters import DOMINANT, Totals
from backtalk.stats.intervals.gaffke import bounded_limits
from backtalk.stats.validation import Floats, Ints, check_level, group_numbers

_BLOCKS = 1000


@dataclass(frozen=True)
class Agreement:
    """Agreement beyond chance: 1 - observed / expected disagreement.

    Attributes
    ----------
    estimate
        1 for perfect agreement, 0 for what chance gives, negative below that.
    observed, expected
        The mean disagreement seen, and under independent labels; 0 for equal labels and 1 for
        the two that are furthest apart.
    categories
        How many different labels were given.
    rarest
        How often the least frequent of them was given. Below five the expected disagreement
        is poorly known, and the interval allows for it.
    """

    estimate: Estimate
    observed: float
    expected: float
    categories: int
    rarest: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def jackknife_blocks(clusters: ArrayLike | None, items: int) -> tuple[Ints, int, int | None]:
    """Return the block of each item, how many blocks there are, and how many clusters.

    Blocks are what the jackknife leaves out: the clusters, or else the items; dealt round
    robin into a thousand where there are more, so that the work stays linear.
    """
    if clusters is None:
        units, count, named = np.arange(items, dtype=np.intp), items, None
    else:
        units, count = group_numbers(clusters, items)
        named = count
    return units % _BLOCKS, min(count, _BLOCKS), named


def make_agreement(
    disagreement: tuple[float, float],
    without: tuple[Floats, Floats],
    *,
    frequencies: NDArray[Any],
    items: int,
    clusters: int | None,
    level: float,
) -> Agreement:
    """Put an interval around 1 - observed / expected.

    The variance of the ratio is jackknifed. The interval is that of a mean of values in
    [0, 1], the observed disagreement, solved for by its score as in
    :func:`backtalk.stats.intervals.means.score_limits`, then divided by the expected one. It is
    therefore skewed near perfect agreement, and of positive width there. As for a mean, it is
    widened where disagreement has degrees and one item or cluster accounts for most of the
    variance. A label that was given
    fewer than five times may make the ratio look steady only because its few items enter both
    parts; the variance is then at least that of the observed part alone, and the interval
    covers more often than ``level`` says.

    Parameters
    ----------
    disagreement : tuple[float, float]
        Observed and expected, from all items.
    without : tuple[Floats, Floats]
        The same with each block left out in turn, both of shape (blocks,).
    frequencies : NDArray[Any]
        How often each label was given.
    items, clusters, level
        As in :class:`Estimate`.

    Raises
    ------
    NotIdentified
        If no disagreement is expected, since all labels are one.
    """
    observed, expected = disagreement
    used = frequencies[frequencies > 0]
    if expected <= 0:
        raise NotIdentified(
            "All labels are the same, so that chance alone would explain the agreement",
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
    return Agreement(estimate, observed, expected, len(used), int(used.min()))


def _observed_limits(
    observed: float, expected: float, without: tuple[Floats, Floats], level: float, *, known: bool
) -> tuple[float, float]:
    blocks = len(without[0])
    spread = observed * (1.0 - observed)
    if spread <= 1e-12:
        low, high = exact_limits(round(observed) * blocks, blocks, level)
        return float(low), float(high)
    ratios = np.full(blocks, observed / expected)
    np.divide(*without, out=ratios, where=without[1] > 0)
    deviations = _jackknifed(ratios) * expected**2
    if not known:
        deviations = max(deviations, _jackknifed(without[0]), key=np.sum)
    variance = float(deviations.sum())
    quantile = t_quantile(0.5 + level / 2, max(blocks - 1, 1))
    low, high = score_equation_roots(np.asarray(observed), quantile**2 * variance / spread)
    own = np.clip(blocks * observed - (blocks - 1) * without[0], 0.0, 1.0)
    graded = bool(((own > 1e-9) & (own < 1.0 - 1e-9)).any())
    if graded and (blocks < 2 or deviations.max() >= DOMINANT * variance):
        wide = bounded_limits(Totals(own, np.ones(blocks)), level)
        low, high = np.minimum(low, wide[0]), np.maximum(high, wide[1])
    return float(low), float(high)


def _jackknifed(without: Floats) -> Floats:
    """What each block adds to the jackknife's variance."""
    return np.asarray((len(without) - 1) / len(without) * (without - without.mean()) ** 2)
