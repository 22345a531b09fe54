"""Win rate of a candidate over a baseline, and paired differences of scores."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import (
    bounded_values,
    finite_values,
    probability_values,
    require_same_length,
)


@dataclass(frozen=True)
class WinRate:
    """Win rate with the counts of wins, ties and losses.

    Attributes
    ----------
    estimate
        Mean preference with its interval; a tie counts as half a win.
    wins, ties, losses
        Number of preferences above, at and below one half.
    """

    estimate: Estimate
    wins: int
    ties: int
    losses: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def win_rate(
    preferences: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    method: str = "auto",
    seed: int = 0,
) -> WinRate:
    """Estimate the share of comparisons that a candidate wins.

    Parameters
    ----------
    preferences : ArrayLike
        Probability that the candidate beats the baseline, shape (n,), in [0, 1]. A verdict is 0,
        1/2 (a tie) or 1.
    clusters : ArrayLike, optional
        Cluster label of each preference, such as its prompt, shape (n,). Default: preferences are
        independent.
    level : float, default 0.95
        Nominal coverage.
    method : str, default "auto"
        Interval; see :func:`backtalk.stats.intervals.choose.mean_interval`.
    seed : int, default 0
        Seed of the bootstrap.

    Raises
    ------
    InvalidValues
        If a preference is missing or outside [0, 1].
    """
    array = probability_values(preferences, "preferences")
    return WinRate(
        estimate=mean_interval(array, clusters, level=level, method=method, seed=seed),
        wins=int((array > 0.5).sum()),
        ties=int((array == 0.5).sum()),
        losses=int((array < 0.5).sum()),
    )


def paired_difference(
    first: ArrayLike,
    second: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    level: float = 0.95,
    method: str = "auto",
    seed: int = 0,
) -> Estimate:
    """Estimate the mean difference of two candidates' scores on the same prompts.

    The interval is that of the mean of the differences, so prompt difficulty that both candidates
    share does not widen it.

    Parameters
    ----------
    first, second : ArrayLike
        Score of each candidate on each prompt, shape (n,), in the same order.
    clusters : ArrayLike, optional
        Cluster label of each pair, shape (n,). Default: pairs are independent.
    bounds : tuple[float, float] or None, default (0.0, 1.0)
        Ends of the scale of the scores; None if it has none.
    level : float, default 0.95
        Nominal coverage.
    method : str, default "auto"
        Interval; see :func:`backtalk.stats.intervals.choose.mean_interval`.
    seed : int, default 0
        Seed of the bootstrap.

    Raises
    ------
    InvalidValues
        If lengths differ, or a score is missing or out of bounds.
    """
    if bounds is None:
        a, b = finite_values(first, "first"), finite_values(second, "second")
        spread = None
    else:
        a, b = (
            bounded_values(first, bounds, "first"),
            bounded_values(second, bounds, "second"),
        )
        spread = (bounds[0] - bounds[1], bounds[1] - bounds[0])
    require_same_length(first=a, second=b)
    return mean_interval(a - b, clusters, bounds=spread, level=level, method=method, seed=seed)
