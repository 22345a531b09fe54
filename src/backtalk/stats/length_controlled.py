"""Length-controlled win rate: the win rate if answers were as long as the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from backtalk.errors import UnknownName
from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.length_guard import Guard, expected_guard, no_guard, recorded_guard
from backtalk.stats.length_regression import LengthRegression, regress
from backtalk.stats.length_shared import SharedEffects, shared_effects
from backtalk.stats.length_table import LengthTable, length_table
from backtalk.stats.validation import Floats, check_level, float_array, is_number


@dataclass(frozen=True)
class LengthControlled:
    """Length-controlled win rates of one or more models against one baseline.

    Attributes
    ----------
    models
        Names of the models.
    estimates
        Length-controlled win rate of each model, in [0, 1].
    quality, length, difficulty
        Coefficients theta, phi and psi of each model, on the logit scale, per unit of the length
        term and of gamma. phi is negative if the judge prefers longer answers. psi is 0 if
        there is one model without known difficulties. All are 0 for the baseline itself.
    difficulties
        Difficulty gamma of each instruction, estimated from all models or as passed; None if
        there is one model without known difficulties.
    length_effect
        Length coefficient that the guard draws to; None without a guard, or with recorded
        variants of the baseline.
    guard
        Weight of the guard.
    ridge
        Penalty on the difficulties; None if they are not estimated.
    instructions
        Number of instructions that the win rates are averaged over.
    """

    models: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    quality: tuple[float, ...]
    length: tuple[float, ...]
    difficulty: tuple[float, ...]
    difficulties: tuple[float, ...] | None = field(repr=False)
    length_effect: float | None
    guard: float
    ridge: float | None
    instructions: int

    def __getitem__(self, model: str) -> Estimate:
        if model not in self.models:
            raise UnknownName.among("model", model, self.models)
        return self.estimates[self.models.index(model)]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def length_controlled(
    preferences: ArrayLike,
    lengths: ArrayLike,
    baseline_lengths: ArrayLike,
    *,
    models: Sequence[str] | None = None,
    variants: Sequence[str] = (),
    difficulties: ArrayLike | None = None,
    length_effect: float | None = None,
    guard: float = 0.2,
    ridge: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> LengthControlled:
    """Estimate win rates without the effect of answer length.

    For each model ``logit p = theta + phi tanh(d / sd(d)) + psi gamma_x`` is fitted over
    instructions x, where ``d`` is the baseline's length minus the model's. The win rate is the
    mean of ``expit(theta + psi gamma_x)`` over all instructions, judged or not (Dubois et al.
    2024, arXiv 2404.04475, section 3).

    A model can make phi large by its choice of which answers are short. The guard of AlpacaEval 2
    prevents that: it adds comparisons of the baseline with its own longer and shorter variants.
    Their quality is fixed at 0, so they draw phi and psi to the effects of length and difficulty
    alone. Without recorded variants the guard uses expected outcomes, at the mean phi of the other
    models and at psi = 1. With one model and none of these, there is no guard.

    Parameters
    ----------
    preferences : ArrayLike
        Probability that the model's answer beats the baseline's, shape (models, instructions), or
        (instructions,) for one model; NaN if it was not judged.
    lengths : ArrayLike
        Lengths of the models' answers, same shape, in any one unit.
    baseline_lengths : ArrayLike
        Lengths of the baseline's answers, shape (instructions,).
    models : sequence of str, optional
        Names of the models. Default: numbers from 0.
    variants : sequence of str, optional
        Models that are the baseline with longer or shorter answers. Default: none is.
    difficulties : ArrayLike, optional
        Known difficulties gamma, on the scale on which psi is 1 for an average model, shape
        (instructions,) or (models, instructions). By default they are estimated: for each model
        from other models, so that no outcome is used twice. A single model then has no difficulty
        term.
    length_effect : float, optional
        Length coefficient that the guard draws to. Default: see above.
    guard : float, default 0.2
        Weight of the guard, relative to the model's own comparison of each instruction. 0 gives
        the unregularised maximum likelihood fit.
    ridge : float, optional
        Penalty on the difficulties. Default: chosen by cross-validation.
    level : float, default 0.95
        Nominal coverage. Intervals are for the population that the instructions are drawn
        from: a sandwich variance (HC3, MacKinnon and White 1985) of the fit and of the mean,
        on the logit scale, with Student's quantile. The shift that the guard caused counts as an
        error, so the interval is wide where the guard decides. If one instruction accounts for
        more than 45 % of the variance, at most 3 degrees of freedom are used.
    seed : int, default 0
        Seed of the cross-validation folds.

    Raises
    ------
    NotIdentified
        If a model won or lost all comparisons, or its wins and losses are separated by length.
    InvalidValues
        If shapes differ, or a preference lies outside [0, 1].
    UnknownName
        If a variant is none of the models.
    """
    check_level(level)
    if not is_number(guard) or guard < 0:
        raise InvalidValues(f"guard is {guard!r}", "Pass a weight of 0 or more, such as 0.2")
    table = length_table(preferences, lengths, baseline_lengths, models)
    for variant in variants:
        if variant not in table.models:
            raise UnknownName.among("variant", variant, table.models)
    known = None if difficulties is None else _known(difficulties, table)
    shared = shared_effects(table, known, guard=guard, ridge=ridge, seed=seed)
    fits = []
    for number, name in enumerate(table.models):
        outcomes, effects = table.outcomes[number], shared.without[number]
        if effects is None:
            fits.append(_baseline_regression(outcomes, level))
            continue
        if length_effect is not None:
            effects = effects._replace(length=length_effect)
        features = np.column_stack([table.terms[number], effects.difficulty])
        rows = _guard(table, variants, ~np.isnan(outcomes), effects, guard)
        fits.append(regress(outcomes, features, rows, level, name))
    effect = shared.whole.length if length_effect is None else length_effect
    estimated = known is not None or shared.ridge is not None
    return LengthControlled(
        models=table.models,
        estimates=tuple(fit.estimate for fit in fits),
        quality=tuple(float(fit.coefficients[0]) for fit in fits),
        length=tuple(float(fit.coefficients[1]) for fit in fits),
        difficulty=tuple(float(fit.coefficients[2]) for fit in fits),
        difficulties=tuple(shared.whole.difficulty.tolist()) if estimated else None,
        length_effect=None if guard == 0 or variants else effect,
        guard=guard,
        ridge=shared.ridge,
        instructions=table.outcomes.shape[1],
    )


def _guard(
    table: LengthTable,
    variants: Sequence[str],
    judged: NDArray[np.bool_],
    effects: SharedEffects,
    weight: float,
) -> Guard:
    """Return the guard on the instructions on which a model was judged."""
    gamma = effects.difficulty[judged]
    if weight == 0:
        return no_guard()
    if variants:
        rows = [table.models.index(variant) for variant in variants]
        outcomes, terms = table.outcomes[rows][:, judged], table.terms[rows][:, judged]
        return recorded_guard(outcomes, terms, gamma, weight)
    if effects.length is None:
        return no_guard()
    return expected_guard(effects.length, table.spread(), gamma, weight)


def _baseline_regression(outcomes: Floats, level: float) -> LengthRegression:
    """Return the win rate of the baseline against itself, which is 1/2 by definition."""
    count = int((~np.isnan(outcomes)).sum())
    estimate = Estimate(0.5, 0.5, 0.5, level, count, None, "baseline itself")
    return LengthRegression(estimate, np.zeros(3))


def _known(difficulties: ArrayLike, table: LengthTable) -> Floats:
    known = float_array(difficulties, "difficulties")
    shape = table.outcomes.shape
    if known.shape not in {shape, shape[1:]} or not np.isfinite(known).all():
        raise InvalidValues(
            f"difficulties has shape {known.shape}, or a missing value, for {shape[1]} "
            "instructions",
            "Give one number per instruction, or one per model and instruction",
        )
    return np.broadcast_to(known, shape)
