"""Judgements that an experiment counts, and sums of effects in which one can be revised."""

from __future__ import annotations

from dataclasses import dataclass, field

from backtalk.feedback import AnyFeedback
from backtalk.feedback.latest_votes import is_later, vote_key
from backtalk.stats.intervals.confidence_sequences import weighted_effect


@dataclass
class CountedVote:
    """Judgement of a unit, as it was counted."""

    item: AnyFeedback
    arm: str
    """Id of the policy that was judged; of a duel, the first in the experiment."""
    value: float
    """Score in [0, 1]."""
    effects: dict[str, int] = field(default_factory=dict)
    """Position among the effects of each candidate."""

    def is_superseded_by(self, item: AnyFeedback) -> bool:
        """Return true if the same annotator judges the same answer again, and not earlier."""
        return (
            item.interaction == self.item.interaction
            and vote_key(item) == vote_key(self.item)
            and is_later(item, self.item)
        )


@dataclass
class IPWSum:
    """Sums of a candidate's effects over the control, with inverse propensity weights.

    Scores are centred on the mean of the earlier ones: a different number of judgements of two
    equally good arms then does not bias the effect.
    """

    scores: list[tuple[float, int, float]] = field(default_factory=list)
    """Scores in the order of the log, each with its sign and propensity."""
    _is_revised: bool = field(default=False, compare=False)
    _total: float = field(default=0.0, compare=False)
    _squares: float = field(default=0.0, compare=False)
    _values: float = field(default=0.0, compare=False)
    _judged: int = field(default=0, compare=False)

    @property
    def n(self) -> int:
        """Number of scores, those of other arms included."""
        return len(self.scores)

    @property
    def total(self) -> float:
        """Sum of the effects."""
        self._recompute()
        return self._total

    @property
    def squares(self) -> float:
        """Sum of the squared effects."""
        self._recompute()
        return self._squares

    def add(self, value: float, *, sign: int, propensity: float) -> int:
        """Add a score and return its position.

        Parameters
        ----------
        value : float
            Score in [0, 1].
        sign : int
            1 for the candidate, -1 for the control, 0 for another arm.
        propensity : float
            Probability of the arm.
        """
        self.scores.append((value, sign, propensity))
        if not self._is_revised:
            self._add(value, sign, propensity)
        return len(self.scores) - 1

    def revise(self, position: int, value: float) -> None:
        """Replace the score at a position."""
        _, sign, propensity = self.scores[position]
        self.scores[position] = value, sign, propensity
        self._is_revised = True

    def _recompute(self) -> None:
        if self._is_revised:
            self._is_revised = False
            self._total = self._squares = self._values = 0.0
            self._judged = 0
            for value, sign, propensity in self.scores:
                self._add(value, sign, propensity)

    def _add(self, value: float, sign: int, propensity: float) -> None:
        if sign == 0:
            return
        centre = self._values / self._judged if self._judged else 0.5
        effect = weighted_effect(value, centre=centre, sign=sign, propensity=propensity)
        self._total += effect
        self._squares += effect * effect
        self._values += value
        self._judged += 1
