"""Confirmation of the winner of a search on prompts that no step saw."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.evaluation import Evaluator
from backtalk.learn.prompt.protocol import PromptCandidate
from backtalk.models import BudgetExceeded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtalk.stats.search_gate import Confirmation

MIN_CONFIRMATION = 4
"""Minimum number of prompts of a confirmation."""
_AT_ONCE = 16
"""Number of prompts that are answered together."""
_BETWEEN_LOOKS = 4
"""Number of prompts that are answered together if the confirmation may stop early."""


@dataclass
class Confirmer:
    """Paired comparison of the winner of a search with its seed on new prompts.

    Parameters
    ----------
    evaluator : Evaluator
        Answers and scores on the new prompts.
    winner, seed : PromptCandidate
        Prompts to compare.
    differences : NDArray[np.float64]
        Score of the winner less that of the seed in the search, shape (n,).
    level : float
        Probability that no improvement is reported if there is none.
    repeats : int, default 1
        Number of answers to each prompt.
    """

    evaluator: Evaluator
    winner: PromptCandidate
    seed: PromptCandidate
    differences: NDArray[np.float64]
    level: float
    repeats: int = 1
    _scores: list[list[float]] = field(default_factory=lambda: [[], []], init=False)

    async def run(self, pairs: int, *, stops_early: bool = False) -> Confirmation:
        """Return the estimate of the gain from pairs of answers.

        Parameters
        ----------
        pairs : int
            Maximum number of pairs.
        stops_early : bool, default False
            If true, stop when the pairs so far show the gain, to spare the others.

        Raises
        ------
        BudgetExceeded
            If the budget ends before the smallest number of pairs.
        """
        from backtalk.stats import search_gate  # noqa: PLC0415 - slow to import

        looks = stops_early and self.repeats == 1 and pairs >= search_gate.MIN_EARLY
        fraction = search_gate.plan_bet(self.differences)
        gain = float(self.differences.mean())
        step = _BETWEEN_LOOKS if looks else _AT_ONCE
        for start in range(0, pairs, step):
            if not await self._extend(range(start, min(start + step, pairs))):
                break
            if looks and (
                early := search_gate.confirm_early(self._gains(), gain, fraction, level=self.level)
            ):
                return early
        number = len(self.evaluator.examples)
        clusters = [index % number for index in range(len(self._scores[0]))]
        return search_gate.confirm_gain(
            self._gains(),
            gain,
            clusters=clusters if self.repeats > 1 else None,
            level=self.level,
            looked=looks,
        )

    def _gains(self) -> NDArray[np.float64]:
        winner, seed = (np.array(scores) for scores in self._scores)
        return np.asarray(winner - seed)

    async def _extend(self, indices: range) -> bool:
        """Answer further prompts; return false if the budget ends after enough of them."""
        jobs = [(one, index) for one in (self.winner, self.seed) for index in indices]
        try:
            results = await self.evaluator.evaluate(jobs)
        except BudgetExceeded:
            if len(self._scores[0]) < MIN_CONFIRMATION:
                raise
            return False
        values = [score for _, score in results]
        self._scores[0] += values[: len(indices)]
        self._scores[1] += values[len(indices) :]
        return True
