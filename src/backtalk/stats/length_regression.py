"""Regression of one model's outcomes on length and difficulty, read at equal length."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.distributions import expit, t_quantile
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.intervals.clusters import DOMINANT
from backtalk.stats.length_guard import Guard
from backtalk.stats.logistic import CERTAIN, fit_logistic, is_separated
from backtalk.stats.validation import Floats


class _Rows(NamedTuple):
    """Comparisons of a model, the first ``own``, and of a guard."""

    features: Floats
    outcomes: Floats
    weights: Floats
    own: int


class LengthRegression(NamedTuple):
    """Win rate at equal length, and the coefficients theta, phi and psi, shape (3,)."""

    estimate: Estimate
    coefficients: Floats


def require_both_outcomes(outcomes: Floats, name: str) -> None:
    """Raise an error if a model was not judged, or if it won or lost all its comparisons."""
    answers = outcomes[~np.isnan(outcomes)]
    if answers.size == 0:
        raise InvalidValues(f"{name!r} was judged on no instruction", "Leave it out")
    if answers.min() > 1.0 - CERTAIN or answers.max() < CERTAIN:
        verb = "won" if answers[0] > 0.5 else "lost"
        raise NotIdentified(
            f"{name!r} {verb} all {answers.size} comparisons",
            "Use win_rate, which needs no fit",
        )


def regress(
    outcomes: Floats, features: Floats, guard: Guard, level: float, name: str
) -> LengthRegression:
    """Fit a model's outcomes, and predict its win rate at a length term of 0.

    Parameters
    ----------
    outcomes : Floats
        Shape (instructions,), NaN if not judged.
    features : Floats
        Length term and difficulty, shape (instructions, 2).
    guard : Guard
        Comparisons that share the coefficients of the features.
    level : float
        Nominal coverage of the interval.
    name : str
        Name of the model, for errors.
    """
    judged = ~np.isnan(outcomes)
    design = np.column_stack([np.ones(len(outcomes)), features])
    varies = np.ptp(np.vstack([design[judged, 1:], guard.features]), axis=0) > 0
    design = design[:, np.append(True, varies)]
    rows = _stack(design[judged], outcomes[judged], guard, varies)
    freedom = rows.own - design.shape[1]
    if freedom < 1:
        raise InvalidValues(
            f"{name!r} was judged on {rows.own} instructions", "Judge it on at least five"
        )
    if is_separated(rows.features, rows.outcomes):
        raise _separation_error(name)
    fitted = fit_logistic(rows.features, rows.outcomes, rows.weights)
    coefficients = np.zeros(3)
    coefficients[np.append(True, varies)] = fitted
    design[:, 1 : 1 + varies[0]] = 0.0
    equal = expit(design @ fitted)
    rate = float(equal.mean())
    if not 1e-12 < rate < 1.0 - 1e-12:
        raise _separation_error(name)
    slope = ((equal * (1.0 - equal))[:, None] * design).mean(0)
    total = (equal - rate) / len(equal)
    influence, shift = _influence(rows, fitted, slope)
    total[judged] += influence
    if (total**2).max() > DOMINANT * (total**2).sum():
        freedom = min(freedom, 3)
    error = np.sqrt((total**2).sum() + shift**2) / (rate * (1.0 - rate))
    reach = float(t_quantile(0.5 + level / 2, freedom) * error)
    centre = np.log(rate / (1.0 - rate))
    low, high = (float(expit(centre + sign * reach)) for sign in (-1.0, 1.0))
    estimate = Estimate(rate, low, high, level, rows.own, None, "sandwich, logit scale")
    return LengthRegression(estimate, coefficients)


def _stack(design: Floats, outcomes: Floats, guard: Guard, varies: NDArray[np.bool_]) -> _Rows:
    """Add the guard's comparisons, in which quality has no part."""
    added = np.column_stack([np.zeros(len(guard.outcomes)), guard.features[:, varies]])
    return _Rows(
        np.vstack([design, added]),
        np.concatenate([outcomes, guard.outcomes]),
        np.concatenate([np.ones(len(outcomes)), guard.weights]),
        len(outcomes),
    )


def _influence(rows: _Rows, fitted: Floats, slope: Floats) -> tuple[Floats, float]:
    """Return the influence of each of the model's outcomes, and the shift that the guard caused.

    The shift is that of one Newton step from the fit without the guard, which is exact for a
    quadratic likelihood.
    """
    probabilities = expit(rows.features @ fitted)
    variances = rows.weights * probabilities * (1.0 - probabilities)
    residuals = rows.weights * (rows.outcomes - probabilities)
    information = rows.features[:, :, None] * (rows.features * variances[:, None])[:, None, :]
    own, added = rows.features[: rows.own], rows.features[rows.own :]
    inverse = np.linalg.inv(information.sum(0))
    leverage = variances[: rows.own] * np.einsum("ni,ij,nj->n", own, inverse, own)
    influence = (own @ inverse @ slope) * residuals[: rows.own] / np.maximum(1.0 - leverage, 0.05)
    alone = np.linalg.pinv(information[: rows.own].sum(0), rcond=1e-10, hermitian=True)
    return influence, float(slope @ alone @ added.T @ residuals[rows.own :])


def _separation_error(name: str) -> NotIdentified:
    return NotIdentified(
        f"Length and difficulty alone separate the wins of {name!r} from its losses",
        "Judge more instructions, or use win_rate",
    )
