"""Statistics, against the libraries that they are tested with."""

from __future__ import annotations

import choix
import krippendorff
import numpy as np

from backtalk.stats import bradley_terry, krippendorff_alpha
from benchmarks.measure import Measured, side_by_side

ITEMS, COMPARISONS = 50, 20_000
RATED, RATERS = 2_000, 5


def measure() -> list[Measured]:
    """A ranking of items, and the agreement of raters."""
    rng = np.random.default_rng(0)
    strength = rng.normal(size=ITEMS)
    one = rng.integers(ITEMS, size=COMPARISONS)
    other = (one + rng.integers(1, ITEMS, size=COMPARISONS)) % ITEMS
    wins = rng.random(COMPARISONS) < 1 / (1 + np.exp(strength[other] - strength[one]))
    data = [(i, j) if w else (j, i) for i, j, w in zip(one, other, wins, strict=True)]
    truth = rng.integers(3, size=RATED)
    wrong = rng.random((RATERS, RATED)) < 0.3
    ratings = np.where(wrong, rng.integers(3, size=(RATERS, RATED)), truth).astype(float)
    return [
        side_by_side(
            "rank by Bradley-Terry",
            f"{COMPARISONS:,} comparisons of {ITEMS} items",
            lambda: bradley_terry(one, other, wins.astype(float)),
            lambda: choix.opt_pairwise(ITEMS, data, method="Newton-CG"),
            peer="choix",
            note="ours also gives every strength its interval",
        ),
        side_by_side(
            "Krippendorff's alpha",
            f"{RATERS} raters, {RATED:,} items",
            lambda: krippendorff_alpha(ratings.T),
            lambda: krippendorff.alpha(ratings, level_of_measurement="nominal"),
            peer="krippendorff",
            note="ours also gives the interval, by leaving out each item in turn",
        ),
    ]
