"""Difficulty of each instruction, estimated jointly from the judgements of several models."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backtalk.stats.distributions import expit
from backtalk.stats.validation import Floats

RIDGES = tuple(float(ridge) for ridge in np.geomspace(0.03, 30.0, 10))
_FOLDS = 5
_MAX_STEP = 3.0
_WEAK_RIDGE = 1e-3


class JointFit(NamedTuple):
    """Joint fit of several models: ``logit p = quality_m + length_m l_mx + difficulty_x``.

    Attributes
    ----------
    quality, length
        Shape (models,).
    difficulty
        Shape (instructions,), or that of known difficulties. A positive one means that the models
        do better than usual.
    """

    quality: Floats
    length: Floats
    difficulty: Floats


def fit_jointly(
    preferences: Floats,
    lengths: Floats,
    *,
    ridge: float | None,
    shrinkage: float = 0.0,
    fixed: Floats | None = None,
    start: JointFit | None = None,
    tolerance: float = 1e-8,
) -> JointFit:
    """Fit qualities, length coefficients and difficulties by penalised likelihood.

    It is a Rasch model with a length term per model. The penalty is ``ridge / 2`` times the sum of
    squared difficulties, and ``shrinkage / 2`` times that of the squared deviations of the length
    coefficients from their mean, both weighted by the number of judgements. The factor of the
    difficulty is fixed at 1, which sets its scale.

    Parameters
    ----------
    preferences : Floats
        Shape (models, instructions), in [0, 1]; NaN if a model was not judged.
    lengths : Floats
        Length terms, same shape; ignored where the preference is NaN.
    ridge : float, optional
        Penalty on the difficulties, above 0; not used if they are fixed.
    shrinkage : float, default 0
        Penalty on the deviations of the length coefficients, per judgement.
    fixed : Floats, optional
        Known difficulties, shape (models, instructions). They are not changed.
    start : JointFit, optional
        Start of Newton's method. Default: zeros.
    tolerance : float, default 1e-8
        Longest step after which Newton's method ends.
    """
    judged = ~np.isnan(preferences)
    outcomes = np.where(judged, preferences, 0.0)
    slopes = np.where(judged, lengths, 0.0)
    models, instructions = preferences.shape
    theta, phi, gamma = start or (np.zeros(models), np.zeros(models), np.zeros(instructions))
    gamma = gamma if fixed is None else fixed
    counts = judged.sum(1)
    deviations = shrinkage * (np.diag(counts) - np.outer(counts, counts) / counts.sum())
    for _ in range(100):
        probabilities = expit(theta[:, None] + phi[:, None] * slopes + gamma)
        weights = np.where(judged, probabilities * (1.0 - probabilities), 0.0)
        residuals = np.where(judged, outcomes - probabilities, 0.0)
        curvature = _model_curvature(weights, slopes)
        curvature[models:, models:] += deviations
        score = np.concatenate([residuals.sum(1), (residuals * slopes).sum(1) - deviations @ phi])
        score -= _WEAK_RIDGE * np.concatenate([theta, phi])
        if fixed is None and ridge is not None:
            diagonal = weights.sum(0) + ridge
            gamma_score = residuals.sum(0) - ridge * gamma
            shared = np.vstack([weights, weights * slopes])
            step = np.linalg.solve(
                curvature - (shared / diagonal) @ shared.T,
                score - shared @ (gamma_score / diagonal),
            )
            gamma_step = (gamma_score - shared.T @ step) / diagonal
        else:
            step, gamma_step = np.linalg.solve(curvature, score), np.zeros(1)
        longest = max(float(np.abs(step).max()), float(np.abs(gamma_step).max()))
        damping = min(1.0, _MAX_STEP / max(longest, 1e-300))
        theta, phi = theta + damping * step[:models], phi + damping * step[models:]
        gamma = gamma + damping * gamma_step
        if longest < tolerance:
            break
    return JointFit(theta, phi, gamma)


def _model_curvature(weights: Floats, slopes: Floats) -> Floats:
    """Return the models' block of the curvature, which a weak penalty keeps regular.

    Without the penalty, a model that lost all comparisons of a fold would have no finite quality.
    """
    models = len(weights)
    at = np.arange(models)
    curvature = np.zeros((2 * models, 2 * models))
    curvature[at, at] = weights.sum(1) + _WEAK_RIDGE
    curvature[at, models + at] = curvature[models + at, at] = (weights * slopes).sum(1)
    curvature[models + at, models + at] = (weights * slopes**2).sum(1) + _WEAK_RIDGE
    return curvature


def choose_ridge(
    preferences: Floats, lengths: Floats, *, shrinkage: float = 0.0, seed: int = 0
) -> float:
    """Return the penalty in ``RIDGES`` that predicts held-out judgements best, in five folds.

    Single judgements are held out, so the difficulty of an instruction is learned from the other
    models' answers to it.

    Parameters
    ----------
    preferences, lengths, shrinkage
        See :func:`fit_jointly`.
    seed : int, default 0
        Seed of the folds.
    """
    judged = ~np.isnan(preferences)
    fold = np.random.default_rng(seed).integers(_FOLDS, size=preferences.shape)
    losses = np.zeros(len(RIDGES))
    for number in range(_FOLDS):
        held_out = judged & (fold == number)
        training = np.where(held_out, np.nan, preferences)
        fit = None
        for index, ridge in enumerate(RIDGES):
            fit = fit_jointly(
                training, lengths, ridge=ridge, shrinkage=shrinkage, start=fit, tolerance=1e-4
            )
            losses[index] += _loss(preferences, lengths, fit, held_out)
    return RIDGES[int(np.argmin(losses))]


def _loss(
    preferences: Floats, lengths: Floats, fit: JointFit, held_out: NDArray[np.bool_]
) -> float:
    logits = fit.quality[:, None] + fit.length[:, None] * np.nan_to_num(lengths) + fit.difficulty
    loss = np.logaddexp(0.0, logits) - np.nan_to_num(preferences) * logits
    return float(loss[held_out].sum())
