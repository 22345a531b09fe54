"""Effects that models share in a length-controlled comparison: difficulties, length preference."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from backtalk.stats.item_difficulty import JointFit, choose_ridge, fit_jointly
from backtalk.stats.length_table import LengthTable
from backtalk.stats.validation import Floats

VERDICT_VARIANCE = 0.125
"""Variance of a verdict, p (1 - p), that the strength of the guard in the joint fit assumes."""


_GROUPS = 40
"""Largest number of joint fits; of more models, several are left out of each."""


class SharedEffects(NamedTuple):
    """Difficulty of each instruction, and mean coefficient of length; None without models."""

    difficulty: Floats
    length: float | None


class LeaveOneOut(NamedTuple):
    """Shared effects of all models, and those for each model without it; None for the baseline."""

    whole: SharedEffects
    without: list[SharedEffects | None]
    ridge: float | None


def shared_effects(
    table: LengthTable, known: Floats | None, *, guard: float, ridge: float | None, seed: int
) -> LeaveOneOut:
    """Estimate the effects that models share, from all of them and for each from the others.

    Models that are the baseline itself are left out. Of more than 40 models, up to
    ``ceil(models / 40)`` are left out together.

    Parameters
    ----------
    table : LengthTable
        Comparisons.
    known : Floats, optional
        Known difficulties, shape (models, instructions).
    guard : float
        Weight of the guard. The length coefficients are drawn to their mean as strongly as the
        guard will draw them.
    ridge : float, optional
        Penalty on the difficulties. Default: chosen by cross-validation.
    seed : int
        Seed of the cross-validation folds.
    """
    contenders = table.contenders()
    without: list[SharedEffects | None] = [None] * len(table.models)
    if len(contenders) < 2:
        gamma = np.zeros(table.outcomes.shape) if known is None else known
        for number in contenders:
            without[number] = SharedEffects(gamma[number], None)
        return LeaveOneOut(SharedEffects(gamma[0], None), without, None)
    outcomes, terms = table.outcomes[contenders], table.terms[contenders]
    fixed = None if known is None else known[contenders]
    shrinkage = guard * VERDICT_VARIANCE * table.spread() ** 2
    if known is not None:
        ridge = None
    elif ridge is None:
        ridge = choose_ridge(outcomes, terms, shrinkage=shrinkage, seed=seed)
    whole = fit_jointly(outcomes, terms, ridge=ridge, shrinkage=shrinkage, fixed=fixed)
    group = np.arange(len(contenders)) % _GROUPS
    for left_out in range(min(_GROUPS, len(contenders))):
        others = group != left_out
        fit = fit_jointly(
            outcomes[others],
            terms[others],
            ridge=ridge,
            shrinkage=shrinkage,
            fixed=None if fixed is None else fixed[others],
            start=JointFit(whole.quality[others], whole.length[others], whole.difficulty),
        )
        length = _mean_length(outcomes[others], fit)
        for number in np.array(contenders)[~others]:
            without[number] = SharedEffects(
                fit.difficulty if known is None else known[number], length
            )
    gamma = whole.difficulty if known is None else known[0]
    return LeaveOneOut(SharedEffects(gamma, _mean_length(outcomes, whole)), without, ridge)


def _mean_length(outcomes: Floats, fit: JointFit) -> float:
    """Return the mean length coefficient, weighted by the number of judgements."""
    return float(np.average(fit.length, weights=(~np.isnan(outcomes)).sum(1)))
