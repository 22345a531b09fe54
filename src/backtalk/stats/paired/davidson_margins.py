"""The Bradley-Terry model with ties, after Davidson: pure functions of the margin of two items.

With margin ``d = r(a) - r(b)`` and tie parameter ``nu >= 0``,

    P(a) = exp(d/2) / Z,   P(b) = exp(-d/2) / Z,   P(tie) = nu / Z,
    Z = exp(d/2) + exp(-d/2) + nu,

which is the Bradley-Terry model for ``nu = 0``. Davidson (1970), "On extending the Bradley-Terry
model to accommodate ties in paired comparison experiments", equation 2.4.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

Array = NDArray[np.float64]


def probabilities(margin: Array, nu: float = 0.0) -> Array:
    """Return P(a), P(b) and P(tie), shape ``(n, 3)``, for margins of shape ``(n,)``."""
    logits = np.stack(
        [margin / 2, -margin / 2, np.full_like(margin, np.log(nu) if nu > 0 else -np.inf)], axis=1
    )
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def log_likelihood(margin: Array, outcomes: Array, nu: float = 0.0) -> float:
    """Return the log-likelihood of outcome weights.

    Parameters
    ----------
    margin : Array
        Shape ``(n,)``.
    outcomes : Array
        How much of each comparison went to a, to b and to a tie, shape ``(n, 3)``. A comparison
        that counts once sums to 1; a soft preference of 0.7 for a is ``(0.7, 0.3, 0)``.
    nu : float, default 0.0
        The tie parameter.
    """
    half = margin / 2
    ties = outcomes[:, 2].sum() * np.log(nu) if nu > 0 else 0.0
    decided = (outcomes[:, 0] - outcomes[:, 1]) @ half
    return float(decided + ties - outcomes.sum(axis=1) @ _log_z(half, nu))


def gradient(margin: Array, outcomes: Array, nu: float = 0.0) -> Array:
    """Return the derivative of the log-likelihood by each margin, shape ``(n,)``."""
    p = probabilities(margin, nu)
    total = outcomes.sum(axis=1)
    return np.asarray((outcomes[:, 0] - outcomes[:, 1] - total * (p[:, 0] - p[:, 1])) / 2)


def curvature(margin: Array, outcomes: Array, nu: float = 0.0) -> Array:
    """Return the negative second derivative by each margin, shape ``(n,)``; never negative."""
    p = probabilities(margin, nu)
    decided = p[:, 0] + p[:, 1]
    return np.asarray(outcomes.sum(axis=1) * (decided - (p[:, 0] - p[:, 1]) ** 2) / 4)


def fit_nu(margin: Array, outcomes: Array) -> float:
    """Return the tie parameter of greatest likelihood for given margins; 0 where nothing tied.

    At the maximum the expected number of ties is the number there was.
    """
    ties = float(outcomes[:, 2].sum())
    if ties == 0:
        return 0.0
    total = outcomes.sum(axis=1)

    def excess(log_nu: float) -> float:
        return float(total @ probabilities(margin, np.exp(log_nu))[:, 2]) - ties

    # With half a comparison decided, the likelihood has its maximum at a finite value.
    ties = min(ties, float(total.sum()) - 0.5)
    return float(np.exp(brentq(excess, -30, 30)))


def fit_temperature(margin: Array, outcomes: Array) -> tuple[float, float]:
    """Return the scale on the margins, and the tie parameter with it, of greatest likelihood.

    Platt's scaling without an offset: a comparison the other way round has the negative margin.
    Guo et al. (2017), "On calibration of modern neural networks", section 4.2. Margins that say
    nothing, or the opposite of what came out, get the scale 0.
    """
    scale, nu = 1.0, fit_nu(margin, outcomes)
    for _ in range(100):
        before = scale, nu
        scale = _fit_scale(margin, outcomes, nu)
        nu = fit_nu(scale * margin, outcomes)
        if np.allclose(before, (scale, nu), rtol=1e-8):
            break
    return scale, nu


LARGEST_SCALE = 1e3
"""Where margins separate the outcomes perfectly, no finite scale has the greatest likelihood."""


def _fit_scale(margin: Array, outcomes: Array, nu: float) -> float:
    def slope(scale: float) -> float:
        return float(gradient(scale * margin, outcomes, nu) @ margin)

    if slope(0.0) <= 0:
        return 0.0
    if slope(LARGEST_SCALE) >= 0:
        return LARGEST_SCALE
    return float(brentq(slope, 0.0, LARGEST_SCALE, xtol=1e-10))


def _log_z(half: Array, nu: float) -> Array:
    z = np.logaddexp(half, -half)
    return np.asarray(np.logaddexp(z, np.log(nu)) if nu > 0 else z)
