"""Every interval has its nominal coverage, by simulation or by enumeration."""

import numpy as np
import pytest
from scipy.stats import binom

from backtalk.stats import accuracy, calibration_error, mean_interval, win_rate
from backtalk.stats.intervals.binomial import exact_limits
from tests.stats.cells import ALL
from tests.stats.coverage import measure

TRUTHS = np.linspace(0.0025, 0.9975, 400)


@pytest.mark.parametrize("cell", ALL, ids=lambda cell: cell.name)
def test_the_interval_covers_as_promised(cell):
    low, high = cell.promise
    assert low <= measure(cell, until_sure=True).coverage <= high


def enumerated(low, high, n):
    """The exact coverage at each truth of an interval for 0 to n wins."""
    probabilities = binom.pmf(np.arange(n + 1)[:, None], n, TRUTHS)
    return (probabilities * ((low[:, None] <= TRUTHS) & (high[:, None] >= TRUTHS))).sum(0)


@pytest.mark.parametrize("n", [1, 2, 5, 10, 20, 49])
def test_exact_limits_cover_95_percent_at_every_truth(n):
    coverage = enumerated(*exact_limits(np.arange(n + 1), n), n)
    assert coverage.min() >= 0.95 - 1e-9


@pytest.mark.parametrize("n", [10, 20, 49, 50, 75, 100, 200])
def test_win_rates_cover_93_percent_at_every_truth_and_are_not_wide_on_average(n):
    """Above 97 % on average only at n = 10, which has only eleven intervals."""
    rows = [np.repeat([1.0, 0.0], [won, n - won]) for won in range(n + 1)]
    results = [win_rate(row).estimate for row in rows]
    coverage = enumerated(
        np.array([f.low for f in results]), np.array([f.high for f in results]), n
    )
    assert coverage.min() >= 0.93
    assert coverage.mean() <= (0.975 if n == 10 else 0.97)


def test_accuracy_is_the_proportion_of_hits_with_the_same_interval():
    hits = np.array([1, 1, 0, 1, 0, 1, 1, 1, 1, 1])
    assert accuracy(hits, np.ones(10)) == mean_interval(hits)


@pytest.mark.parametrize("n", [20, 50, 200])
def test_perfect_calibration_is_rejected_in_5_percent_of_samples(n):
    rng = np.random.default_rng(n)
    rejected = []
    for seed in range(1500):
        predicted = rng.beta(1, 1, n)
        outcomes = rng.random(n) < predicted
        result = calibration_error(predicted, outcomes, bins=5, draws=200, seed=seed)
        rejected.append(result.value > result.chance_95)
    assert 0.03 <= np.mean(rejected) <= 0.07
