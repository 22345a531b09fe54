"""Quantiles and distribution functions used by the intervals."""

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
    """Return a quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(probability)


def t_quantile(probability: float, freedom: ArrayLike) -> Floats:
    """Return a quantile of Student's t with ``freedom`` degrees of freedom, of any shape."""
    return np.asarray(_special().stdtrit(freedom, probability), dtype=float)


def beta_cdf(a: ArrayLike, b: ArrayLike, x: ArrayLike) -> Floats:
    """Return P(X <= x) for X ~ Beta(a, b); arguments broadcast.

    Parameters
    ----------
    a, b : ArrayLike
        Shape parameters, above 0.
    x : ArrayLike
        Argument, in [0, 1].
    """
    return np.asarray(_special().betainc(a, b, x), dtype=float)


def expit(logits: ArrayLike) -> Floats:
    """Return the logistic function of logits of any shape, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * np.asarray(logits, dtype=float))))
