"""Who answers the next request: the chances of arms, or of pairs of them, and the draw."""

from __future__ import annotations

import math
import secrets
from collections import Counter
from functools import cached_property
from itertools import combinations
from typing import Annotated

import numpy as np
from pydantic import Field

from backtalk.experiments.experiment import RandomizationUnit
from backtalk.experiments.state import ExperimentState
from backtalk.feedback import content_id
from backtalk.feedback.record import Name, Propensity, Record
from backtalk.stats.validation import Floats

_DRAWS = 2000
_CONFIDENCE = 0.51
"""Alpha of relative upper confidence bounds (Wu and Liu 2016, theorem 1 asks for over one half)."""


class AllocationOption(Record):
    """An arm, or two that duel, with the chance of answering the next request."""

    arms: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]
    probability: Propensity


class Allocation(Record):
    """The chances of all options; they add up to 1."""

    experiment: Name
    unit: RandomizationUnit
    options: Annotated[tuple[AllocationOption, ...], Field(min_length=1)]

    @cached_property
    def probabilities(self) -> dict[str, float]:
        """The chance of each arm to answer, or to be one of the two that do."""
        result: Counter[str] = Counter()
        for option in self.options:
            for arm in option.arms:
                result[arm] += option.probability  # type: ignore[assignment]
        return {arm: min(1.0, float(probability)) for arm, probability in result.items()}

    def draw(self, unit: str | None = None) -> AllocationOption:
        """Return who answers a request.

        Parameters
        ----------
        unit : str, optional
            Who asks, where a unit keeps its arm: whatever process draws, it comes out the same,
            and if an arm is taken out only its own units move. With chances ``p`` the arm of the
            smallest ``-log(u) / p`` is drawn, ``u`` being the hash of unit and arm (Thaler and
            Ravishankar 1998, "Using name-based mappings to increase hit rates"). ``None`` for a
            draw that depends on nothing.
        """
        if len(self.options) == 1:
            return self.options[0]
        if unit is not None:
            return min(self.options, key=lambda option: self._delay(option, unit))
        left = secrets.randbelow(1 << 53) / (1 << 53)
        for option in self.options:
            left -= option.probability
            if left < 0:
                return option
        return self.options[-1]

    def _delay(self, option: AllocationOption, unit: str) -> float:
        hashed = int(content_id(self.experiment, unit, *option.arms)[:13], 16)
        return -math.log((hashed + 0.5) / 16**13) / option.probability


def allocate(state: ExperimentState) -> Allocation:
    """Return the chances of a running experiment's arms.

    The same state gives the same chances in whatever process.
    """
    experiment = state.experiment
    live = state.live
    if experiment.allocation == "fixed":
        share = dict(zip(experiment.arms, experiment.shares, strict=True))
        total = sum(share[arm] for arm in live)
        options = [AllocationOption(arms=(arm,), probability=share[arm] / total) for arm in live]
    elif experiment.allocation == "thompson":
        options = _thompson(state, live)
    else:
        options = _duels(state, live)
    return Allocation(experiment=experiment.name, unit=experiment.unit, options=tuple(options))


def best_arm_probabilities(good: Floats, bad: Floats, rng: np.random.Generator) -> Floats:
    """Return the chance of each arm to be the best, by draws from the arms' Beta posteriors.

    Answering with these chances is Thompson (1933) sampling.

    Parameters
    ----------
    good, bad : Floats
        The sums of the arms' values and of what they lack to 1, shape (arms,).
    rng : np.random.Generator
        Draws.
    """
    drawn = rng.beta(1 + good, 1 + bad, size=(_DRAWS, good.size))
    return np.bincount(drawn.argmax(1), minlength=good.size) / _DRAWS


def duel_probabilities(wins: Floats, rng: np.random.Generator) -> Floats:
    """Return the chance of each pair of arms to duel, by double Thompson sampling.

    Wu and Liu (2016), "Double Thompson sampling for dueling bandits", algorithm 1: the first is
    the Copeland winner of a draw among those that may be it by their upper bounds; the second does
    best against the first in another draw, among those that the first is not sure to beat. As two
    answers of one arm teach nothing, the second is always another arm.

    Parameters
    ----------
    wins : Floats
        How often the row beat the column, shape (arms, arms), a tie as a half to both.
    rng : np.random.Generator
        Draws.

    Returns
    -------
    ndarray
        Shape (arms, arms), symmetric; each pair's chance stands in both places.
    """
    count = len(wins)
    met = wins + wins.T
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = np.sqrt(_CONFIDENCE * math.log(max(met.sum() / 2, 2)) / met)
        upper = np.where(met > 0, wins / met + reach, 1.0)
        lower = np.where(met > 0, wins / met - reach, 0.0)
    off = ~np.eye(count, dtype=bool)
    may_win = ((upper > 0.5) & off).sum(1)
    firsts = may_win == may_win.max()
    result = np.zeros((count, count))
    for _ in range(_DRAWS // 4):
        beaten = (_draw(wins, rng) > 0.5) & off
        first = _largest(np.where(firsts, beaten.sum(1), -1.0), rng)
        others = off[first]
        unsure = others & (lower[:, first] <= 0.5)
        rivals = unsure if unsure.any() else others
        second = _largest(np.where(rivals, _draw(wins, rng)[:, first], -1.0), rng)
        result[first, second] += 1
    both = result + result.T
    return np.asarray(both / (both.sum() / 2))


def _draw(wins: Floats, rng: np.random.Generator) -> Floats:
    upper = np.triu(rng.beta(1 + wins, 1 + wins.T), 1)
    return np.asarray(upper + np.tril(1 - upper.T, -1))


def _largest(values: Floats, rng: np.random.Generator) -> int:
    return int(rng.choice(np.flatnonzero(values == values.max())))


def _thompson(state: ExperimentState, live: tuple[str, ...]) -> list[AllocationOption]:
    signal = state.experiment.outcome
    counts = [state.arms[arm].values.get(signal, Counter()) for arm in live]
    good = np.array([sum(v * n for v, n in sorted(count.items())) for count in counts])
    number = np.array([count.total() for count in counts])
    best = best_arm_probabilities(good, number - good, _rng(state, *good, *number))
    floor = state.experiment.floor
    probabilities = floor + (1 - floor * len(live)) * best
    return [
        AllocationOption(arms=(arm,), probability=float(p))
        for arm, p in zip(live, probabilities, strict=True)
    ]


def _duels(state: ExperimentState, live: tuple[str, ...]) -> list[AllocationOption]:
    """Return the chances of pairs of arms that get traffic; the control alone, if it is left so."""
    pairs = list(combinations(range(len(live)), 2))
    if not pairs:
        return [AllocationOption(arms=live, probability=1.0)]
    wins = np.zeros((len(live), len(live)))
    for i, j in pairs:
        results = state.duels.get((live[i], live[j]), Counter())
        wins[i, j] = sum(value * n for value, n in sorted(results.items()))
        wins[j, i] = results.total() - wins[i, j]
    floor = state.experiment.floor
    chosen = duel_probabilities(wins, _rng(state, *wins.ravel()))
    return [
        AllocationOption(
            arms=(live[i], live[j]),
            probability=float(floor + (1 - floor * len(pairs)) * chosen[i, j]),
        )
        for i, j in pairs
    ]


def _rng(state: ExperimentState, *numbers: float) -> np.random.Generator:
    known = content_id(state.experiment.name, *(f"{number:.6f}" for number in numbers))
    return np.random.default_rng(int(known[:15], 16))
