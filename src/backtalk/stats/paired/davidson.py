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

SLOPE_STD = 1.0
"""Default standard deviation of the prior on the logarithm of a calibration slope."""


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


def fit_calibration(
    margin: Floats, outcomes: Floats, *, slope_std: float = SLOPE_STD
) -> tuple[float, float]:
    """Return the slope that makes margins log-odds, and the tie parameter at that slope.

    Platt scaling without an offset, because swapping the two items negates the margin: Platt
    (1999), "Probabilistic outputs for support vector machines and comparisons to regularized
    likelihood methods", equation 1. The slope is the posterior mode under a log-normal prior with
    median 1, which leaves the margins as they are. It is positive and finite, also where the
    margins separate the outcomes perfectly; there the maximum of the likelihood is infinite.

    Parameters
    ----------
    margin : Floats
        Margin of each comparison, shape ``(n,)``, by a model that was not fitted to it.
    outcomes : Floats
        Weight of a, of b and of a tie, shape ``(n, 3)``.
    slope_std : float, default 1.0
        Standard deviation of the prior on the slope's logarithm.
    """
    slope, nu = 1.0, fit_nu(margin, outcomes)
    for _ in range(100):
        before = slope, nu
        slope = _fit_slope(margin, outcomes, nu, slope_std)
        nu = fit_nu(slope * margin, outcomes)
        if np.allclose(before, (slope, nu), rtol=1e-8):
            break
    return slope, nu


_REACH = 10.0
"""Largest absolute value of the logarithm of a slope."""


def _fit_slope(margin: Floats, outcomes: Floats, nu: float, std: float) -> float:
    from scipy.optimize import minimize_scalar  # noqa: PLC0415 - slow to import

    def loss(log_slope: float) -> float:
        likelihood = log_likelihood(np.exp(log_slope) * margin, outcomes, nu)
        return 0.5 * (log_slope / std) ** 2 - likelihood

    # The likelihood is concave in the slope, but not in its logarithm.
    grid = np.linspace(-_REACH, _REACH, 41)
    best = float(grid[int(np.argmin([loss(point) for point in grid]))])
    step = float(grid[1] - grid[0])
    result = minimize_scalar(
        loss, bounds=(best - step, best + step), method="bounded", options={"xatol": 1e-9}
    )
    return float(np.exp(result.x))


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
