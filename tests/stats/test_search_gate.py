"""The gate of a search holds its level over whole searches, and confirmations are unbiased."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtalk.stats import InvalidValues
from backtalk.stats.search_gate import (
    SearchGate,
    confirm_early,
    confirm_gain,
    log_evidence,
    plan_bet,
)

DIFFERENCES = st.lists(st.floats(-1, 1), min_size=1, max_size=30)


@given(DIFFERENCES)
def test_evidence_depends_on_no_order_and_grows_with_a_gain(differences):
    evidence = log_evidence(differences)
    assert evidence == pytest.approx(log_evidence(differences[::-1]), abs=1e-9)
    assert log_evidence([*differences, 1.0]) > evidence > log_evidence([*differences, -1.0])


def test_no_differences_are_no_evidence():
    assert log_evidence([]) == 0.0
    assert log_evidence([0.0] * 9) == pytest.approx(0.0)


def test_differences_outside_the_scale_are_refused():
    with pytest.raises(InvalidValues):
        log_evidence([1.5])


def test_evidence_is_the_mean_capital_of_fixed_bets():
    differences = [0.4, -0.2, 0.3]
    fractions = [0.95 / 2**k for k in range(8)]
    capital = np.mean([np.prod([1 + f * d for d in differences]) for f in fractions])
    assert log_evidence(differences) == pytest.approx(np.log(capital))


@pytest.mark.parametrize("skewed", [False, True])
def test_at_most_a_twentieth_of_peeking_searches_accepts_a_candidate_that_is_no_better(skewed):
    rng = np.random.default_rng(3)
    false = 0
    for _ in range(150):
        gate = SearchGate(candidates=20)
        draw = rng.random((20, 60))
        rows = np.where(draw < 0.05, -0.95, 0.05) if skewed else np.sign(draw - 0.5)
        false += any(gate.accepts(k + 1, rows[k, :n]) for k in range(20) for n in range(5, 60, 5))
    assert false / 150 <= 0.08


@pytest.mark.parametrize("candidates", [None, 20])
def test_shares_of_all_candidates_sum_to_no_more_than_the_level(candidates):
    gate = SearchGate(candidates=candidates)
    assert sum(gate.weight(k) for k in range(1, 10_000)) <= 1 + 1e-9


def test_strong_evidence_is_accepted_whatever_else_is_tried():
    assert SearchGate().accepts(20, [0.5] * 60)
    assert not SearchGate(candidates=5).accepts(6, [1.0] * 60)


@pytest.mark.parametrize("size", [10, 25, 100])
@pytest.mark.parametrize("kind", ["discrete", "continuous", "skewed"])
def test_confirmations_of_nothing_report_an_improvement_in_at_most_a_twentieth(size, kind):
    rng = np.random.default_rng([size, len(kind)])
    found = 0
    for _ in range(400):
        values = {
            "discrete": rng.integers(0, 2, size) - rng.integers(0, 2, size) + 0.0,
            "continuous": np.clip(rng.normal(0, 0.3, size), -1, 1),
            "skewed": np.where(rng.random(size) < 0.05, -0.95, 0.05),
        }[kind]
        found += confirm_gain(values, 0.1).improved
    # Three standard errors of a share of 0.05 in 400 searches.
    assert found / 400 <= 0.05 + 0.033


def test_a_confirmation_reports_the_optimism_of_the_search():
    found = confirm_gain([0.1, 0.2, 0.15, 0.12, 0.18] * 6, 0.4)
    assert found.improved
    assert found.optimism == pytest.approx(0.4 - 0.15)
    assert found.to_dict()["optimism"] == pytest.approx(0.25)


def test_equal_answers_confirm_nothing():
    assert not confirm_gain([0.0] * 50, 0.1).improved


def test_several_answers_to_a_prompt_are_no_further_prompts():
    values = np.repeat([0.3, -0.1, 0.2, 0.25, 0.1, 0.2], 10)
    alone = confirm_gain(values, 0.1)
    clustered = confirm_gain(values, 0.1, clusters=np.repeat(range(6), 10))
    assert clustered.gain.low < alone.gain.low
    assert clustered.gain.clusters == 6


@pytest.mark.parametrize("kind", ["discrete", "skewed"])
def test_early_looks_at_nothing_report_an_improvement_in_at_most_a_hundredth(kind):
    rng = np.random.default_rng(len(kind))
    found = 0
    for _ in range(300):
        values = {
            "discrete": rng.integers(0, 2, 40) - rng.integers(0, 2, 40) + 0.0,
            "skewed": np.where(rng.random(40) < 0.05, -0.95, 0.05),
        }[kind]
        looks = (confirm_early(values[:n], 0.5, 0.9) for n in range(4, 41, 4))
        found += any(look is not None for look in looks)
    # Three standard errors of a share of 0.01 in 300 searches.
    assert found / 300 <= 0.01 + 0.018


def test_an_early_confirmation_has_its_lower_limit_below_the_estimate():
    found = confirm_early([0.5, 0.3, 0.6, 0.4] * 6, 0.5, plan_bet([0.5, 0.4, 0.6, 0.5]))
    assert found.improved
    assert 0 < found.gain.low < found.gain.value == pytest.approx(0.45)
    assert confirm_early([0.5, 0.3, 0.6, 0.4], 0.5, 0.9) is None


def test_a_larger_limit_remains_for_the_end_if_nobody_looked_early():
    values = [0.1, 0.2, -0.05, 0.12, 0.18, 0.0] * 3
    looked, whole = (confirm_gain(values, 0.1, looked=looked) for looked in (True, False))
    assert looked.gain.low < whole.gain.low


def test_bets_are_planned_for_a_smaller_gain_than_that_of_the_search():
    assert plan_bet([1.0] * 5) == 0.95
    assert plan_bet([-0.5, 0.2]) == 0.0
    mean = 0.8 * 0.1
    assert plan_bet([0.6, -0.4]) == pytest.approx(mean / (0.25 + mean**2))
