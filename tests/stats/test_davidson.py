"""Davidson's model against its definition, finite differences and known parameters."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from backtalk.stats.paired import davidson

margins = st.floats(-30, 30)
nus = st.just(0.0) | st.floats(0.01, 20)
weights = st.tuples(*[st.floats(0, 3)] * 3)


@given(margins, nus)
def test_the_probabilities_are_davidsons(margin, nu):
    a, b, tie = davidson.probabilities(np.array([margin]), nu)[0]
    better, worse = np.exp(margin / 2), np.exp(-margin / 2)
    z = better + worse + nu
    np.testing.assert_allclose([a, b, tie], [better / z, worse / z, nu / z], rtol=1e-9, atol=1e-300)


def test_without_ties_it_is_bradley_terry():
    margin = np.linspace(-5, 5, 11)
    p = davidson.probabilities(margin)
    np.testing.assert_allclose(p[:, 0], 1 / (1 + np.exp(-margin)))
    assert not p[:, 2].any()


@given(margins, weights, nus)
def test_swapping_the_two_swaps_their_probabilities_and_keeps_the_likelihood(margin, outcome, nu):
    here = davidson.probabilities(np.array([margin]), nu)[0]
    there = davidson.probabilities(np.array([-margin]), nu)[0]
    np.testing.assert_allclose(here[[1, 0, 2]], there)
    if nu == 0:
        outcome = (*outcome[:2], 0.0)
    swapped = (outcome[1], outcome[0], outcome[2])
    assert davidson.log_likelihood(np.array([margin]), np.array([outcome]), nu) == pytest.approx(
        davidson.log_likelihood(np.array([-margin]), np.array([swapped]), nu)
    )


@given(st.floats(-8, 8), weights, st.floats(0.05, 5))
def test_the_likelihood_and_its_derivatives_agree(margin, outcome, nu):
    d, o = np.array([margin]), np.array([outcome])
    logs = np.log(davidson.probabilities(d, nu)[0])
    assert davidson.log_likelihood(d, o, nu) == pytest.approx(float(logs @ o[0]), abs=1e-9)
    h = 1e-5
    up, down = (davidson.log_likelihood(d + s, o, nu) for s in (h, -h))
    assert davidson.gradient(d, o, nu)[0] == pytest.approx((up - down) / (2 * h), abs=1e-5)
    steeper, flatter = (davidson.gradient(d + s, o, nu)[0] for s in (h, -h))
    assert davidson.curvature(d, o, nu)[0] == pytest.approx(
        -(steeper - flatter) / (2 * h), abs=1e-5
    )
    assert davidson.curvature(d, o, nu)[0] >= 0


def drawn(margin, nu, rng):
    p = davidson.probabilities(margin, nu)
    return np.eye(3)[[rng.choice(3, p=row) for row in p]]


def test_the_tie_parameter_is_recovered_and_is_the_maximum():
    rng = np.random.default_rng(1)
    margin = rng.normal(0, 2, 20_000)
    outcomes = drawn(margin, 0.7, rng)
    result = davidson.fit_nu(margin, outcomes)
    assert result == pytest.approx(0.7, rel=0.05)
    best = minimize_scalar(
        lambda log_nu: -davidson.log_likelihood(margin, outcomes, np.exp(log_nu)),
        bounds=(-5, 5),
        method="bounded",
    )
    assert np.log(result) == pytest.approx(best.x, abs=1e-3)
    assert davidson.fit_nu(margin, outcomes * [1, 1, 0]) == 0


@pytest.mark.parametrize("true", [0.3, 1.0, 2.5])
def test_the_calibration_slope_is_recovered_with_the_ties(true):
    rng = np.random.default_rng(2)
    margin = rng.normal(0, 1.5, 20_000)
    outcomes = drawn(true * margin, 0.5, rng)
    slope, nu = davidson.fit_calibration(margin, outcomes)
    assert slope == pytest.approx(true, rel=0.05)
    assert nu == pytest.approx(0.5, rel=0.1)


def test_the_calibration_slope_is_the_mode_of_its_posterior():
    rng = np.random.default_rng(4)
    margin = rng.normal(0, 1.5, 30)
    outcomes = drawn(0.3 * margin, 0, rng)
    slope, _ = davidson.fit_calibration(margin, outcomes, slope_std=0.7)
    signed = margin * np.where(outcomes[:, 0] > 0, 1, -1)
    best = minimize_scalar(
        lambda u: np.log1p(np.exp(-np.exp(u) * signed)).sum() + (u / 0.7) ** 2 / 2,
        bounds=(-4, 4),
        method="bounded",
    )
    assert slope == pytest.approx(np.exp(best.x), rel=1e-3)


def test_margins_that_mislead_get_a_slope_near_nought():
    rng = np.random.default_rng(3)
    margin = rng.normal(size=500)
    outcomes = drawn(-margin, 0, rng)
    slope, nu = davidson.fit_calibration(margin, outcomes)
    assert 0 < slope < 0.05
    assert nu == 0
    assert davidson.fit_calibration(np.zeros(500), outcomes)[0] == pytest.approx(1)


@pytest.mark.parametrize("size", [0.01, 0.3, 5.0])
@pytest.mark.parametrize("count", [3, 16, 400])
def test_margins_that_separate_perfectly_get_a_moderate_slope(size, count):
    sign = np.where(np.arange(count) % 2, 1.0, -1.0)
    outcomes = np.column_stack([sign > 0, sign < 0, np.zeros(count)]).astype(float)
    slope, _ = davidson.fit_calibration(size * sign, outcomes)
    certainty = 1 / (1 + np.exp(-slope * size))
    assert 1 <= slope < 3 * count + 3
    # As certain as Laplace's rule of succession allows, unless the margins were certain already.
    assert certainty < max((count + 1) / (count + 2), 1 / (1 + np.exp(-1.2 * size))) + 0.01


def test_a_tie_parameter_is_finite_where_everything_ties():
    all_ties = np.tile([0.0, 0.0, 1.0], (5, 1))
    assert np.isfinite(davidson.fit_nu(np.ones(5), all_ties))
