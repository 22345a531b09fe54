"""Length-controlled win rate: the win rate if answers were as long as the baseline's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from backtalk.errors import UnknownName
from backtalk.stats.distributions import expit, t_quantile
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.intervals.clusters import DOMINANT
from backtalk.stats.item_difficulty import choose_ridge, difficulties
from backtalk.stats.logistic import CERTAIN, fit_logistic, is_separated
from backtalk.stats.validation import Floats, check_level


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
        term and of gamma. phi is positive if the judge prefers the baseline's answer when it is
        longer. psi is 0 if there is one model.
    ridge
        Penalty on the difficulties; None if there is one model.
    instructions
        Number of instructions that the win rates are averaged over.
    """

    models: tuple[str, ...]
    estimates: tuple[Estimate, ...]
    quality: tuple[float, ...]
    length: tuple[float, ...]
    difficulty: tuple[float, ...]
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
    ridge: float | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> LengthControlled:
    """Estimate win rates without the effect of answer length.

    For each model ``logit p = theta + phi tanh(d / sd(d)) + psi gamma_x`` is fitted by maximum
    likelihood over instructions x, where ``d`` is the baseline's length minus the model's. The
    win rate is the mean of ``expit(theta + psi gamma_x)`` over all instructions, judged or not
    (Dubois et al. 2024, arXiv 2404.04475, section 3). The difficulty ``gamma_x`` is estimated from
    the other models only (:mod:`backtalk.stats.item_difficulty`), so no model's outcomes are used
    twice. A single model has no difficulty term.

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
    ridge : float, optional
        Penalty on the difficulties. Default: chosen by cross-validation.
    level : float, default 0.95
        Nominal coverage. Intervals are for the population that the instructions are drawn
        from: a sandwich variance (HC3, MacKinnon and White 1985) of the fit and of the mean,
        on the logit scale, with Student's quantile. If one instruction accounts for more than
        45 % of the variance, at most 3 degrees of freedom are used.
    seed : int, default 0
        Seed of the cross-validation folds.

    Raises
    ------
    NotIdentified
        If a model won or lost all comparisons, or its wins and losses are separated by length.
    InvalidValues
        If shapes differ, or a preference lies outside [0, 1].
    """
    table, differences, names = _validate(preferences, lengths, baseline_lengths, models)
    terms = np.stack(
        [_length_term(row, name) for row, name in zip(differences, names, strict=True)]
    )
    single = len(names) == 1
    for row, term, name in zip(table, terms, names, strict=True):
        _require_identified(row, term[:, None], name)
    penalty = None if single else choose_ridge(table, terms, seed) if ridge is None else ridge
    fits = []
    for number, name in enumerate(names):
        features = terms[number][:, None]
        if penalty is not None:
            others = np.arange(len(names)) != number
            gamma = difficulties(table[others], terms[others], penalty)
            features = np.column_stack([features, gamma])
            _require_identified(table[number], features, name)
        fits.append(_fit_model(table[number], features, check_level(level), name))
    return LengthControlled(
        models=names,
        estimates=tuple(result.estimate for result in fits),
        quality=tuple(float(result.coefficients[0]) for result in fits),
        length=tuple(float(result.coefficients[1]) for result in fits),
        difficulty=tuple(0.0 if single else float(result.coefficients[2]) for result in fits),
        ridge=penalty,
        instructions=table.shape[1],
    )


class _ModelFit(NamedTuple):
    estimate: Estimate
    coefficients: Floats


def _fit_model(outcomes: Floats, features: Floats, level: float, name: str) -> _ModelFit:
    judged = ~np.isnan(outcomes)
    design = np.column_stack([np.ones(len(outcomes)), features])
    varies = np.ptp(design[judged], axis=0) > 0
    varies[0] = True
    seen, answers = design[judged][:, varies], outcomes[judged]
    freedom = len(answers) - seen.shape[1]
    if freedom < 1:
        raise InvalidValues(
            f"{name!r} was judged on {len(answers)} instructions", "Judge it on at least five"
        )
    coefficients = np.zeros(design.shape[1])
    coefficients[varies] = fit_logistic(seen, answers)
    probabilities = expit(seen @ coefficients[varies])
    weights = probabilities * (1.0 - probabilities)
    inverse = np.linalg.inv(seen.T @ (seen * weights[:, None]))
    leverage = weights * np.einsum("ni,ij,nj->n", seen, inverse, seen)
    equal_design = design.copy()
    equal_design[:, 1] = 0.0
    equal = expit(equal_design @ coefficients)
    rate = float(equal.mean())
    if not 1e-12 < rate < 1.0 - 1e-12:
        raise _separation_error(name)
    slope = ((equal * (1.0 - equal))[:, None] * equal_design[:, varies]).mean(0)
    influence = (equal - rate) / len(equal)
    residuals = (answers - probabilities) / np.maximum(1.0 - leverage, 0.05)
    influence[judged] += (seen * residuals[:, None]) @ inverse @ slope
    error = float(np.sqrt((influence**2).sum())) / (rate * (1.0 - rate))
    if (influence**2).max() > DOMINANT * (influence**2).sum():
        freedom = min(freedom, 3)
    reach = float(t_quantile(0.5 + level / 2, freedom)) * error
    centre = np.log(rate / (1.0 - rate))
    low, high = (float(expit(centre + sign * reach)) for sign in (-1.0, 1.0))
    estimate = Estimate(rate, low, high, level, len(answers), None, "sandwich, logit scale")
    return _ModelFit(estimate, coefficients)


def _length_term(differences: Floats, name: str) -> Floats:
    judged = differences[~np.isnan(differences)]
    spread = float(np.std(judged, ddof=1)) if judged.size > 1 else 0.0
    if spread == 0.0 and judged.size and judged[0] != 0.0:
        raise NotIdentified(
            f"All answers of {name!r} differ from the baseline's by the same length",
            "Use win_rate: the effect of length is not identified",
        )
    return np.asarray(np.nan_to_num(np.tanh(differences / (spread or 1.0))))


def _require_identified(outcomes: Floats, features: Floats, name: str) -> None:
    judged = ~np.isnan(outcomes)
    answers = outcomes[judged]
    if answers.size == 0:
        raise InvalidValues(f"{name!r} was judged on no instruction", "Leave it out")
    if answers.min() > 1.0 - CERTAIN or answers.max() < CERTAIN:
        verb = "won" if answers[0] > 0.5 else "lost"
        raise NotIdentified(
            f"{name!r} {verb} all {answers.size} comparisons",
            "Use win_rate, which needs no fit",
        )
    design = np.column_stack([np.ones(answers.size), features[judged]])
    if is_separated(design[:, np.ptp(design, axis=0) + np.eye(1, design.shape[1])[0] > 0], answers):
        raise _separation_error(name)


def _separation_error(name: str) -> NotIdentified:
    return NotIdentified(
        f"Length and difficulty alone separate the wins of {name!r} from its losses",
        "Judge more instructions, or use win_rate",
    )


def _validate(
    preferences: ArrayLike,
    lengths: ArrayLike,
    baseline_lengths: ArrayLike,
    models: Sequence[str] | None,
) -> tuple[Floats, Floats, tuple[str, ...]]:
    table = np.atleast_2d(np.asarray(preferences, dtype=float))
    sizes = np.atleast_2d(np.asarray(lengths, dtype=float))
    baseline_sizes = np.asarray(baseline_lengths, dtype=float)
    if table.shape != sizes.shape or baseline_sizes.shape != table.shape[1:]:
        raise InvalidValues(
            f"preferences has shape {table.shape}, lengths {sizes.shape}, "
            f"baseline_lengths {baseline_sizes.shape}",
            "Give (models, instructions) twice, and (instructions,)",
        )
    names = tuple(str(i) for i in range(len(table))) if models is None else tuple(models)
    if len(names) != len(table):
        raise InvalidValues(f"There are {len(names)} names for {len(table)} models", "Match them")
    if ((table < 0) | (table > 1)).any():
        raise InvalidValues("A preference lies outside [0, 1]", "Give probabilities")
    judged = ~np.isnan(table)
    differences = np.where(judged, baseline_sizes - sizes, np.nan)
    if np.isnan(differences[judged]).any():
        raise InvalidValues("A judged answer has no length", "Give the length of each answer")
    return table, differences, names
