"""Sample size: the number of prompts that an effect needs to be shown."""

from __future__ import annotations

import math
from statistics import NormalDist

from backtalk.stats.estimate import Estimate, InvalidValues


def required_sample_size(estimate: Estimate, *, null: float, power: float = 0.8) -> int | None:
    """Return the number of values that show a mean of the estimated size to differ from a number.

    It is the number with which the two-sided test at the level of the estimate's interval has the
    power, by the normal approximation: ``((z_alpha/2 + z_power) * sd / effect) ** 2``. Chow, Shao
    and Wang (2008), "Sample size calculations in clinical research", section 3.1. The standard
    deviation follows from the width of the interval.

    Parameters
    ----------
    estimate : Estimate
        Estimate of the mean, such as a win rate, from ``n`` independent values.
    null : float
        Mean without an effect, such as 0.5 for a win rate.
    power : float, default 0.8
        Probability that the test shows the difference, in (0, 1).

    Returns
    -------
    int or None
        ``None`` if the estimate has no effect.

    Raises
    ------
    InvalidValues
        If the power is not in (0, 1).
    """
    if not 0 < power < 1:
        raise InvalidValues(f"The power is {power}", "Give a probability between 0 and 1")
    effect = abs(estimate.value - null)
    if effect == 0:
        return None
    quantile = NormalDist().inv_cdf((1 + estimate.level) / 2)
    deviation = estimate.width / 2 / quantile * math.sqrt(estimate.n)
    return math.ceil(((quantile + NormalDist().inv_cdf(power)) * deviation / effect) ** 2)
