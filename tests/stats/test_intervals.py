import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from backtalk.stats import (
    InvalidValues,
    bounded_interval,
    bradley_terry,
    cohen_kappa,
    compare_to_baselines,
    exact_interval,
    ips,
    length_controlled,
    mean_interval,
    paired_difference,
    score_interval,
    t_interval,
    wilson_interval,
    win_rate,
)
from backtalk.stats.distributions import expit, normal_quantile
from backtalk.stats.intervals.bootstrap import bootstrap
from backtalk.stats.intervals.clusters import moments, totals

unit = st.lists(st.floats(0, 1).map(lambda x: round(x, 9)), min_size=2, max_size=30)


@pytest.mark.parametrize(("won", "n"), [(0, 10), (3, 10), (10, 10), (117, 200)])
def test_wilson_is_scipys(won, n):
    theirs = stats.binomtest(won, n).proportion_ci(method="wilson")
    assert (wilson_interval(won, n).low, wilson_interval(won, n).high) == pytest.approx(
        theirs, abs=1e-12
    )


def acceptability(won, n, probability):
    """Blaker's, as he defines it: by the tails of the counts themselves."""
    counts = np.arange(n + 1)
    tails = np.minimum(
        stats.binom.cdf(counts, n, probability), stats.binom.sf(counts - 1, n, probability)
    )
    return stats.binom.pmf(counts, n, probability)[tails <= tails[won] * (1 + 1e-12)].sum()


@given(st.integers(1, 40), st.data())
def test_exact_holds_what_blakers_test_does_not_reject(n, data):
    won = data.draw(st.integers(0, n))
    result = exact_interval(won, n)
    below, above = np.linspace(0, result.low, 30)[:-1], np.linspace(result.high, 1, 30)[1:]
    outside = [*(below if won else []), *(above if won < n else [])]
    assert all(acceptability(won, n, probability) <= 0.05 + 1e-7 for probability in outside)
    for end, inward in ((result.low, 1e-7), (result.high, -1e-7)):
        if 0 < end < 1:
            assert acceptability(won, n, end + inward) > 0.05 - 1e-4


@given(st.integers(1, 40), st.data())
def test_exact_lies_within_clopper_and_pearson_and_turns_with_the_sides(n, data):
    won = data.draw(st.integers(0, n))
    widest = stats.binomtest(won, n).proportion_ci(method="exact")
    result, turned = exact_interval(won, n), exact_interval(n - won, n)
    assert widest.low - 1e-9 <= result.low <= result.value <= result.high <= widest.high + 1e-9
    assert (turned.low, turned.high) == pytest.approx((1 - result.high, 1 - result.low))


def test_student_is_scipys():
    values = np.random.default_rng(0).normal(size=17)
    theirs = stats.ttest_1samp(values, 0).confidence_interval(0.9)
    ours = t_interval(values, level=0.9)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high))


def test_percentile_bootstrap_is_scipys_up_to_its_draws():
    values = np.random.default_rng(0).exponential(size=60)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=1
    ).confidence_interval
    ours = bootstrap(values, method="percentile", resamples=20_000)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


@pytest.mark.parametrize("won", [0, 1, 4, 8, 12])
def test_bounded_is_clopper_and_pearson_for_zeros_and_ones(won):
    theirs = stats.binomtest(won, 12).proportion_ci(method="exact")
    ours = bounded_interval(np.repeat([1.0, 0.0], [won, 12 - won]))
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


def test_clusters_of_one_are_no_clusters():
    values = np.random.default_rng(0).beta(1, 2, 15)
    for interval in (t_interval, score_interval):
        alone, apart = interval(values), interval(values, np.arange(15))
        assert (alone.low, alone.high) == pytest.approx((apart.low, apart.high))


def test_copying_each_value_in_its_cluster_tells_nothing_new():
    values = np.random.default_rng(0).beta(2, 2, 20)
    once = mean_interval(values)
    copied = mean_interval(np.repeat(values, 5), np.repeat(np.arange(20), 5))
    assert (copied.low, copied.high) == pytest.approx((once.low, once.high))
    assert (copied.n, copied.clusters) == (100, 20)
    assert mean_interval(np.repeat(values, 5)).width < 0.6 * copied.width


def test_cluster_variance_is_cr2_by_matrices():
    """Bell and McCaffrey's formulas with the hat matrix written out, for an intercept alone."""
    rng = np.random.default_rng(3)
    labels = np.repeat(np.arange(6), [1, 2, 3, 5, 8, 2])
    values = rng.normal(size=21)
    variance, vectors = 0.0, []
    hat = np.full((21, 21), 1 / 21)
    for label in range(6):
        mine = np.flatnonzero(labels == label)
        size, power = np.linalg.eigh(np.eye(len(mine)) - hat[np.ix_(mine, mine)])
        adjust = power @ np.diag(size**-0.5) @ power.T
        weights = np.ones(len(mine)) @ adjust / 21
        variance += float(weights @ (values - values.mean())[mine]) ** 2
        vectors.append((np.eye(21) - hat)[:, mine] @ weights)
    eigen = np.linalg.eigvalsh(np.stack(vectors) @ np.stack(vectors).T)
    known = moments(totals(values, labels))
    assert known.variance == pytest.approx(variance)
    assert known.freedom == pytest.approx(eigen.sum() ** 2 / (eigen**2).sum())


@given(unit)
def test_the_interval_of_bounded_values_lies_on_the_scale_about_the_mean(values):
    result = mean_interval(values)
    assert 0 <= result.low <= result.value + 1e-9
    assert result.value - 1e-9 <= result.high <= 1
    assert result.width > 0


@given(unit)
def test_the_interval_moves_with_the_scale(values):
    here = mean_interval(values)
    there = mean_interval(np.array(values) * 6 - 3, bounds=(-3, 3))
    assert (there.low, there.high) == pytest.approx((here.low * 6 - 3, here.high * 6 - 3), abs=1e-4)


@pytest.mark.parametrize(
    ("values", "options", "method"),
    [
        ([0, 1] * 10, {}, "exact"),
        ([0, 1] * 25, {}, "wilson"),
        ([0] * 90 + [1] * 10, {}, "exact"),
        ([0, 1] * 25, {"clusters": list(range(25)) * 2}, "score"),
        ([0, 0.5, 1] * 20, {}, "score"),
        ([0.0, 5.0, 2.0], {"bounds": None}, "t"),
        (list(range(30)), {"bounds": None}, "studentised bootstrap"),
    ],
)
def test_the_method_follows_the_values(values, options, method):
    assert mean_interval(values, **options).method == method


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: mean_interval([]), "empty"),
        (lambda: mean_interval([0.5, np.nan]), "position 1"),
        (lambda: mean_interval([0.5, 1.5]), r"outside \[0, 1\]"),
        (lambda: mean_interval([[0.5]]), "2 dimensions"),
        (lambda: mean_interval([0.5], level=95), "level 95"),
        (lambda: mean_interval([0.5], method="magic"), "'magic'"),
        (lambda: mean_interval([0.5, 1], method="wilson"), "zeros and ones"),
        (lambda: mean_interval([1, 2], bounds=None, method="score"), "needs bounds"),
        (lambda: mean_interval([2, 2], bounds=None), "do not vary"),
        (lambda: mean_interval([0, 1], [1]), "clusters has shape"),
        (lambda: bootstrap([1, 1, 1]), "Fewer than two values differ"),
        (lambda: bootstrap([1, 2], method="jack"), "'jack'"),
        (lambda: wilson_interval(3, 2), "3 successes in 2"),
        (lambda: paired_difference([1, 0], [1]), "lengths differ"),
        (lambda: win_rate([0.5, -0.1]), "preferences has -0.1"),
        (lambda: win_rate([10**400, 0]), "position 0, which is not a number"),
        (lambda: mean_interval([0, 1], level="0.95"), "level '0.95'"),
        (lambda: mean_interval([0, 1], bounds=(0,)), "not two numbers"),
        (lambda: mean_interval([0, 1], bounds=("0", "1")), "not two numbers"),
        (lambda: mean_interval([0, 1], bounds=(None, 1)), "not two numbers"),
        (lambda: score_interval([0, 1], bounds=None), "not two numbers"),
        (lambda: exact_interval(1.5, 2), "whole numbers"),
        (lambda: exact_interval("1", 2), "whole numbers"),
        (lambda: exact_interval(1, float("inf")), "whole numbers"),
        (lambda: ips([0, 1], [1, 1], clip="x"), "clipped to 'x'"),
        (lambda: cohen_kappa([1, 2], [1, 2], categories=5), "categories is 5"),
        (lambda: bradley_terry(["a"], ["b"], [1], items=5), "items is 5"),
        (lambda: bradley_terry(["a"], ["b"], [1], ridge="x"), "ridge is 'x'"),
        (lambda: bradley_terry(["a"], ["b"], [1], ridge=float("inf")), "ridge is inf"),
        (lambda: length_controlled([0, 1], [float("inf"), 1], [1, 2]), "no length"),
        (lambda: length_controlled([0, 1], [3, 1], [1, 2], guard=None), "guard is None"),
        (lambda: compare_to_baselines([["a", None]], [[1, 0]], [0]), "no text"),
        (lambda: compare_to_baselines([["a", "b"]], [[1, 0]], [None]), "not an index"),
    ],
)
def test_invalid_arguments_are_rejected(call, says):
    with pytest.raises(InvalidValues, match=says):
        call()


def test_a_win_rate_counts_ties_as_half():
    result = win_rate([1, 1, 0.5, 0.5, 0, 0.8])
    assert (result.wins, result.ties, result.losses) == (3, 2, 1)
    assert result.estimate.value == pytest.approx(3.8 / 6)


def test_pairs_are_narrower_than_their_sides_where_prompts_matter():
    rng = np.random.default_rng(0)
    prompt = rng.random(80)
    first, second = np.clip(prompt + 0.05, 0, 1), prompt
    together = paired_difference(first, second)
    assert together.excludes(0)
    assert together.width < 0.3 * win_rate(first).estimate.width


@given(st.floats(-700, 700))
def test_expit_has_no_overflow_and_is_odd(x):
    assert expit(x) + expit(-x) == pytest.approx(1)
    assert normal_quantile(0.975) == pytest.approx(1.959964, abs=1e-6)


def test_unequal_clusters_widen_the_bootstrap_and_equal_ones_do_not():
    """Half of each deviation is shared by its cluster; sizes have a Pareto tail."""
    rng = np.random.default_rng(21)
    covered = []
    for _ in range(200):
        sizes = np.minimum(np.ceil(rng.pareto(1.5, 20) + 1), 60).astype(int)
        labels = np.repeat(np.arange(20), sizes)
        values = rng.standard_t(3, 20)[labels] + rng.standard_t(3, labels.size)
        result = bootstrap(values, labels, resamples=300)
        student = mean_interval(values, labels, bounds=None, method="t")
        assert result.low <= student.low <= student.high <= result.high
        covered.append(not result.excludes(0))
    assert np.mean(covered) >= 0.89
    values = rng.normal(size=60)
    single = bootstrap(values[::3])
    copied = bootstrap(np.repeat(values[::3], 3), np.repeat(np.arange(20), 3))
    assert copied.width == pytest.approx(single.width)
