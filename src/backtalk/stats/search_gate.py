"""Gate of a search: sequential comparison of candidates, and confirmation of the winner.

A search that tries twenty candidates on the same examples finds one that looks better by chance
alone. Two statistics keep that out of its result:

- within the search, an e-process for each candidate (:func:`log_evidence`), with the level spent
  over all candidates (:class:`SearchGate`), so that no more than ``1 - level`` of whole searches
  accept a candidate that is not better, at whatever time they look or stop;
- after the search, an estimate of the winner alone on new examples (:func:`confirm_gain`), which is
  unbiased however the winner was found. The difference of both estimates is the optimism.

Where answers are scarce, the confirmation stops as soon as bets show the gain
(:func:`confirm_early`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.means import score_interval
from backtalk.stats.validation import Floats, bounded_values, check_level

LEVEL = 0.95
"""Default level: at most 5 % of whole searches report an improvement that there is not."""

_FRACTIONS = 0.95 * 0.5 ** np.arange(8)
_APPROXIMATION = 0.8
"""Share of the allowed errors that the confirmation spends, as its score interval is approximate.
In simulated searches over edits that change nothing, 0 to 3 % reported an improvement. The interval
errs more often for a candidate that is as good on average and answers otherwise: by exact
calculation for two values, 12 % at worst, where 9 of 10 answers are a little better and one much
worse. A limit without such errors showed 10 % of gains of 0.05, of standard deviation 0.1, at 50
pairs, and this one 93 %."""
MIN_EARLY = 12
"""Number of planned differences from which a confirmation looks early; fewer show too little."""
_EARLY_SHARE = 0.2
"""Share of the allowed errors that early looks spend."""
_PLANNED_SHARE = 0.7
"""Share of the capital that is bet with the planned fraction."""
_PRECISION = 1e-4
"""Precision of limits by bets."""
_SHRINKAGE = 0.8
"""Factor on the gain in a search that a plan counts on: the winner of a search looks too good."""


def log_evidence(
    differences: ArrayLike, *, mean: float = 0.0, fraction: float | None = None
) -> float:
    """Return the logarithm of the evidence that the mean of paired differences is above another.

    It is the capital of a gambler who starts with 1 and bets fixed fractions of it on each
    difference, spread over several fractions. If the mean is not above, given the differences
    before, the capital is a supermartingale and ever exceeds ``c`` with probability at most ``1 /
    c`` (Ville 1939). It may therefore be looked at after each difference. Waudby-Smith and Ramdas
    (2024), "Estimating means of bounded random variables by betting", section 4.

    Parameters
    ----------
    differences : ArrayLike
        Score of the candidate less that of the incumbent on the same example, in [-1, 1],
        shape (n,).
    mean : float, default 0.0
        Mean against which the evidence is, above -1.
    fraction : float, optional
        Fraction in [0, 1) that is bet with most of the capital, from :func:`plan_bet`.
    """
    values = np.asarray(differences, dtype=float)
    if values.size == 0:
        return 0.0
    array = (bounded_values(values, (-1.0, 1.0)) - mean) / (1 + mean)
    logs = np.log1p(np.multiply.outer(_FRACTIONS, array)).sum(axis=1)
    spread = float(np.logaddexp.reduce(logs) - math.log(_FRACTIONS.size))
    if fraction is None:
        return spread
    planned = float(np.log1p(fraction * array).sum())
    shares = math.log(_PLANNED_SHARE), math.log(1 - _PLANNED_SHARE)
    return float(np.logaddexp(planned + shares[0], spread + shares[1]))


def plan_bet(differences: ArrayLike) -> float:
    """Return the fraction to bet on new differences, in [0, 0.95], after those of a search.

    It is the one whose capital grows fastest to second order, the mean over the mean square (Kelly
    1956), for a mean that is shrunk.

    Parameters
    ----------
    differences : ArrayLike
        Differences in the search, in [-1, 1], shape (n,).
    """
    array = bounded_values(np.asarray(differences, dtype=float), (-1.0, 1.0))
    mean = _SHRINKAGE * float(array.mean())
    square = float(array.var()) + mean**2
    return min(max(mean / square, 0.0), float(_FRACTIONS[0])) if square else 0.0


@dataclass
class SearchGate:
    """Sequential test of the candidates of one search against their incumbents.

    The k-th candidate is accepted if its evidence reaches ``1 / ((1 - level) w_k)``, where the
    weights ``w_k`` sum to at most 1. By the union bound, at most ``1 - level`` of whole searches
    accept any candidate that is not better than the incumbent that it was compared with.

    Parameters
    ----------
    level : float, default 0.95
        Level of the whole search.
    candidates : int, optional
        Maximum number of candidates, which then have equal weights; without it the weights are
        ``1 / (k (k + 1))``.
    """

    level: float = LEVEL
    candidates: int | None = None

    def __post_init__(self) -> None:
        check_level(self.level)

    def weight(self, number: int) -> float:
        """Return the share of the level that a candidate may spend, by its number from 1."""
        if self.candidates is None:
            return 1 / (number * (number + 1))
        return 1 / self.candidates if number <= self.candidates else 0.0

    def accepts(self, number: int, differences: ArrayLike) -> bool:
        """Return true if the evidence for a candidate is enough, whatever else is tried.

        Parameters
        ----------
        number : int
            Number of the candidate in the search, from 1.
        differences : ArrayLike
            As for :func:`log_evidence`.
        """
        share = (1 - self.level) * self.weight(number)
        return share > 0 and log_evidence(differences) >= -math.log(share)


@dataclass(frozen=True)
class Confirmation:
    """Estimate of the winner of a search on examples that no step of the search used."""

    gain: Estimate
    """Mean score of the winner less that of the seed on the new examples. The lower end is at
    ``gain.level`` on its own, one-sided."""
    search_gain: float
    """The same difference on the examples of the search, by which the winner was chosen."""

    @property
    def improved(self) -> bool:
        """True if the gain is shown to be above 0."""
        return self.gain.low > 0

    @property
    def optimism(self) -> float:
        """Gain in the search less the confirmed gain."""
        return self.search_gain - self.gain.value

    def to_dict(self) -> dict[str, Any]:
        """Return the estimates as JSON."""
        return {
            "confirmed gain": round(self.gain.value, 4),
            "lower bound": round(self.gain.low, 4),
            "level": self.gain.level,
            "confirmation prompts": self.gain.clusters or self.gain.n,
            "gain in the search": round(self.search_gain, 4),
            "optimism": round(self.optimism, 4),
        }


def confirm_gain(
    differences: ArrayLike,
    search_gain: float,
    *,
    clusters: ArrayLike | None = None,
    level: float = LEVEL,
    looked: bool = False,
) -> Confirmation:
    """Estimate the gain of a winner from differences on new examples.

    There is one test, of one candidate, so that the number of candidates does not matter. The score
    interval holds for skewed differences too: a candidate that is a little better nearly always and
    much worse now and then passes a t-test in half of all searches at twelve examples, although it
    is no better. It does not hold for losses so rare that the examples are likely to have none: if
    3 of 100 differences are -0.9 and the others make up for them, it errs in half of all searches
    at 20 examples, in 20 % at 50 and in 5 % at 100.

    Parameters
    ----------
    differences : ArrayLike
        Score of the winner less that of the seed on the same example, in [-1, 1], shape (n,).
    search_gain : float
        Mean difference on the examples of the search.
    clusters : ArrayLike, optional
        Prompt of each difference, if prompts were answered several times.
    level : float, default 0.95
        Probability that no improvement is reported if there is none.
    looked : bool, default False
        True if :func:`confirm_early` looked at the first of the differences.
    """
    array: Floats = bounded_values(np.asarray(differences, dtype=float), (-1.0, 1.0))
    # The lower end of a two-sided interval that misses on each side by what one side may miss.
    allowed = (1 - check_level(level)) * (1 - _EARLY_SHARE if looked else 1)
    two_sided = 1 - 2 * _APPROXIMATION * allowed
    estimate = score_interval(array, clusters, bounds=(-1.0, 1.0), level=two_sided)
    gain = Estimate(
        estimate.value,
        estimate.low,
        estimate.high,
        level,
        estimate.n,
        estimate.clusters,
        "score, one-sided",
    )
    return Confirmation(gain, search_gain)


def confirm_early(
    differences: ArrayLike, search_gain: float, fraction: float, *, level: float = LEVEL
) -> Confirmation | None:
    """Return the confirmation of a winner if the differences so far show its gain.

    It may be called after each difference. All calls together report an improvement that there is
    not with a probability of at most a fifth of ``1 - level``; the rest is for :func:`confirm_gain`
    with ``looked=True`` at the end.

    Parameters
    ----------
    differences : ArrayLike
        As for :func:`confirm_gain`, of distinct examples.
    search_gain : float
        Mean difference on the examples of the search.
    fraction : float
        Fraction to bet, from :func:`plan_bet` with the differences in the search.
    level : float, default 0.95
        Probability that no improvement is reported if there is none.

    Returns
    -------
    Confirmation or None
        ``None`` if more differences are needed.
    """
    threshold = -math.log(_EARLY_SHARE * (1 - check_level(level)))

    def evidence(mean: float) -> float:
        return log_evidence(differences, mean=mean, fraction=fraction) - threshold

    if evidence(0.0) <= 0:
        return None
    array = np.asarray(differences, dtype=float)
    # Evidence falls with the mean that it is against; against the sample mean there is none.
    low, high = 0.0, float(array.mean())
    while high - low > _PRECISION:
        middle = (low + high) / 2
        low, high = (middle, high) if evidence(middle) > 0 else (low, middle)
    gain = Estimate(
        float(array.mean()),
        max(low, _PRECISION),
        1.0,
        level,
        array.size,
        None,
        "betting, one-sided",
    )
    return Confirmation(gain, search_gain)
