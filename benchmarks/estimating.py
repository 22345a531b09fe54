"""Bradley-Terry ranking and Krippendorff's alpha, compared with choix and krippendorff."""

from __future__ import annotations

import choix
import krippendorff
import numpy as np

from backtalk.stats import bradley_terry, krippendorff_alpha
from benchmarks.measure import BenchmarkResult, side_by_side

ITEMS, COMPARISONS = 50, 20_000
RATED_ITEMS, RATERS = 2_000, 5


def measure() -> list[BenchmarkResult]:
    """Measure a Bradley-Terry ranking and an agreement coefficient."""
    rng = np.random.default_rng(0)
    strength = rng.normal(size=ITEMS)
    first = rng.integers(ITEMS, size=COMPARISONS)
    second = (first + rng.integers(1, ITEMS, size=COMPARISONS)) % ITEMS
    wins = rng.random(COMPARISONS) < 1 / (1 + np.exp(strength[second] - strength[first]))
    data = [(i, j) if w else (j, i) for i, j, w in zip(first, second, wins, strict=True)]
    truth = rng.integers(3, size=RATED_ITEMS)
    wrong = rng.random((RATERS, RATED_ITEMS)) < 0.3
    ratings = np.where(wrong, rng.integers(3, size=(RATERS, RATED_ITEMS)), truth).astype(float)
    return [
        side_by_side(
            "rank by Bradley-Terry",
            f"{COMPARISONS:,} comparisons of {ITEMS} items",
            lambda: bradley_terry(first, second, wins.astype(float)),
            lambda: choix.opt_pairwise(ITEMS, data, method="Newton-CG"),
            peer="choix",
            note="Backtalk also computes an interval for each strength",
        ),
        side_by_side(
            "Krippendorff's alpha",
            f"{RATERS} raters, {RATED_ITEMS:,} items",
            lambda: krippendorff_alpha(ratings.T),
            lambda: krippendorff.alpha(ratings, level_of_measurement="nominal"),
            peer="krippendorff",
            note="Backtalk also computes the jackknife interval",
        ),
    ]
