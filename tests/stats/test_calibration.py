import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from sklearn.metrics import log_loss as their_log_loss

from backtalk.stats import InvalidValues, brier, calibration_error, log_loss, reliability_curve

pairs = st.lists(st.tuples(st.floats(0, 1), st.integers(0, 1)), min_size=2, max_size=40)


@given(pairs)
@pytest.mark.parametrize("binning", ["width", "mass"])
def test_brier_is_scikit_learns_and_its_parts_add_up(binning, rows):
    predicted, outcomes = np.transpose(rows)
    result = brier(predicted, outcomes, binning=binning)
    assert result.estimate.value == pytest.approx(
        brier_score_loss(outcomes, predicted, pos_label=1)
    )
    parts = result.reliability - result.resolution + result.uncertainty + result.remainder
    assert parts == pytest.approx(result.estimate.value)


def test_brier_needs_no_remainder_where_bins_hold_one_probability():
    result = brier([0.2, 0.2, 0.8, 0.8, 0.8], [0, 1, 1, 1, 0])
    assert result.remainder == pytest.approx(0, abs=1e-12)


@given(pairs)
def test_calibration_error_is_the_sum_over_bins(rows):
    predicted, outcomes = np.transpose(rows)
    numbers = np.minimum((predicted * 10).astype(int), 9)
    gaps = [abs((predicted - outcomes)[numbers == number].sum()) for number in range(10)]
    result = calibration_error(predicted, outcomes, draws=5)
    assert result.value == pytest.approx(sum(gaps) / len(predicted))


def test_wrong_probabilities_are_rejected_and_right_ones_only_biased():
    rng = np.random.default_rng(0)
    predicted = rng.random(400)
    right = calibration_error(predicted, rng.random(400) < predicted)
    wrong = calibration_error(predicted, rng.random(400) < predicted**3)
    assert right.value == pytest.approx(right.by_chance, abs=0.03)
    assert right.value < right.chance_95 < wrong.value


def test_log_loss_is_scikit_learns_and_refuses_the_impossible():
    rng = np.random.default_rng(0)
    predicted, outcomes = rng.random(50), rng.integers(0, 2, 50)
    assert log_loss(predicted, outcomes).value == pytest.approx(their_log_loss(outcomes, predicted))
    with pytest.raises(InvalidValues, match="Item 1 happened"):
        log_loss([0.5, 0.0], [1, 1])
    assert log_loss([0.5, 0.0], [1, 1], floor=0.01).high <= -np.log(0.01)


@pytest.mark.parametrize("binning", ["width", "mass"])
def test_the_curve_holds_every_item_once_in_order(binning):
    rng = np.random.default_rng(0)
    predicted = rng.beta(0.3, 0.3, 97)
    curve = reliability_curve(predicted, rng.random(97) < predicted, binning=binning)
    assert sum(point.n for point in curve) == 97
    assert [point.predicted for point in curve] == sorted(point.predicted for point in curve)
    assert all(point.observed.low <= point.observed.value <= point.observed.high for point in curve)


def test_invalid_arguments_are_rejected():
    with pytest.raises(InvalidValues, match="neither 0 nor 1"):
        calibration_error([0.5], [0.5])
    with pytest.raises(InvalidValues, match="0 bins"):
        brier([0.5], [1], bins=0)
    with pytest.raises(InvalidValues, match="binning"):
        brier([0.5], [1], binning="even")
