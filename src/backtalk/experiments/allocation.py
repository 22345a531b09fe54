"""Allocation of requests to arms or pairs of arms: probabilities and sampling."""

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

_NUM_DRAWS = 2000
_ALPHA = 0.51
"""Alpha of the relative upper confidence bounds; theorem 1 of Wu and Liu (2016) needs over 0.5."""


class AllocationOption(Record):
    """An arm, or a pair of arms in a duel, with its probability of answering the next request."""

    arms: Annotated[tuple[Name, ...], Field(min_length=1, max_length=2)]
    probability: Propensity


class Allocation(Record):
    """Probabilities of all options, which sum to 1."""

    experiment: Name
    unit: RandomizationUnit
    options: Annotated[tuple[AllocationOption, ...], Field(min_length=1)]

    @cached_property
    def probabilities(self) -> dict[str, float]:
        """Probability of each arm to answer, alone or as one of two."""
        result: Counter[str] = Counter()
        for option in self.options:
            for arm in option.arms:
                result[arm] += option.probability  # type: ignore[assignment]
        return {arm: min(1.0, float(probability)) for arm, probability in result.items()}

    def draw(self, unit: str | None = None) -> AllocationOption:
        """Sample the option that answers a request.

        Parameters
        ----------
        unit : str, optional
            Session or user that keeps its arm. Every process samples the same arm for it, and if
            an arm is removed, only its own units move. With probabilities ``p``, the arm with
            the smallest ``-log(u) / p`` is chosen, where ``u`` is a hash of unit and arm (Thaler
            and Ravishankar 1998, "Using name-based mappings to increase hit rates"). ``None``:
            an independent random choice.
        """
        if len(self.options) == 1:
            return self.options[0]
        if unit is not None:
            return min(self.options, key=lambda option: self._delay(option, unit))
        remainder = secrets.randbelow(1 << 53) / (1 << 53)
        for option in self.options:
            remainder -= option.probability
            if remainder < 0:
                return option
        return self.options[-1]

    def _delay(self, option: AllocationOption, unit: str) -> float:
        hashed = int(content_id(self.experiment, unit, *option.arms)[:13], 16)
        return -math.log((hashed + 0.5) / 16**13) / option.probability


def allocate(state: ExperimentState) -> Allocation:
    """Return the probabilities of a running experiment's arms.

    Deterministic: every process computes the same probabilities from the same state.
    """
    experiment = state.experiment
    live = state.active_arms
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
    """Return the probability of each arm to be the best, by sampling the arms' Beta posteriors.

    Allocation with these probabilities is Thompson (1933) sampling.

    Parameters
    ----------
    good, bad : Floats
        Sums of the arms' values and of their differences to 1, shape (arms,).
    rng : np.random.Generator
        Random generator.

    Returns
    -------
    ndarray
        Probabilities, shape (arms,).
    """
    samples = rng.beta(1 + good, 1 + bad, size=(_NUM_DRAWS, good.size))
    return np.bincount(samples.argmax(1), minlength=good.size) / _NUM_DRAWS


def duel_probabilities(wins: Floats, rng: np.random.Generator) -> Floats:
    """Return the probability of each pair of arms to duel, by double Thompson sampling.

    Wu and Liu (2016), "Double Thompson sampling for dueling bandits", algorithm 1. The first arm
    is the Copeland winner of a posterior sample, among the possible winners by upper confidence
    bounds. The second arm does best against the first in another sample, among the arms that the
    first may not beat. The second is always another arm, because two answers of one arm are not
    informative.

    Parameters
    ----------
    wins : Floats
        Number of wins of the row over the column, shape (arms, arms). A tie is half a win for
        each.
    rng : np.random.Generator
        Random generator.

    Returns
    -------
    ndarray
        Probabilities, shape (arms, arms), symmetric. Each pair has its probability at both
        positions.
    """
    count = len(wins)
    met = wins + wins.T
    with np.errstate(invalid="ignore", divide="ignore"):
        reach = np.sqrt(_ALPHA * math.log(max(met.sum() / 2, 2)) / met)
        upper = np.where(met > 0, wins / met + reach, 1.0)
        lower = np.where(met > 0, wins / met - reach, 0.0)
    off = ~np.eye(count, dtype=bool)
    may_win = ((upper > 0.5) & off).sum(1)
    firsts = may_win == may_win.max()
    result = np.zeros((count, count))
    for _ in range(_NUM_DRAWS // 4):
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
    """Return the probabilities of pairs of arms, or of the control alone if no other is active."""
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
