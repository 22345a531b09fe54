"""Difficulty of each instruction, estimated jointly from the judgements of several models."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.distributions import expit
from backtalk.stats.validation import Floats

RIDGES = tuple(float(ridge) for ridge in np.geomspace(0.03, 30.0, 10))
_FOLDS = 5
_MAX_STEP = 3.0
_WEAK_RIDGE = 1e-3


def difficulties(preferences: Floats, lengths: Floats, ridge: float) -> Floats:
    """Estimate the part of the win logit that an instruction shares across models.

    Fits ``logit p = theta_m + phi_m l_mx + gamma_x`` jointly by penalised likelihood, with the
    penalty ``ridge / 2 * sum gamma_x²``. It is a Rasch model with a length term per model. The
    factor of gamma is fixed at 1, which sets the scale of gamma and of the penalty.

    Parameters
    ----------
    preferences : Floats
        Shape (models, instructions), in [0, 1]; NaN if a model was not judged.
    lengths : Floats
        Length terms, same shape; ignored where the preference is NaN.
    ridge : float
        Penalty, above 0.

    Returns
    -------
    Floats
        gamma, shape (instructions,); positive if the models do better than usual, 0 if no model
        was judged.
    """
    return _fit(preferences, lengths, ridge)[2]


def choose_ridge(preferences: Floats, lengths: Floats, seed: int) -> float:
    """Return the penalty in ``RIDGES`` that predicts held-out judgements best, in five folds.

    Single judgements are held out, so the difficulty of an instruction is learned from the other
    models' answers to it.

    Parameters
    ----------
    preferences, lengths
        See :func:`difficulties`.
    seed : int
        Seed of the folds.
    """
    judged = ~np.isnan(preferences)
    fold = np.random.default_rng(seed).integers(_FOLDS, size=preferences.shape)
    losses = [
        sum(
            _loss(preferences, lengths, ridge, judged & (fold == number))
            for number in range(_FOLDS)
        )
        for ridge in RIDGES
    ]
    return RIDGES[int(np.argmin(losses))]


def _loss(preferences: Floats, lengths: Floats, ridge: float, held_out: NDArray[np.bool_]) -> float:
    theta, phi, gamma = _fit(np.where(held_out, np.nan, preferences), lengths, ridge)
    logits = theta[:, None] + phi[:, None] * np.nan_to_num(lengths) + gamma
    loss = np.logaddexp(0.0, logits) - np.nan_to_num(preferences) * logits
    return float(loss[held_out].sum())


def _fit(preferences: Floats, lengths: Floats, ridge: float) -> tuple[Floats, Floats, Floats]:
    """Return theta, phi and gamma by Newton's method.

    The instructions' block of the curvature is diagonal and is eliminated. A weak penalty keeps
    theta and phi finite for a model that lost all comparisons of a fold.
    """
    judged = ~np.isnan(preferences)
    outcomes = np.where(judged, preferences, 0.0)
    slopes = np.where(judged, lengths, 0.0)
    models, instructions = preferences.shape
    theta, phi, gamma = np.zeros(models), np.zeros(models), np.zeros(instructions)
    at = np.arange(models)
    for _ in range(100):
        probabilities = expit(theta[:, None] + phi[:, None] * slopes + gamma)
        weights = np.where(judged, probabilities * (1.0 - probabilities), 0.0)
        residuals = np.where(judged, outcomes - probabilities, 0.0)
        diagonal = weights.sum(0) + ridge
        gamma_score = residuals.sum(0) - ridge * gamma
        shared = np.vstack([weights, weights * slopes])
        curvature = np.zeros((2 * models, 2 * models))
        curvature[at, at] = weights.sum(1) + _WEAK_RIDGE
        curvature[at, models + at] = curvature[models + at, at] = (weights * slopes).sum(1)
        curvature[models + at, models + at] = (weights * slopes**2).sum(1) + _WEAK_RIDGE
        model_score = np.concatenate(
            [
                residuals.sum(1) - _WEAK_RIDGE * theta,
                (residuals * slopes).sum(1) - _WEAK_RIDGE * phi,
            ]
        )
        step = np.linalg.solve(
            curvature - (shared / diagonal) @ shared.T,
            model_score - shared @ (gamma_score / diagonal),
        )
        gamma_step = (gamma_score - shared.T @ step) / diagonal
        longest = max(float(np.abs(step).max()), float(np.abs(gamma_step).max()))
        damping = min(1.0, _MAX_STEP / max(longest, 1e-300))
        theta, phi = theta + damping * step[:models], phi + damping * step[models:]
        gamma = gamma + damping * gamma_step
        if longest < 1e-8:
            break
    return theta, phi, gamma
