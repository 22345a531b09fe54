"""Off-policy evaluation: estimate a policy's value from logs of other policies (IPS, SNIPS, DR).

Each logged reward is weighted by the probability ratio of the target policy and the logging policy.
That needs the logged probability (propensity) of each answer, and a log that covers the answers of
the target policy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues, NoSpread, NotIdentified
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.intervals.clusters import totals
from backtalk.stats.intervals.means import t_interval
from backtalk.stats.validation import (
    Floats,
    bounded_values,
    finite_values,
    group_numbers,
    is_number,
    require_same_length,
)

Bounds = tuple[float, float]
Estimator = Literal["ips", "snips", "dr"]
ESTIMATORS: tuple[Estimator, ...] = ("ips", "snips", "dr")
"""Names of the estimators."""

_MIN_SAMPLE_SIZE = 10.0
_LARGE_SAMPLE = 1000
_MAX_STANDARD_ERRORS = 4.0
_FOLDS = 5


@dataclass(frozen=True)
class OffPolicyEstimate:
    """Off-policy estimate of a policy's value, with diagnostics of the weights.

    Attributes
    ----------
    estimator
        ``"ips"``, ``"snips"`` or ``"dr"``.
    estimate
        Mean reward of the target policy, on the rewards' scale.
    effective_sample_size
        Number of on-policy rewards with the same precision: (sum w)² / sum w² (Kish 1965, "Survey
        sampling", section 11.7).
    mean_weight, mean_weight_error
        Mean of the weights and its standard error. The mean is 1 if the logged probabilities are
        right and the log covers the target's answers.
    largest_weight
        Largest weight before clipping.
    clip
        Maximum that weights were clipped to; ``None`` if they were not clipped.
    clipped
        Share of the weights that were clipped. Clipping biases the estimate towards the logging
        policy's value.
    """

    estimator: Estimator
    estimate: Estimate
    effective_sample_size: float
    mean_weight: float
    mean_weight_error: float
    largest_weight: float
    clip: float | None
    clipped: float

    @property
    def warnings(self) -> tuple[str, ...]:
        """Reasons to doubt the estimate, one sentence each."""
        warnings = []
        if abs(self.mean_weight - 1) > _MAX_STANDARD_ERRORS * self.mean_weight_error:
            warnings.append(
                f"The weights have the mean {self.mean_weight:.3g}, not 1: the logged "
                "probabilities are wrong, or the log does not cover the target's answers"
            )
        if self.clipped > 0:
            warnings.append(
                f"{100 * self.clipped:.1f} % of the weights were clipped to {self.clip:g}, which "
                "biases the estimate towards the logging policy's value"
            )
        return tuple(warnings)


def importance_weights(target: ArrayLike, logging: ArrayLike) -> Floats:
    """Return the importance weight of each logged answer, target over logging, shape (n,).

    Parameters
    ----------
    target, logging : ArrayLike
        Probability of each logged answer under either policy, shape (n,).

    Raises
    ------
    InvalidValues
        If a logging probability is not in (0, 1], or a target probability not in [0, 1].
    """
    p, q = finite_values(target, "target"), finite_values(logging, "logging")
    require_same_length(target=p, logging=q)
    if (q <= 0).any() or (q > 1).any() or (p < 0).any() or (p > 1).any():
        raise InvalidValues(
            "Probabilities have to be in [0, 1], and those of logged answers above 0",
            "Log the propensity of each answer, and leave out answers without one",
        )
    return np.asarray(p / q)


def ips(
    rewards: ArrayLike,
    weights: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    clip: float | None = None,
    bounds: Bounds | None = None,
    level: float = 0.95,
) -> OffPolicyEstimate:
    """Estimate a policy's value by inverse propensity scores: the mean of ``w r``.

    Horvitz and Thompson (1952). Unbiased if the logged probabilities are right. Its variance grows
    with that of the weights.

    Parameters
    ----------
    rewards : ArrayLike
        Logged rewards, shape (n,).
    weights : ArrayLike
        Importance weights, shape (n,); see :func:`importance_weights`.
    clusters : ArrayLike, optional
        Cluster label of each reward, such as its user, shape (n,). Default: rewards are
        independent.
    clip : float, optional
        Maximum weight; larger weights are clipped. Default: no clipping.
    bounds : tuple[float, float], optional
        Ends of the rewards' scale. They are used if the rewards show no spread, because all are
        equal or of one cluster: the interval is then that of as many equal rewards as the
        effective sample size, on that scale. Default: unknown.
    level : float, default 0.95
        Nominal coverage of the interval.

    Raises
    ------
    NotIdentified
        If the effective sample size is below 10.
    NoSpread
        If there are no bounds and the rewards show no spread.
    InvalidValues
        If lengths differ, a value is missing or out of bounds, a weight is negative, or the clip
        is not above 0.
    """
    values, clipped = _validate(rewards, weights, clip, bounds)
    estimate = _mean(values * clipped, clipped, clusters, bounds, level)
    return _make_estimate("ips", estimate, weights, clipped, clip)


def snips(
    rewards: ArrayLike,
    weights: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    clip: float | None = None,
    bounds: Bounds | None = None,
    level: float = 0.95,
) -> OffPolicyEstimate:
    """Estimate a policy's value by self-normalised scores: ``sum w r / sum w``.

    Swaminathan and Joachims (2015), "The self-normalized estimator for counterfactual learning",
    equation 8; the interval by the delta method (Owen 2013, "Monte Carlo theory, methods and
    examples", equation 9.10). It stays within the range of the logged rewards, and is invariant
    to a common factor on all logged probabilities. Its bias shrinks as 1 / n.

    Parameters
    ----------
    rewards, weights, clusters, clip, bounds, level
        See :func:`ips`.

    Raises
    ------
    NotIdentified, NoSpread, InvalidValues
        See :func:`ips`.
    """
    values, clipped = _validate(rewards, weights, clip, bounds)
    value = float(np.clip(clipped @ values / clipped.sum(), values.min(), values.max()))
    terms = value + clipped / clipped.mean() * (values - value)
    estimate = _mean(terms, clipped, clusters, bounds, level)
    low, high = bounds or (float(values.min()), float(values.max()))
    bounded = replace(
        estimate, value=value, low=max(low, estimate.low), high=min(high, estimate.high)
    )
    return _make_estimate("snips", bounded, weights, clipped, clip)


def doubly_robust(
    rewards: ArrayLike,
    weights: ArrayLike,
    predicted: ArrayLike,
    expected: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    clip: float | None = None,
    bounds: Bounds | None = None,
    level: float = 0.95,
) -> OffPolicyEstimate:
    """Estimate a policy's value by a doubly robust estimator: a reward model with a correction.

    Dudík, Langford and Li (2011), "Doubly robust policy evaluation and learning", equation 1: the
    mean of ``expected + w (r - predicted)``. Unbiased if the probabilities or the model are right;
    the better the model, the lower the variance.

    Parameters
    ----------
    rewards, weights, clusters, clip, bounds, level
        See :func:`ips`.
    predicted : ArrayLike
        Model's prediction for each logged answer, shape (n,), made without its reward; see
        :func:`cross_fit_rewards`.
    expected : ArrayLike
        Model's expected reward of the target's answers to the same prompts, shape (n,).

    Raises
    ------
    NotIdentified, NoSpread, InvalidValues
        See :func:`ips`.
    """
    values, clipped = _validate(rewards, weights, clip, bounds)
    logged, target = finite_values(predicted, "predicted"), finite_values(expected, "expected")
    require_same_length(rewards=values, predicted=logged, expected=target)
    terms = target + clipped * (values - logged)
    estimate = _mean(terms, clipped, clusters, bounds, level)
    return _make_estimate("dr", estimate, weights, clipped, clip)


def cross_fit_rewards(
    features: Floats,
    rewards: ArrayLike,
    targets: Floats,
    groups: ArrayLike | None = None,
    *,
    ridge: float = 1.0,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Predict rewards from features by cross-fitted ridge regression in five folds.

    Each prediction uses the rewards of the other folds only. Chernozhukov et al. (2018),
    "Double/debiased machine learning for treatment and structural parameters", definition 3.1.

    Parameters
    ----------
    features : Floats
        Features of the logged answers, shape (n, d).
    rewards : ArrayLike
        Logged rewards, shape (n,).
    targets : Floats
        Features of the target's answers, shape (n, d).
    groups : ArrayLike, optional
        Group label of each reward, shape (n,); a group stays in one fold. Default: one group per
        reward.
    ridge : float, default 1.0
        Penalty on the coefficients of standardised features, not on the intercept.
    seed : int, default 0
        Seed of the folds.

    Returns
    -------
    predicted, expected : Floats
        Predictions for the logged answers and for the target's, each of shape (n,), clipped to
        the range of the rewards.

    Raises
    ------
    InvalidValues
        If lengths differ, or all rewards are of one group.
    """
    from sklearn.linear_model import Ridge  # noqa: PLC0415 - slow to import
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    values = finite_values(rewards, "rewards")
    require_same_length(rewards=values, features=features, targets=targets)
    labels = np.arange(values.size) if groups is None else groups
    numbers, count = group_numbers(labels, values.size, "groups")
    if count < 2:
        raise InvalidValues("All rewards are of one group", "Give rewards of at least two groups")
    order = np.random.default_rng(seed).permutation(count)
    fold = (order % min(_FOLDS, count))[numbers]
    predicted, expected = np.zeros(values.size), np.zeros(values.size)
    for number in np.unique(fold):
        held_out = fold == number
        model = make_pipeline(StandardScaler(), Ridge(alpha=ridge))
        model.fit(features[~held_out], values[~held_out])
        predicted[held_out] = model.predict(features[held_out])
        expected[held_out] = model.predict(targets[held_out])
    low, high = values.min(), values.max()
    return np.clip(predicted, low, high), np.clip(expected, low, high)


def _validate(
    rewards: ArrayLike, weights: ArrayLike, clip: float | None, bounds: Bounds | None
) -> tuple[Floats, Floats]:
    values = (
        finite_values(rewards, "rewards")
        if bounds is None
        else bounded_values(rewards, bounds, "rewards")
    )
    ratios = finite_values(weights, "weights")
    require_same_length(rewards=values, weights=ratios)
    if (ratios < 0).any():
        raise InvalidValues("A weight is below 0", "Compute weights with importance_weights")
    if clip is not None and not (is_number(clip) and clip > 0):
        raise InvalidValues(f"Weights cannot be clipped to {clip!r}", "Give a number above 0")
    size = _effective_size(ratios)
    if size < _MIN_SAMPLE_SIZE:
        raise NotIdentified(
            f"The log does not cover this policy's answers: {values.size} logged rewards have an "
            f"effective sample size of {size:.1f}",
            "Serve the policy to part of the traffic, in an experiment, or log answers that are "
            "sampled with more randomness",
        )
    return values, ratios if clip is None else np.minimum(ratios, clip)


def _effective_size(weights: Floats) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _mean(
    terms: Floats,
    weights: Floats,
    clusters: ArrayLike | None,
    bounds: Bounds | None,
    level: float,
) -> Estimate:
    """Estimate the mean of the terms, by the bounds of the rewards if the terms have no spread."""
    small = terms.size < _LARGE_SAMPLE
    interval: Callable[..., Estimate] = mean_interval if small else t_interval
    options = {"bounds": None} if small else {}
    try:
        return interval(terms, clusters, level=level, **options)
    except NoSpread as error:
        if bounds is None:
            raise NoSpread(
                error.what,
                "Pass bounds=, the ends of the rewards' scale, which give an interval even then",
            ) from None
    value = float(terms.mean())
    count = max(int(_effective_size(totals(weights, clusters).sums)), 1)
    equal = mean_interval(np.full(count, np.clip(value, *bounds)), bounds=bounds, level=level)
    return replace(
        equal,
        value=value,
        low=min(equal.low, value),
        high=max(equal.high, value),
        n=terms.size,
        clusters=None if clusters is None else group_numbers(clusters, terms.size)[1],
    )


def _make_estimate(
    estimator: Estimator,
    estimate: Estimate,
    weights: ArrayLike,
    clipped: Floats,
    clip: float | None,
) -> OffPolicyEstimate:
    ratios = finite_values(weights, "weights")
    return OffPolicyEstimate(
        estimator=estimator,
        estimate=replace(estimate, method=f"{estimator}, {estimate.method}"),
        effective_sample_size=_effective_size(clipped),
        mean_weight=float(ratios.mean()),
        mean_weight_error=float(ratios.std(ddof=1) / np.sqrt(ratios.size)),
        largest_weight=float(ratios.max()),
        clip=clip,
        clipped=float((ratios > clipped).mean()),
    )
