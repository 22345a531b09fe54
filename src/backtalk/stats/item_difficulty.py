"""How hard each instruction is for all models alike."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.distributions import expit
from backtalk.stats.validation import Floats

RIDGES = tuple(float(ridge) for ridge in np.geomspace(0.03, 30.0, 10))
_FOLDS = 5
_LONGEST_STEP = 3.0
_WEAK = 1e-3


def difficulties(preferences: Floats, lengths: Floats, ridge: float) -> Floats:
    """Estimate what instructions have in common across models.

    Fits ``logit p = theta_m + phi_m l_mx + gamma_x`` jointly by penalised likelihood, the
    penalty being ``ridge / 2 * sum gamma_x²``. It is a Rasch model with a length term per
    model; fixing the factor of gamma at 1 is what makes its scale, and so the penalty, mean
    something.

    Parameters
    ----------
    preferences : Floats
        Shape (models, instructions), in [0, 1]; NaN where a model was not judged.
    lengths : Floats
        Same shape: the length term; its value does not matter where there is no preference.
    ridge : float
        Positive.

    Returns
    -------
    gamma
        Shape (instructions,); positive where the models do better. Zero where none was judged.
    """
    return _fit(preferences, lengths, ridge)[2]


def choose_ridge(preferences: Floats, lengths: Floats, seed: int) -> float:
    """Return the one of ``RIDGES`` that predicts left-out judgements best, in five folds.

    Arguments as for :func:`difficulties`. What is left out is single judgements, so that the
    difficulty of an instruction is learned from the other models' answers to it.
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


def _loss(preferences: Floats, lengths: Floats, ridge: float, left_out: NDArray[np.bool_]) -> float:
    theta, phi, gamma = _fit(np.where(left_out, np.nan, preferences), lengths, ridge)
    logits = theta[:, None] + phi[:, None] * np.nan_to_num(lengths) + gamma
    loss = np.logaddexp(0.0, logits) - np.nan_to_num(preferences) * logits
    return float(loss[left_out].sum())


def _fit(preferences: Floats, lengths: Floats, ridge: float) -> tuple[Floats, Floats, Floats]:
    """Newton's method; the instructions' block of the curvature is diagonal and eliminated.

    A penalty too weak to matter keeps theta and phi finite for a model that lost everything
    in one fold.
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
        own = weights.sum(0) + ridge
        pull = residuals.sum(0) - ridge * gamma
        shared = np.vstack([weights, weights * slopes])
        curvature = np.zeros((2 * models, 2 * models))
        curvature[at, at] = weights.sum(1) + _WEAK
        curvature[at, models + at] = curvature[models + at, at] = (weights * slopes).sum(1)
        curvature[models + at, models + at] = (weights * slopes**2).sum(1) + _WEAK
        force = np.concatenate(
            [residuals.sum(1) - _WEAK * theta, (residuals * slopes).sum(1) - _WEAK * phi]
        )
        step = np.linalg.solve(curvature - (shared / own) @ shared.T, force - shared @ (pull / own))
        ease = (pull - shared.T @ step) / own
        longest = max(float(np.abs(step).max()), float(np.abs(ease).max()))
        damping = min(1.0, _LONGEST_STEP / max(longest, 1e-300))
        theta, phi = theta + damping * step[:models], phi + damping * step[models:]
        gamma = gamma + damping * ease
        if longest < 1e-8:
            break
    return theta, phi, gamma
