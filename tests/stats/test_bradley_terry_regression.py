"""Bradley-Terry regression recovers what generated the data, and agrees with other libraries."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression

from backtalk.stats.paired import bradley_terry_regression as bradley_terry
from backtalk.stats.paired import davidson


def simulate(n, weights, *, nu=0.0, reliability=None, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, len(weights)))
    actor = np.zeros(n, int) if reliability is None else rng.integers(len(reliability), size=n)
    beta = 1.0 if reliability is None else np.asarray(reliability)[actor]
    p = davidson.probabilities(beta * (x @ weights), nu)
    outcomes = np.eye(3)[(rng.random((n, 1)) > p.cumsum(axis=1)).sum(axis=1)]
    return x, outcomes, actor


def one_block(d):
    return np.zeros(d, dtype=int)


def test_it_is_ridge_logistic_regression_where_the_precision_is_given():
    x, outcomes, _ = simulate(300, np.array([1.0, -2.0, 0.0]))
    fitted = bradley_terry.fit_regression(
        x, outcomes, blocks=one_block(3), precision=np.array([4.0])
    )
    peer = LogisticRegression(C=1 / 4.0, fit_intercept=False, tol=1e-10, max_iter=1000)
    peer.fit(x, outcomes[:, 0])
    np.testing.assert_allclose(fitted.weights, peer.coef_[0], atol=1e-5)
    p = peer.predict_proba(x)[:, 1]
    hessian = (x.T * (p * (1 - p))) @ x + 4 * np.eye(3)
    np.testing.assert_allclose(fitted.covariance, np.linalg.inv(hessian), atol=1e-6)


def test_soft_preferences_are_fractions_of_wins():
    x, _, _ = simulate(200, np.array([1.0, 1.0]), seed=3)
    p = 1 / (1 + np.exp(-x @ [0.5, -0.5]))
    soft = np.column_stack([p, 1 - p, 0 * p])
    fitted = bradley_terry.fit_regression(x, soft, blocks=one_block(2), precision=np.array([1e-6]))
    np.testing.assert_allclose(fitted.weights, [0.5, -0.5], atol=1e-4)


def test_weights_ties_and_blocks_are_recovered():
    true = np.concatenate([np.full(3, 1.5), np.zeros(10)])
    x, outcomes, _ = simulate(5000, true, nu=0.8, seed=1)
    blocks = np.repeat([0, 1], [3, 10])
    fitted = bradley_terry.fit_regression(x, outcomes, blocks=blocks)
    assert fitted.converged
    np.testing.assert_allclose(fitted.weights, true, atol=0.15)
    assert fitted.nu == pytest.approx(0.8, rel=0.1)
    assert fitted.precision[1] > 50 * fitted.precision[0], "the useless block is shrunk away"


def test_the_evidence_finds_a_better_precision_than_the_start():
    x, outcomes, _ = simulate(200, np.random.default_rng(5).normal(0, 0.3, 40), seed=5)
    result = bradley_terry.fit_regression(x, outcomes, blocks=one_block(40))
    for factor in (0.1, 10):
        refit = bradley_terry.fit_regression(
            x, outcomes, blocks=one_block(40), precision=factor * result.precision
        )
        assert refit.log_evidence < result.log_evidence


def test_reliabilities_are_recovered_also_of_the_careless_and_the_contrary():
    reliability = [1.4, 1.0, 0.0, -0.8]
    x, outcomes, actor = simulate(8000, np.array([1.5, -1.0]), reliability=reliability, seed=2)
    fitted = bradley_terry.fit_regression(
        x, outcomes, blocks=one_block(2), annotators=actor, reliability_std=1.0
    )
    ratio = fitted.reliability / fitted.reliability[1]
    np.testing.assert_allclose(ratio, reliability, atol=0.2)
    pooled = bradley_terry.fit_regression(x, outcomes, blocks=one_block(2))
    truth = x @ [1.5, -1.0]

    def correct(fit):
        return np.mean((x @ fit.weights > 0) == (truth > 0))

    assert correct(fitted) >= correct(pooled)


@pytest.mark.parametrize("std", [0.1, 0.5, 2.0])
def test_a_reliability_is_the_mode_of_likelihood_and_prior(std):
    """Compared with a search over the written-out posterior, for annotators of few comparisons."""
    rng = np.random.default_rng(4)
    margin = rng.normal(0, 1.5, 60)
    annotator = np.array([0] * 40 + [1] * 15 + [2] * 5)
    right = np.where(annotator == 2, margin < 0, margin > 0)
    outcomes = np.stack([right, ~right, np.zeros(60)], axis=1).astype(float)
    result = bradley_terry._reliability(margin, outcomes, annotator, count=4, nu=0.0, std=std)
    for j in range(3):
        sign = np.where(right, 1, -1)[annotator == j] * margin[annotator == j]

        def loss(beta, sign=sign):
            return np.logaddexp(0, -beta * sign).sum() + (beta - 1) ** 2 / (2 * std**2)

        best = minimize_scalar(loss, bounds=(-60, 60), method="bounded", options={"xatol": 1e-8})
        assert result[j] == pytest.approx(best.x, abs=1e-4)
    assert result[3] == 1


def test_few_comparisons_move_a_reliability_as_far_as_the_prior_allows():
    x, outcomes, _ = simulate(600, np.array([2.0, -1.0]), seed=5)
    annotators = np.zeros(600, dtype=int)
    annotators[:4] = 1
    outcomes[:4] = outcomes[:4][:, [1, 0, 2]]  # the second always contradicts
    fits = [
        bradley_terry.fit_regression(
            x, outcomes, blocks=one_block(2), annotators=annotators, reliability_std=std
        ).reliability[1]
        for std in (0.01, 0.5, 3.0)
    ]
    assert fits[0] == pytest.approx(1, abs=0.02)
    assert fits[2] < fits[1] - 0.3 < fits[0]


def test_a_start_may_have_more_annotators_than_the_comparisons():
    x, outcomes, actor = simulate(400, np.array([1.5, -1.0]), reliability=[1.2, 0.8, 1.0], seed=2)
    start = bradley_terry.fit_regression(x, outcomes, blocks=one_block(2), annotators=actor)
    rows = actor < 2
    part = bradley_terry.fit_regression(
        x[rows], outcomes[rows], blocks=one_block(2), annotators=actor[rows], start=start
    )
    alone = bradley_terry.fit_regression(
        x[rows], outcomes[rows], blocks=one_block(2), annotators=actor[rows]
    )
    np.testing.assert_allclose(part.weights, alone.weights, rtol=0.05)


def test_the_posterior_covers_the_truth_as_often_as_it_says():
    inside = total = 0
    for seed in range(200):
        true = np.random.default_rng(1000 + seed).normal(0, 1, 4)
        x, outcomes, _ = simulate(150, true, seed=seed)
        fitted = bradley_terry.fit_regression(
            x, outcomes, blocks=one_block(4), precision=np.array([1.0])
        )
        std = np.sqrt(np.diag(fitted.covariance))
        inside += np.sum(np.abs(fitted.weights - true) < 1.96 * std)
        total += 4
    assert 0.93 <= inside / total <= 0.97


def test_swapping_every_comparison_changes_nothing():
    x, outcomes, actor = simulate(300, np.array([1.0, -1.0]), nu=0.5, reliability=[1, 1], seed=4)
    here = bradley_terry.fit_regression(x, outcomes, blocks=one_block(2), annotators=actor)
    there = bradley_terry.fit_regression(
        -x, outcomes[:, [1, 0, 2]], blocks=one_block(2), annotators=actor
    )
    np.testing.assert_allclose(here.weights, there.weights)
    assert here.log_evidence == pytest.approx(there.log_evidence)
