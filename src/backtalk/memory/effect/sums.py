"""Sums from which the effect of an entry is estimated: small, and extended score by score."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from backtalk.feedback import MemoryUse
from backtalk.memory.effect.outcome_model import user_bucket
from backtalk.stats import Estimate
from backtalk.stats.intervals.confidence_sequences import (
    log_e_value,
    weighted_confidence_sequence,
)

_PRIOR_DEVIATION = 0.1
"""Prior standard deviation of effects, in the prediction from the scores so far."""


@dataclass
class EffectSums:
    """Sums over the scored uses of one entry.

    The number of a use is the doubly robust score of Robins, Rotnitzky and Zhao (1994),
    "Estimation of regression coefficients when some regressors are not always observed":
    ``m1 - m0 + (y - m1) / p`` if the entry was shown and ``m1 - m0 - (y - m0) / (1 - p)`` if it
    was withheld, where y is the score, p the probability of showing it, and m1 and m0 are
    predictions with and without it. Its expectation is the effect, whatever the predictions. Its
    absolute value is at most ``1 / min(p, 1 - p)``, so that it is weighted by ``min(p, 1 - p)``.
    """

    shown: int = 0
    withheld: int = 0
    wins: int = 0
    """Number of uses, shown, with a score above 0.5."""
    losses: int = 0
    """Number of uses, shown, with a score below 0.5."""
    shown_total: float = 0.0
    """Sum of the scores of uses that were shown."""
    withheld_total: float = 0.0
    total: float = 0.0
    squares: float = 0.0
    weight: float = 0.0
    users: dict[str, list[float]] = field(default_factory=dict)
    """Sums of numbers, squares and weights by group of users."""

    @property
    def n(self) -> int:
        """Number of scored uses."""
        return self.shown + self.withheld

    def add(self, use: MemoryUse, score: float, *, predicted: float, user: str | None) -> None:
        """Add the score of an answer to which the entry applied.

        Parameters
        ----------
        use : MemoryUse
            Use of the entry. One that could not have been otherwise shows no effect.
        score : float
            Score, in [0, 1].
        predicted : float
            Prediction of the score, made before it was known and without this use.
        user : str or None
            Id of the user, or else of the session.
        """
        p = use.propensity
        if use.shown:
            self.shown_total += score
            self.wins += score > 0.5
            self.losses += score < 0.5
        else:
            self.withheld_total += score
        if p < 1:
            weight = min(p, 1 - p)
            number = weight * self._number(use.shown, p, score, predicted)
            self._extend(number, weight, user)
        self.shown += use.shown
        self.withheld += not use.shown

    def _number(self, shown: bool, p: float, score: float, predicted: float) -> float:
        effect = self.shrunk_effect
        with_entry = min(max(predicted + (1 - p) * effect, 0.0), 1.0)
        without = min(max(predicted - p * effect, 0.0), 1.0)
        if shown:
            return with_entry - without + (score - with_entry) / p
        return with_entry - without - (score - without) / (1 - p)

    def _extend(self, number: float, weight: float, user: str | None) -> None:
        self.total += number
        self.squares += number**2
        self.weight += weight
        if user is not None:
            sums = self.users.setdefault(str(user_bucket(user)), [0.0, 0.0, 0.0])
            sums[0] += number
            sums[1] += number**2
            sums[2] += weight

    @property
    def is_identified(self) -> bool:
        """True if a use was random, so that there is an estimate."""
        return self.weight > 0

    @property
    def effect(self) -> float:
        """Estimate of the effect, 0 if there is none."""
        return self.total / self.weight if self.is_identified else 0.0

    @property
    def variance(self) -> float:
        """Variance of the estimate."""
        return self._spread(grouped=True) / self.weight**2 if self.is_identified else 1.0

    @property
    def shrunk_effect(self) -> float:
        """Estimate that is drawn to 0 while there are few scores."""
        if not self.is_identified:
            return 0.0
        noise = max(self.squares, self.weight) / self.weight**2
        return self.effect * _PRIOR_DEVIATION**2 / (_PRIOR_DEVIATION**2 + noise)

    def _spread(self, *, grouped: bool) -> float:
        """Return the sum of squares, or that of groups of users if their effects differ more.

        The larger the sum, the wider the interval, so that both are valid.
        """
        groups = np.array(list(self.users.values()))
        if not grouped or len(groups) < 2:
            return self.squares
        alone = max(self.squares - float(groups[:, 1].sum()), 0.0)
        between = float(((groups[:, 0] - groups[:, 2] * self.effect) ** 2).sum())
        return max(self.squares, alone + between * len(groups) / (len(groups) - 1))

    def interval(self, *, level: float, grouped: bool) -> Estimate | None:
        """Return the effect with its interval, valid at all times; ``None`` if no use was random.

        Parameters
        ----------
        level : float
            Probability of coverage at all times.
        grouped : bool
            If true, differences between users widen it.
        """
        if not self.is_identified:
            return None
        spread = min(self._spread(grouped=grouped), float(self.n))
        return weighted_confidence_sequence(self.total, spread, self.weight, self.n, level=level)

    def log_evidence_of_harm(self, *, grouped: bool) -> float:
        """Return the logarithm of the e-value against "the effect is not negative".

        Parameters
        ----------
        grouped : bool
            If true, the evidence has to hold without the users who give the most of it as well, so
            that one person cannot retire an entry for others.
        """
        evidence = log_e_value(-self.total, self._spread(grouped=grouped))
        if not grouped or not self.users:
            return evidence
        total, squares, weight = min(self.users.values())
        if weight >= self.weight * (1 - 1e-9):
            return evidence
        return min(evidence, log_e_value(total - self.total, self.squares - squares))

    def forget_evidence(self) -> None:
        """Begin the estimate anew; the counts of uses remain."""
        self.total = self.squares = self.weight = 0.0
        self.users = {}

    def dump(self) -> dict[str, Any]:
        """Return the sums as JSON."""
        return asdict(self)
