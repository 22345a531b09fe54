"""Confidence sequences are valid at all times simultaneously, and not wider than necessary."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from backtalk.stats import wilson_interval
from backtalk.stats.estimate import InvalidValues
from backtalk.stats.intervals.confidence_sequences import (
    average_confidence_sequence,
    difference_confidence_sequence,
    mean_confidence_sequence,
    weighted_effect,
)

VALUES = st.lists(st.integers(0, 20).map(lambda n: n / 20), min_size=1, max_size=60)
FRACTIONS = 0.95 * 0.5 ** np.arange(10)
RATES = 0.95 * 0.5 ** np.arange(16)


def capital(values, mean, sign=1):
    """The capital of bets that each next value is above a mean; paths run along the last axis.

    An independent implementation, step by step.
    """
    values, mean = (values, mean) if sign > 0 else (1 - values, 1 - mean)
    bets = np.log1p(FRACTIONS[:, None, None] * (values[None] / mean - 1))
    return np.exp(np.cumsum(bets, axis=-1)).mean(0)


def misses(limits, rate, n):
    """The exact probability that one of n intervals for zeros and ones misses the true mean."""
    alive, missed = np.array([1.0]), 0.0
    for number in range(1, n + 1):
        probabilities = np.zeros(number + 1)
        probabilities[:-1] += alive * (1 - rate)
        probabilities[1:] += alive * rate
        low, high = limits(number, rate)
        out = np.ones(number + 1, dtype=bool)
        out[low : high + 1] = False
        missed += probabilities[out].sum()
        alive = np.where(out, 0.0, probabilities)
    return missed


def covering_counts(interval):
    """The range of numbers of ones whose interval covers the mean, from that of the step before."""
    ends = {"low": 0, "high": 0}

    def limits(number, rate):
        while interval(ends["low"], number).high < rate:
            ends["low"] += 1
        ends["high"] = max(ends["high"], ends["low"])
        while ends["high"] < number and interval(ends["high"] + 1, number).low <= rate:
            ends["high"] += 1
        return ends["low"], ends["high"]

    return limits


@pytest.mark.parametrize("rate", [0.5, 0.9])
def test_a_mean_peeked_at_after_every_value_is_covered(rate):
    def sequence(ones, number):
        return mean_confidence_sequence([1.0, 0.0], [float(ones), float(number - ones)])

    assert misses(covering_counts(sequence), rate, 150) <= 0.05


def test_an_interval_for_a_fixed_number_is_not():
    assert misses(covering_counts(wilson_interval), 0.5, 150) > 0.25


@pytest.mark.parametrize("mean", [0.2, 0.5])
def test_the_capital_is_a_fair_game(mean):
    """Its expectation over all outcomes is the initial capital."""
    values = np.array(list(product([0.0, 1.0], repeat=10)))
    probability = np.where(values == 1, mean, 1 - mean).prod(1)
    for sign in (1, -1):
        assert probability @ capital(values, mean, sign)[:, -1] == pytest.approx(1)


@given(VALUES, st.integers(1, 19).map(lambda n: n / 20))
def test_a_mean_is_left_out_where_a_fortune_was_made(values, mean):
    result = mean_confidence_sequence(values, level=0.9)
    fortunes = [capital(np.array([values]), mean, sign)[0, -1] for sign in (1, -1)]
    if max(fortunes) > 20 * (1 + 1e-9):
        assert result.excludes(mean)
    if max(fortunes) < 20 * (1 - 1e-9):
        assert not result.excludes(mean)


@given(VALUES)
def test_order_does_not_matter_and_the_other_end_is_the_mirror(values):
    result = mean_confidence_sequence(values)
    assert result == mean_confidence_sequence(values[::-1])
    mirrored = mean_confidence_sequence([1 - value for value in values])
    assert mirrored.low == pytest.approx(1 - result.high, abs=1e-9)
    assert 0 <= result.low <= result.value <= result.high <= 1


@given(VALUES, VALUES)
@settings(max_examples=15)
def test_a_difference_is_left_out_where_every_pair_of_means_with_it_made_a_fortune(a, b):
    result = difference_confidence_sequence(a, b, level=0.9)
    swapped = difference_confidence_sequence(b, a, level=0.9)
    assert (swapped.low, swapped.high) == (-result.high, -result.low)
    for difference in (result.low - 0.002, result.low + 0.002):
        if not -1 < difference < 1:
            continue
        means = np.linspace(max(0, -difference), min(1, 1 - difference), 400)[1:-1]
        above = [capital(np.array([a]), mean + difference)[0, -1] for mean in means]
        below = [capital(np.array([b]), mean, -1)[0, -1] for mean in means]
        fortune = (np.array(above) * np.array(below)).min()
        assert (fortune >= 20) == (difference < result.low) or fortune == pytest.approx(20, rel=0.1)


def thompson(rng, rates, *, paths, steps, floor=0.1):
    """Two arms under Thompson sampling: the arm of each step, and its value."""
    good = np.ones((paths, 2))
    bad = np.ones((paths, 2))
    arms, values = (np.zeros((paths, steps)) for _ in range(2))
    rows = np.arange(paths)
    for step in range(steps):
        spread = np.sqrt(good * bad / (good + bad) ** 2 / (good + bad + 1))
        mean = good / (good + bad)
        z = (mean[:, 1] - mean[:, 0]) / np.hypot(spread[:, 0], spread[:, 1])
        second = floor + (1 - 2 * floor) * stats.norm.cdf(z)
        arm = (rng.random(paths) < second).astype(int)
        value = (rng.random(paths) < rates[arm]).astype(float)
        good[rows, arm] += value
        bad[rows, arm] += 1 - value
        arms[:, step], values[:, step] = arm, value
    return arms, values


def stepwise(values, taken, mean, sign):
    """The capital of bets on the values of one arm."""
    neutral = np.where(taken, values, mean)
    return capital(neutral, mean, sign)


def test_a_difference_is_covered_while_thompson_sampling_allocates():
    rates = np.array([0.5, 0.6])
    arms, values = thompson(np.random.default_rng(1), rates, paths=1500, steps=300)
    up = stepwise(values, arms == 1, 0.6, 1) * stepwise(values, arms == 0, 0.5, -1)
    down = stepwise(values, arms == 1, 0.6, -1) * stepwise(values, arms == 0, 0.5, 1)
    missed = (np.maximum(up, down) >= 40).any(1).mean()
    assert missed <= 0.05


def effects(arms, values, probabilities):
    """Weighted effects, each centred on the mean of the values before it."""
    before = np.cumsum(values, 1) - values
    centre = np.where(
        np.arange(values.shape[1]) > 0, before / np.maximum(np.arange(values.shape[1]), 1), 0.5
    )
    return (2 * arms - 1) * (values - centre) / probabilities


def test_an_average_effect_is_covered_though_everything_drifts():
    """All answers get better while the second arm gets more of the traffic. The weighted sequence
    is not misled by that; the difference of the arms' means is."""
    rng = np.random.default_rng(2)
    steps = np.arange(600) / 600
    second = 0.1 + 0.8 * steps
    arms = (rng.random((500, 600)) < second).astype(float)
    values = (rng.random((500, 600)) < 0.2 + 0.6 * steps + 0.1 * arms).astype(float)
    weighted = effects(arms, values, np.where(arms == 1, second, 1 - second))
    total, squares = np.cumsum(weighted - 0.1, 1) / 10, np.cumsum(weighted**2, 1) / 100
    missed = np.zeros(len(arms), dtype=bool)
    for sign in (1, -1):
        logs = [rate * sign * total - (-np.log1p(-rate) - rate) * squares for rate in RATES]
        missed |= (np.logaddexp.reduce(logs) - np.log(16) >= np.log(40)).any(1)
    assert missed.mean() <= 0.05
    naive = [
        difference_confidence_sequence(row[arm == 1], row[arm == 0]).low > 0.1
        for row, arm in zip(values[:40], arms[:40], strict=True)
    ]
    assert np.mean(naive) > 0.3


def test_an_average_is_what_its_bound_says():
    rng = np.random.default_rng(3)
    numbers = rng.uniform(-2, 2, 500) + 0.5
    result = average_confidence_sequence(numbers.sum(), (numbers**2).sum(), 500, bound=2.5)
    assert result.low < 0.5 < result.high
    logs = [
        rate * (numbers.sum() - 500 * result.low) / 2.5
        - (-np.log1p(-rate) - rate) * (numbers**2).sum() / 6.25
        for rate in RATES
    ]
    assert np.exp(logs).mean() == pytest.approx(40)


def test_a_weighted_effect_is_expected_to_be_the_effect_whatever_the_guess():
    for centre in (0.0, 0.3, 1.0):
        expected = sum(
            p * weighted_effect(value, centre=centre, sign=sign, propensity=p)
            for p, value, sign in ((0.2, 0.9, 1), (0.8, 0.4, -1))
        )
        assert expected == pytest.approx(0.5)


@pytest.mark.parametrize(("ones", "n"), [(50, 100), (900, 1000), (10, 5000)])
def test_the_price_of_peeking_is_less_than_double(ones, n):
    """The exact interval for a fixed number lies inside, and is more than half as wide."""
    result = mean_confidence_sequence([1.0, 0.0], [ones, n - ones])
    fixed = stats.binomtest(ones, n).proportion_ci(0.95)
    assert result.low < fixed.low < fixed.high < result.high
    assert result.width < 2 * (fixed.high - fixed.low)


@pytest.mark.parametrize(("rate", "most"), [(0.6, 1800), (0.7, 500)])
def test_two_arms_are_told_apart_as_soon_as_the_documentation_says(rate, most):
    """With half of the feedback each, against a rate of one half; the median of simulations."""
    rng = np.random.default_rng(5)
    needed = []
    for _ in range(11):
        good, judged = np.zeros(2), np.zeros(2)
        while judged.sum() < 4000:
            more = rng.multinomial(100, [0.5, 0.5])
            good, judged = good + rng.binomial(more, [rate, 0.5]), judged + more
            counts = tuple((won, all_ - won) for won, all_ in zip(good, judged, strict=True))
            if difference_confidence_sequence([1.0, 0.0], [1.0, 0.0], counts=counts).low > 0:
                break
        needed.append(judged.sum())
    assert np.median(needed) <= most


def test_ratings_that_vary_little_have_a_narrow_sequence():
    rng = np.random.default_rng(4)
    steady = mean_confidence_sequence(np.round(rng.beta(50, 50, 500), 3))
    coins = mean_confidence_sequence(rng.integers(0, 2, 500).astype(float))
    assert steady.width < 0.4 * coins.width


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mean_confidence_sequence([]), "empty"),
        (lambda: mean_confidence_sequence([1.5]), "1.5"),
        (lambda: mean_confidence_sequence([0.5], [0.0]), "counts"),
        (lambda: mean_confidence_sequence([0.5], [1.0], level=1.0), "level"),
        (lambda: average_confidence_sequence(0.0, 0.0, 0, bound=1.0), "no number"),
        (lambda: average_confidence_sequence(5.0, 50.0, 2, bound=1.0), "within 1"),
    ],
)
def test_invalid_arguments_are_rejected(call, message):
    with pytest.raises(InvalidValues, match=message):
        call()
