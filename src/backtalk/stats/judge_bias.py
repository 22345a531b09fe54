"""Biases of a pairwise judge: towards the answer that is shown first, and towards length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.distributions import expit, t_quantile
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.logistic import fit_logistic, is_separated
from backtalk.stats.validation import (
    Floats,
    check_level,
    finite_values,
    group_numbers,
    probability_values,
    require_same_length,
)

_MIN_FREEDOM = 4


@dataclass(frozen=True)
class PositionBias:
    """Effect of the order of two answers on a judge.

    Attributes
    ----------
    flips
        Share of pairs on which the verdict depends on the order of the answers.
    prefers_first
        Share of verdicts for the answer that is shown first, ties half; 0.5 without bias.
    """

    flips: Estimate
    prefers_first: Estimate


@dataclass(frozen=True)
class LengthBias:
    """Effect of the length of two answers on a judge.

    Attributes
    ----------
    longer_wins
        Share of pairs on which the judge prefers the longer answer, ties half.
    labels_longer_wins
        The same share by the labels; None without labels.
    excess
        First share minus the second, paired; 0 if the judge favours length as people do.
    coefficient
        Log-odds of the longer answer at a length difference of one root mean square over its
        tanh, given the label; 0 without bias. None if the verdicts do not identify it.
    """

    longer_wins: Estimate
    labels_longer_wins: Estimate | None
    excess: Estimate | None
    coefficient: Estimate | None


def position_bias(
    forward: ArrayLike,
    backward: ArrayLike,
    *,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> PositionBias:
    """Estimate the position bias of a judge that saw each pair in both orders.

    A verdict is consistent if both orders give the same winner, or a tie (Zheng et al. 2023,
    arXiv 2306.05685, section 3.3).

    Parameters
    ----------
    forward : ArrayLike
        Probability that ``a`` is preferred where it is shown first, shape (n,); a tie is 1/2.
    backward : ArrayLike
        Probability that ``a`` is preferred where it is shown second, shape (n,).
    clusters : ArrayLike, optional
        Cluster label of each pair, such as its prompt, shape (n,). Default: pairs are independent.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    InvalidValues
        If there is no pair, or a probability is missing or outside [0, 1].
    """
    first = probability_values(forward, "forward")
    second = probability_values(backward, "backward")
    require_same_length(forward=first, backward=second)
    changed = np.sign(first - 0.5) != np.sign(second - 0.5)
    return PositionBias(
        flips=mean_interval(changed.astype(float), clusters, level=level),
        prefers_first=mean_interval((first + 1.0 - second) / 2, clusters, level=level),
    )


def length_bias(
    preferences: ArrayLike,
    lengths: ArrayLike,
    other_lengths: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    intercept: bool = False,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> LengthBias:
    """Estimate the length bias of a judge.

    The coefficient phi is that of ``logit p = phi tanh(d / rms(d)) + psi y``, with the length
    difference ``d`` and the label ``y`` in [-1, 1]: the length term of Dubois et al. (2024, arXiv
    2404.04475, section 3), with people's label in the place of the quality of the answers. Its
    interval is a cluster-robust sandwich with Student's quantile.

    Parameters
    ----------
    preferences : ArrayLike
        Probability that the judge prefers ``a`` to ``b``, shape (n,); a tie is 1/2.
    lengths, other_lengths : ArrayLike
        Lengths of ``a`` and of ``b``, shape (n,), in any one unit.
    labels : ArrayLike, optional
        People's preference for ``a``, in [0, 1], shape (n,). Default: not known.
    intercept : bool, default False
        If true, ``a`` is one policy's answer throughout, and its quality is a further term.
    clusters : ArrayLike, optional
        Cluster label of each pair, such as its prompt, shape (n,). Default: pairs are independent.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    NotIdentified
        If the two answers of every pair are equally long.
    InvalidValues
        If lengths of arrays differ, or a value is missing or out of bounds.
    """
    check_level(level)
    chosen = probability_values(preferences, "preferences")
    gap = finite_values(lengths, "lengths") - finite_values(other_lengths, "other_lengths")
    known = None if labels is None else probability_values(labels, "labels")
    require_same_length(preferences=chosen, lengths=gap)
    if known is not None:
        require_same_length(preferences=chosen, labels=known)
    differ = gap != 0
    if not differ.any():
        raise NotIdentified(
            "The answers of every pair are equally long",
            "Judge pairs of different lengths to measure the effect of length",
        )
    groups = np.arange(gap.size) if clusters is None else group_numbers(clusters, gap.size)[0]
    some = None if clusters is None else groups[differ]
    longer = _towards(chosen, gap)[differ]
    by_label = None if known is None else _towards(known, gap)[differ]
    return LengthBias(
        longer_wins=mean_interval(longer, some, level=level),
        labels_longer_wins=None if by_label is None else mean_interval(by_label, some, level=level),
        excess=None
        if by_label is None
        else mean_interval(longer - by_label, some, bounds=(-1.0, 1.0), level=level),
        coefficient=_coefficient(
            chosen, _design(gap, known, intercept=intercept), np.asarray(groups), level
        ),
    )


def _towards(preferences: Floats, gap: Floats) -> Floats:
    """Return the preference for the longer answer."""
    return np.where(gap > 0, preferences, 1.0 - preferences)


def _design(gap: Floats, labels: Floats | None, *, intercept: bool) -> Floats:
    columns = [np.tanh(gap / np.sqrt((gap**2).mean()))]
    if labels is not None and (labels != 0.5).any():
        columns.append(2.0 * labels - 1.0)
    if intercept:
        columns.append(np.ones_like(gap))
    return np.column_stack(columns)


def _coefficient(
    outcomes: Floats,
    design: Floats,
    groups: np.ndarray[tuple[int], np.dtype[np.intp]],
    level: float,
) -> Estimate | None:
    """Return the first coefficient of a logistic regression, None if it is not identified."""
    numbers, count = group_numbers(groups, outcomes.size)
    freedom = count - design.shape[1]
    if freedom < _MIN_FREEDOM or np.linalg.matrix_rank(design) < design.shape[1]:
        return None
    try:
        if is_separated(design, outcomes):
            return None
        fitted = fit_logistic(design, outcomes)
    except (NotIdentified, InvalidValues):
        return None
    variances = expit(design @ fitted) * (1.0 - expit(design @ fitted))
    inverse = np.linalg.inv(design.T @ (design * variances[:, None]))
    leverage = variances * np.einsum("ni,ij,nj->n", design, inverse, design)
    residuals = (outcomes - expit(design @ fitted)) / np.maximum(1.0 - leverage, 0.05)
    influence = np.bincount(numbers, (design @ inverse[0]) * residuals, minlength=count)
    error = float(np.sqrt((influence**2).sum()))
    reach = float(t_quantile(0.5 + level / 2, freedom)) * error
    value = float(fitted[0])
    return Estimate(value, value - reach, value + reach, level, outcomes.size, count, "sandwich")
