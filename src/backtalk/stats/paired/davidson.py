"""Davidson's model of paired comparisons with ties: likelihood, derivatives and calibration.

With margin ``d = r(a) - r(b)`` and tie parameter ``nu >= 0``,

    P(a) = exp(d/2) / Z,   P(b) = exp(-d/2) / Z,   P(tie) = nu / Z,
    Z = exp(d/2) + exp(-d/2) + nu,

which is the Bradley-Terry model for ``nu = 0``. Davidson (1970), "On extending the Bradley-Terry
model to accommodate ties in paired comparison experiments", equation 2.4.

Outcomes are weights of shape ``(n, 3)`` for a, for b and for a tie. A comparison that counts once
sums to 1; a soft preference of 0.7 for a is ``(0.7, 0.3, 0)``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtalk.stats.validation import Floats

LARGEST_SCALE = 1e3
"""Scale that stands for infinity where margins separate the outcomes perfectly."""


class Derivatives(NamedTuple):
    """Derivatives of the log-likelihood of each comparison, each of shape ``(n,)``."""

    margin: Floats
    """First derivative by the margin."""
    log_nu: Floats
    """First derivative by ``log(nu)``."""
    margin_curvature: Floats
    """Negative second derivative by the margin."""
    log_nu_curvature: Floats
    """Negative second derivative by ``log(nu)``."""
    cross_curvature: Floats
    """Negative mixed derivative by the margin and ``log(nu)``."""


def probabilities(margin: Floats, nu: float = 0.0) -> Floats:
    """Return P(a), P(b) and P(tie), shape ``(n, 3)``, for margins of shape ``(n,)``."""
    return _probabilities(margin, np.log(nu) if nu > 0 else -np.inf)


def log_likelihood(margin: Floats, outcomes: Floats, nu: float = 0.0) -> float:
    """Return the log-likelihood of weighted outcomes, in nats.

    Parameters
    ----------
    margin : Floats
        Margin of each comparison, shape ``(n,)``.
    outcomes : Floats
        Weight of a, of b and of a tie, shape ``(n, 3)``.
    nu : float, default 0.0
        Tie parameter.
    """
    half = margin / 2
    ties = outcomes[:, 2].sum() * np.log(nu) if nu > 0 else 0.0
    decided = (outcomes[:, 0] - outcomes[:, 1]) @ half
    return float(decided + ties - outcomes.sum(axis=1) @ _log_normaliser(half, nu))


def gradient(margin: Floats, outcomes: Floats, nu: float = 0.0) -> Floats:
    """Return the derivative of the log-likelihood by each margin, shape ``(n,)``.

    Parameters
    ----------
    margin, outcomes, nu
        See :func:`log_likelihood`.
    """
    return _gradient(probabilities(margin, nu), outcomes)


def curvature(margin: Floats, outcomes: Floats, nu: float = 0.0) -> Floats:
    """Return the negative second derivative by each margin, shape ``(n,)``; never negative.

    Parameters
    ----------
    margin, outcomes, nu
        See :func:`log_likelihood`.
    """
    return _curvature(probabilities(margin, nu), outcomes)


def derivatives(margin: Floats, outcomes: Floats, log_nu: float = -np.inf) -> Derivatives:
    """Return the first and second derivatives by each margin and by ``log(nu)``.

    Parameters
    ----------
    margin : Floats
        Margin of each comparison, shape ``(n,)``.
    outcomes : Floats
        Weight of a, of b and of a tie, shape ``(n, 3)``.
    log_nu : float, default -inf
        Logarithm of the tie parameter.
    """
    p = _probabilities(margin, log_nu)
    tie, total = p[:, 2], outcomes.sum(axis=1)
    return Derivatives(
        margin=_gradient(p, outcomes),
        log_nu=outcomes[:, 2] - total * tie,
        margin_curvature=_curvature(p, outcomes),
        log_nu_curvature=total * tie * (1.0 - tie),
        cross_curvature=total * tie * (p[:, 1] - p[:, 0]) / 2,
    )


def fit_nu(margin: Floats, outcomes: Floats) -> float:
    """Return the maximum-likelihood tie parameter for fixed margins; 0 where nothing tied.

    At the maximum the expected number of ties equals the observed one.
    """
    from scipy.optimize import brentq  # noqa: PLC0415 - slow to import, and not always needed

    ties = float(outcomes[:, 2].sum())
    if ties == 0:
        return 0.0
    total = outcomes.sum(axis=1)

    def excess(log_nu: float) -> float:
        return float(total @ probabilities(margin, np.exp(log_nu))[:, 2]) - ties

    # With half a comparison decided, the likelihood has its maximum at a finite value.
    ties = min(ties, float(total.sum()) - 0.5)
    return float(np.exp(brentq(excess, -30, 30)))


def fit_temperature(margin: Floats, outcomes: Floats) -> tuple[float, float]:
    """Return the maximum-likelihood scale of the margins and the tie parameter at that scale.

    Platt scaling without an offset, because swapping the two items negates the margin. Guo et al.
    (2017), "On calibration of modern neural networks", section 4.2. The scale is 0 for margins
    that are unrelated or opposite to the outcomes.
    """
    scale, nu = 1.0, fit_nu(margin, outcomes)
    for _ in range(100):
        before = scale, nu
        scale = _fit_scale(margin, outcomes, nu)
        nu = fit_nu(scale * margin, outcomes)
        if np.allclose(before, (scale, nu), rtol=1e-8):
            break
    return scale, nu


def _fit_scale(margin: Floats, outcomes: Floats, nu: float) -> float:
    from scipy.optimize import brentq  # noqa: PLC0415 - slow to import, and not always needed

    def slope(scale: float) -> float:
        return float(gradient(scale * margin, outcomes, nu) @ margin)

    if slope(0.0) <= 0:
        return 0.0
    if slope(LARGEST_SCALE) >= 0:
        return LARGEST_SCALE
    return float(brentq(slope, 0.0, LARGEST_SCALE, xtol=1e-10))


def _probabilities(margin: Floats, log_nu: float) -> Floats:
    logits = np.stack([margin / 2, -margin / 2, np.full_like(margin, log_nu)], axis=1)
    exp_logits = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(exp_logits / exp_logits.sum(axis=1, keepdims=True))


def _gradient(p: Floats, outcomes: Floats) -> Floats:
    total = outcomes.sum(axis=1)
    return np.asarray((outcomes[:, 0] - outcomes[:, 1] - total * (p[:, 0] - p[:, 1])) / 2)


def _curvature(p: Floats, outcomes: Floats) -> Floats:
    decided = p[:, 0] + p[:, 1]
    return np.asarray(outcomes.sum(axis=1) * (decided - (p[:, 0] - p[:, 1]) ** 2) / 4)


def _log_normaliser(half: Floats, nu: float) -> Floats:
    log_z = np.logaddexp(half, -half)
    return np.asarray(np.logaddexp(log_z, np.log(nu)) if nu > 0 else log_z)
