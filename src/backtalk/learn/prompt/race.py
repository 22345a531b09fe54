"""Race of candidate prompts on paired examples.

All candidates answer a few examples, the better half answers twice as many, and so on (successive
halving: Jamieson and Talwalkar 2016, "Non-stochastic best arm identification and hyperparameter
optimization"). The best leads if it is ahead by half a standard error.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.protocol import Evaluate, Trial

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtalk.stats.search_gate import SearchGate

_LEAD = 0.5
"""Number of standard errors by which a candidate takes the lead. It is low, as steps of a search
are small, and a false one does not pass the confirmation."""
_CLEAR_LEAD = 0.99
"""Level of the t-test by which a lead is so clear that a race with a budget ends."""
_FIRST_HEAT = 4
"""Minimum number of examples of the first heat of a race with a budget."""
_UNLIMITED = 1e9
"""Number of answers that stands for a budget whose limits are not known yet."""
_PER_ENTRANT = 6
"""Number of answers that a candidate of such a race takes on average: it answers the first heat,
and half of the candidates answer the next one."""


def affordable_entrants(room: float) -> int:
    """Return the number of candidates whose race fits into a number of answers."""
    return max(int(room - 2 * _FIRST_HEAT) // _PER_ENTRANT, 0)


def paired_differences(trial: Trial, other: Trial) -> NDArray[np.float64]:
    """Return the score of a candidate less that of another on each example of both."""
    shared = sorted(trial.scores.keys() & other.scores.keys())
    return np.array([trial.scores[index] - other.scores[index] for index in shared])


@dataclass
class Race:
    """Race against the candidate that leads the search.

    Parameters
    ----------
    trials : list of Trial
        Candidates of the search; the first is the seed.
    incumbent : int
        Index of the candidate that leads.
    examples : int
        Number of examples.
    evaluate : Evaluate
        Function that answers examples with candidates.
    gate : SearchGate
        Sequential test of the candidates.
    batch : int
        Number of examples of the first heat.
    room : Callable[[], float], optional
        Function that returns the number of further answers within a budget; ``None`` without one.
    """

    trials: Sequence[Trial]
    incumbent: int
    examples: int
    evaluate: Evaluate
    gate: SearchGate
    batch: int
    room: Callable[[], float] | None = None

    async def run(self, entrants: Sequence[Trial]) -> int:
        """Return the index of the candidate that leads after the race."""
        alive = list(entrants)
        size = self._first_heat(len(alive))
        while alive:
            await self._fill([self._leader, *alive], range(size))
            for trial in alive:
                self._test(trial)
            following = self._next_heat(alive, size)
            alive = self._survivors(alive, last=following == size)
            if following == size or (alive and all(trial.accepted for trial in alive)):
                break
            size = following
        return self.trials.index(max(alive, key=self._lead)) if alive else self.incumbent

    @property
    def _leader(self) -> Trial:
        return self.trials[self.incumbent]

    def _first_heat(self, entrants: int) -> int:
        """Return the number of examples of the first heat."""
        size = min(self.batch, self.examples)
        room = math.inf if self.room is None else self.room()
        if math.isinf(room):
            return size
        return min(size, max(int(room) // (2 * (entrants + 1)), _FIRST_HEAT))

    def _next_heat(self, alive: Sequence[Trial], size: int) -> int:
        """Return the number of examples of the next heat; that of the last one ends the race.

        With a budget, a race ends as well when its leader is clear, or when one candidate remains
        and there is no room for another race: the confirmation tells more than further heats.
        """
        following = min(2 * size, self.examples)
        if self.room is None:
            return following
        survivors = -(-len(alive) // 2)
        room = min(self.room(), _UNLIMITED)
        is_over = survivors == 1 and not affordable_entrants(room)
        if is_over or self._has_clear_leader(alive):
            return size
        return int(min(following, size + room / (survivors + 1)))

    def _has_clear_leader(self, trials: Sequence[Trial]) -> bool:
        best = max(trials, key=self._lead)
        others = [self._leader, *(trial for trial in trials if trial is not best)]
        return all(_is_clear(paired_differences(best, other)) for other in others)

    async def _fill(self, trials: Sequence[Trial], indices: Sequence[int]) -> None:
        """Add the answers and scores of trials on examples."""
        jobs = [(t.candidate, i) for t in trials for i in indices if i not in t.scores]
        results = iter(await self.evaluate(jobs))
        for trial in trials:
            for index in indices:
                if index not in trial.scores:
                    trial.answers[index], trial.scores[index] = next(results)

    def _test(self, trial: Trial) -> None:
        from backtalk.stats.search_gate import log_evidence  # noqa: PLC0415 - slow to import

        differences = paired_differences(trial, self._leader)
        trial.evidence = log_evidence(differences)
        trial.accepted |= self.gate.accepts(self.trials.index(trial), differences)

    def _lead(self, trial: Trial) -> float:
        return float(paired_differences(trial, self._leader).mean())

    def _survivors(self, trials: Sequence[Trial], *, last: bool) -> list[Trial]:
        """Return the better half of those that may be better; at the end those that seem so."""
        alive = []
        for trial in trials:
            differences = paired_differences(trial, self._leader)
            bound = differences.mean() + (-_LEAD if last else 1) * _standard_error(differences)
            if bound > 0 or trial.accepted:
                alive.append(trial)
        if last:
            return alive
        return sorted(alive, key=self._lead, reverse=True)[: -(-len(trials) // 2)]


def _standard_error(differences: NDArray[np.float64]) -> float:
    return float(differences.std(ddof=1) / len(differences) ** 0.5)


def _is_clear(differences: NDArray[np.float64]) -> bool:
    """Return whether a t-test tells the mean of differences from 0."""
    from backtalk.stats.distributions import t_quantile  # noqa: PLC0415 - slow to import

    quantile = float(t_quantile(_CLEAR_LEAD, len(differences) - 1))
    return bool(differences.mean() > quantile * _standard_error(differences))
