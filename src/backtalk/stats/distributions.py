"""Quantiles and tail areas of the distributions that intervals are made of."""

from __future__ import annotations

from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.validation import Floats


def _special() -> Any:
    from scipy import special  # noqa: PLC0415 - slow to import, and not always needed

    return special


def normal_quantile(probability: float) -> float:
    """Quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def t_quantile(probability: float, freedom: ArrayLike) -> Floats:
    """Quantile of Student's t with ``freedom`` degrees of freedom, of any shape."""
    return np.asarray(_special().stdtrit(freedom, probability), dtype=float)


def beta_cdf(first: ArrayLike, second: ArrayLike, at: ArrayLike) -> Floats:
    """P(X <= at) for X ~ Beta(first, second); arguments broadcast."""
    return np.asarray(_special().betainc(first, second, at), dtype=float)


def expit(logits: ArrayLike) -> Floats:
    """The logistic function, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=float))))
