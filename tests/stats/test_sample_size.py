"""Sample sizes follow the formula and have the power that they promise."""

import numpy as np
import pytest

from backtalk.stats import InvalidValues, required_sample_size, win_rate
from backtalk.stats.estimate import Estimate


def estimate(value, width, n, level=0.95):
    return Estimate(value, value - width / 2, value + width / 2, level, n, None, "test")


def test_the_formula_for_a_proportion():
    # Chow, Shao and Wang (2008), section 4.1.1: 0.2 against 0.5 with sd 0.4, by hand.
    deviation, quantile, power_quantile = 0.4, 1.959963984540054, 0.8416212335729143
    width = 2 * quantile * deviation / np.sqrt(100)
    expected = ((quantile + power_quantile) * deviation / 0.3) ** 2
    assert required_sample_size(estimate(0.2, width, 100), null=0.5) == np.ceil(expected)


def test_the_size_has_the_power():
    rng = np.random.default_rng(12)
    pilot = win_rate((rng.random(4_000) < 0.6).astype(float)).estimate
    size = required_sample_size(pilot, null=0.5)
    draws = (rng.random((400, size)) < pilot.value).astype(float)
    shown = [win_rate(row).estimate.low > 0.5 for row in draws[:200]]
    assert np.mean(shown) == pytest.approx(0.8, abs=0.1)


def test_a_smaller_effect_takes_more_and_none_takes_no_number():
    assert required_sample_size(estimate(0.55, 0.2, 50), null=0.5) > required_sample_size(
        estimate(0.6, 0.2, 50), null=0.5
    )
    assert required_sample_size(estimate(0.5, 0.2, 50), null=0.5) is None
    with pytest.raises(InvalidValues, match="power"):
        required_sample_size(estimate(0.6, 0.2, 50), null=0.5, power=1)
