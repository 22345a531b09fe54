"""Which of several scored answers to compare: rules that make preferences of scores."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from backtalk.errors import UnknownName

Array = NDArray[np.float64]


@dataclass(frozen=True)
class SelectedPair:
    """Two answers of a prompt, and how probable it is that the first is the better one."""

    better: int
    worse: int
    probability: float = 1.0


Rule = Callable[[Array, Array, np.random.Generator], list[SelectedPair]]
"""A function of the scores, their standard deviations (0 where unknown), and luck."""


def best_worst(scores: Array, _std: Array, _probability: np.random.Generator) -> list[SelectedPair]:
    """Compare the best with the worst: Dong et al. (2024), RLHF Workflow, section 3.2."""
    return _one(scores, int(scores.argmax()), int(scores.argmin()))


def random_pair(scores: Array, _std: Array, rng: np.random.Generator) -> list[SelectedPair]:
    """Compare two at random, as where only two are drawn: Guo et al. (2024), OAIF, section 3."""
    one, other = rng.choice(len(scores), 2, replace=False).tolist()
    return _one(scores, *((one, other) if scores[one] >= scores[other] else (other, one)))


def all_pairs(scores: Array, _std: Array, _probability: np.random.Generator) -> list[SelectedPair]:
    """Compare each with each other one that has another score."""
    return [pair for i, j in combinations(np.argsort(-scores).tolist(), 2)
            for pair in _one(scores, i, j)]  # fmt: skip


def small_margin(scores: Array, std: Array, rng: np.random.Generator) -> list[SelectedPair]:
    """Compare the two whose scores are closest and not equal."""
    pairs = all_pairs(scores, std, rng)
    return sorted(pairs, key=lambda pair: scores[pair.better] - scores[pair.worse])[:1]


def most_confident(scores: Array, std: Array, rng: np.random.Generator) -> list[SelectedPair]:
    """Compare the two whose order is surest, and say how sure it is.

    The probability is that of a normal difference of independent scores. After Wang et al. (2024),
    UPO, section 3.3, with the reward's own uncertainty in the place of dropout's.
    """
    results = [
        SelectedPair(pair.better, pair.worse, _probability(scores, std, pair))
        for pair in all_pairs(scores, std, rng)
    ]
    return sorted(results, key=lambda pair: -pair.probability)[:1]


def _one(scores: Array, better: int, worse: int) -> list[SelectedPair]:
    return [SelectedPair(better, worse)] if scores[better] > scores[worse] else []


def _probability(scores: Array, std: Array, pair: SelectedPair) -> float:
    spread = float(np.hypot(std[pair.better], std[pair.worse]))
    gap = float(scores[pair.better] - scores[pair.worse])
    return float(ndtr(gap / spread)) if spread > 0 else 1.0


PAIR_SELECTORS: dict[str, Rule] = {
    "best-worst": best_worst,
    "two": random_pair,
    "all": all_pairs,
    "small-margin": small_margin,
    "certain": most_confident,
}
"""Every rule by name."""


def find_pairing(name: str) -> Rule:
    """Return a rule by name, or raise ``UnknownName``."""
    if name not in PAIR_SELECTORS:
        raise UnknownName.among("rule of pairing", name, list(PAIR_SELECTORS))
    return PAIR_SELECTORS[name]
