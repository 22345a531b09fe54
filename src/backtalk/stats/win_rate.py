"""How often one candidate is preferred to another."""

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
    """A win rate and what it is made of.

    Attributes
    ----------
    estimate
        The mean preference with its interval; a tie is worth half a win.
    wins, ties, losses
        How many preferences lie above, at and below one half.
    """

    estimate: Estimate
    wins: int
    ties: int
    losses: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


def win_rate(
    preferences: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    method: str = "auto",
    seed: int = 0,
) -> WinRate:
    """Estimate how often a candidate beats its baseline.

    Parameters
    ----------
    preferences : ArrayLike
        Shape (n,), in [0, 1]: the probability that the candidate beats the baseline, as 0,
        1/2 (a tie) and 1 where there are only verdicts.
    clusters : ArrayLike, optional
        One label per preference, such as its prompt, where several share one; else None.
    level, method, seed
        See :func:`backtalk.stats.intervals.choose.mean_interval`.

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
    """Estimate how much higher one candidate scores than another on the same prompts.

    The interval is that of the mean of the differences, so that what makes a prompt hard for
    both does not widen it.

    Parameters
    ----------
    first, second : ArrayLike
        Shape (n,): the value of each candidate on each prompt, in one order.
    clusters : ArrayLike, optional
        One label per pair, or None.
    bounds : tuple[float, float], default (0.0, 1.0)
        The ends of the scale of the values, or None where it has none.
    level, method, seed
        See :func:`backtalk.stats.intervals.choose.mean_interval`.
    """
    if bounds is None:
        one, other = finite_values(first, "first"), finite_values(second, "second")
        spread = None
    else:
        one, other = (
            bounded_values(first, bounds, "first"),
            bounded_values(second, bounds, "second"),
        )
        spread = (bounds[0] - bounds[1], bounds[1] - bounds[0])
    require_same_length(first=one, second=other)
    return mean_interval(
        one - other, clusters, bounds=spread, level=level, method=method, seed=seed
    )
