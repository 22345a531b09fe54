"""Selection of the pairs of scored responses that are compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from backtalk.registry import Registry

ScoreArray = NDArray[np.float64]


@dataclass(frozen=True)
class SelectedPair:
    """Indices of two responses to a prompt, and the probability that the first is better."""

    better: int
    worse: int
    probability: float = 1.0


PairSelector = Callable[[ScoreArray, ScoreArray, np.random.Generator], list[SelectedPair]]
"""Function ``(scores, std, rng)`` that selects pairs of the N responses to a prompt.

Both arrays have shape ``(N,)``; ``std`` is 0 where the standard deviation is unknown."""


def best_worst(
    scores: ScoreArray, _std: ScoreArray, _rng: np.random.Generator
) -> list[SelectedPair]:
    """Select the best and the worst: Dong et al. (2024), RLHF Workflow, section 3.2.

    Parameters
    ----------
    scores : numpy.ndarray
        Scores of N responses, shape ``(N,)``.
    _std : numpy.ndarray
        Standard deviations of the scores, shape ``(N,)``. Not used.
    _rng : numpy.random.Generator
        Random number generator. Not used.
    """
    return _ordered(scores, int(scores.argmax()), int(scores.argmin()))


def random_pair(
    scores: ScoreArray, _std: ScoreArray, rng: np.random.Generator
) -> list[SelectedPair]:
    """Select two at random, as Guo et al. (2024), OAIF, section 3, who draw only two.

    Parameters
    ----------
    scores : numpy.ndarray
        Scores of N responses, shape ``(N,)``.
    _std : numpy.ndarray
        Standard deviations of the scores, shape ``(N,)``. Not used.
    rng : numpy.random.Generator
        Random number generator.
    """
    a, b = rng.choice(len(scores), 2, replace=False).tolist()
    return _ordered(scores, *((a, b) if scores[a] >= scores[b] else (b, a)))


def all_pairs(
    scores: ScoreArray, _std: ScoreArray, _rng: np.random.Generator
) -> list[SelectedPair]:
    """Select all pairs with different scores.

    Parameters
    ----------
    scores : numpy.ndarray
        Scores of N responses, shape ``(N,)``.
    _std : numpy.ndarray
        Standard deviations of the scores, shape ``(N,)``. Not used.
    _rng : numpy.random.Generator
        Random number generator. Not used.
    """
    order = np.argsort(-scores).tolist()
    return [pair for i, j in combinations(order, 2) for pair in _ordered(scores, i, j)]


def small_margin(
    scores: ScoreArray, std: ScoreArray, rng: np.random.Generator
) -> list[SelectedPair]:
    """Select the pair with the smallest difference of scores above 0.

    Parameters
    ----------
    scores : numpy.ndarray
        Scores of N responses, shape ``(N,)``.
    std : numpy.ndarray
        Standard deviations of the scores, shape ``(N,)``.
    rng : numpy.random.Generator
        Random number generator.
    """
    pairs = all_pairs(scores, std, rng)
    return sorted(pairs, key=lambda pair: scores[pair.better] - scores[pair.worse])[:1]


def most_confident(
    scores: ScoreArray, std: ScoreArray, rng: np.random.Generator
) -> list[SelectedPair]:
    """Select the pair whose order is most certain, with the probability of that order.

    The probability is that of a normal difference of independent scores. After Wang et al. (2024),
    UPO, section 3.3, with the reward's own uncertainty instead of that of dropout.

    Parameters
    ----------
    scores : numpy.ndarray
        Scores of N responses, shape ``(N,)``.
    std : numpy.ndarray
        Standard deviations of the scores, shape ``(N,)``.
    rng : numpy.random.Generator
        Random number generator.
    """
    pairs = [
        SelectedPair(pair.better, pair.worse, _order_probability(scores, std, pair))
        for pair in all_pairs(scores, std, rng)
    ]
    return sorted(pairs, key=lambda pair: -pair.probability)[:1]


def _ordered(scores: ScoreArray, better: int, worse: int) -> list[SelectedPair]:
    """Return the pair unless the scores are equal."""
    return [SelectedPair(better, worse)] if scores[better] > scores[worse] else []


def _order_probability(scores: ScoreArray, std: ScoreArray, pair: SelectedPair) -> float:
    difference_std = float(np.hypot(std[pair.better], std[pair.worse]))
    difference = float(scores[pair.better] - scores[pair.worse])
    return float(ndtr(difference / difference_std)) if difference_std > 0 else 1.0


PAIR_SELECTORS = Registry[PairSelector]("pair selection")
"""All pair selectors by name."""

PAIR_SELECTORS.register("best-worst", best_worst)
PAIR_SELECTORS.register("two", random_pair)
PAIR_SELECTORS.register("all", all_pairs)
PAIR_SELECTORS.register("small-margin", small_margin)
PAIR_SELECTORS.register("certain", most_confident)


def get_pair_selector(name: str) -> PairSelector:
    """Return the pair selector of that name, or raise ``UnknownName``."""
    return PAIR_SELECTORS.get(name)
