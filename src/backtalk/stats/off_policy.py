"""Off-policy evaluation: estimate a policy's value from logs of other policies (IPS, SNIPS, DR).

Each logged reward is weighted by the probability ratio of the target policy and the logging policy.
That needs the logged probability (propensity) of each answer, and a log that covers the answers of
the target policy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NoReturn

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues, NoSpread, NotIdentified
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.intervals.clusters import totals
from backtalk.stats.intervals.means import t_interval
from backtalk.stats.off_policy_intervals import (
    MIN_REWARDS,
    MIN_ROWS,
    betting_limit,
    effective_number,
    rows_of_variance,
)
from backtalk.stats.validation import (
    Floats,
    bounded_values,
    check_level,
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
_MIN_UNBOUNDED = 15.0
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
    bounds: Bounds | None = (0.0, 1.0),
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
    bounds : tuple[float, float] or None, default (0.0, 1.0)
        Ends of the rewards' scale; None if it has none. If few rows hold the variance, as with
        rare rewards or large weights, the interval is found by betting, which needs the bounds.
    level : float, default 0.95
        Nominal coverage of the interval.

    Raises
    ------
    NotIdentified
        If the effective sample size is below 10, or, without bounds, the variance rests on fewer
        than 15 rewards.
    NoSpread
        If there are no bounds and the rewards show no spread.
    InvalidValues
        If lengths differ, a value is missing or out of bounds, a weight is negative, or the clip
        is not above 0.
    """
    sample = _validate(rewards, weights, clip, bounds, clusters)
    terms = sample.values * sample.weights
    estimate = sample.interval(float(terms.mean()), terms, level)
    return _make_estimate("ips", estimate, weights, sample.weights, clip)


def snips(
    rewards: ArrayLike,
    weights: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    clip: float | None = None,
    bounds: Bounds | None = (0.0, 1.0),
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
    sample = _validate(rewards, weights, clip, bounds, clusters)
    values, clipped = sample.values, sample.weights
    value = float(np.clip(clipped @ values / clipped.sum(), values.min(), values.max()))
    terms = value + clipped / clipped.mean() * (values - value)
    estimate = sample.interval(value, terms, level, sizes=clipped)
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
    bounds: Bounds | None = (0.0, 1.0),
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
    sample = _validate(rewards, weights, clip, bounds, clusters)
    logged, target = finite_values(predicted, "predicted"), finite_values(expected, "expected")
    require_same_length(rewards=sample.values, predicted=logged, expected=target)
    terms = target + sample.weights * (sample.values - logged)
    estimate = sample.interval(float(terms.mean()), terms, level, model=(logged, target))
    return _make_estimate("dr", estimate, weights, sample.weights, clip)


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


@dataclass(frozen=True)
class _Sample:
    """Logged rewards with their weights, checked."""

    values: Floats
    weights: Floats
    clusters: ArrayLike | None
    bounds: Bounds | None

    def interval(
        self,
        value: float,
        terms: Floats,
        level: float,
        *,
        sizes: Floats | None = None,
        model: tuple[Floats, Floats] | None = None,
    ) -> Estimate:
        """Return the interval of a mean of terms, by betting if few rows hold its variance.

        Parameters
        ----------
        value : float
            Point estimate.
        terms : Floats
            One term per reward, shape (n,), of which the mean is taken.
        level : float
            Nominal coverage.
        sizes : Floats, optional
            Weights of a self-normalised estimate, shape (n,). Default: a plain mean.
        model : tuple[Floats, Floats], optional
            Predicted and expected rewards of a doubly robust estimate. Default: no model.
        """
        if self._fewest(terms) >= 1:
            if terms.size < _LARGE_SAMPLE:
                return mean_interval(terms, self.clusters, bounds=None, level=level)
            return t_interval(terms, self.clusters, level=level)
        if self.bounds is None:
            self._refuse(terms)
        assert self.bounds is not None
        low, high = self.bounds
        scaled = [(array - low) / (high - low) for array in (self.values, *(model or ()))]
        lower = self._limit(scaled, sizes, level)
        upper = 1 - self._limit([1 - array for array in scaled], sizes, level)
        return Estimate(
            value,
            min(low + (high - low) * lower, value),
            max(low + (high - low) * upper, value),
            check_level(level),
            terms.size,
            None if self.clusters is None else group_numbers(self.clusters, terms.size)[1],
            "betting",
        )

    def _fewest(self, terms: Floats) -> float:
        """Return the scarcest effective number of the sample as a share of what is needed."""
        data = totals(terms, self.clusters)
        residuals = data.sums - terms.mean() * data.sizes
        if residuals.size < 2:
            return 0.0
        rows = rows_of_variance(residuals)
        if self.bounds is None:
            return rows / _MIN_UNBOUNDED
        low, high = self.bounds
        rewards = [
            effective_number(totals(self.weights * part, self.clusters).sums)
            for part in (self.values - low, high - self.values)
        ]
        return min(rows / MIN_ROWS, min(rewards) / MIN_REWARDS)

    def _refuse(self, terms: Floats) -> NoReturn:
        data = totals(terms, self.clusters)
        number = rows_of_variance(data.sums - terms.mean() * data.sizes)
        mend = "Pass bounds=, the ends of the rewards' scale, which give an interval even then"
        if data.sums.size < 2 or number == 0:
            raise NoSpread(
                "Fewer than two values differ, or all are of one cluster, so there is no spread",
                mend,
            )
        needed = math.ceil(terms.size * _MIN_UNBOUNDED / number)
        raise NotIdentified(
            f"The variance of {terms.size} weighted rewards rests on {number:.1f} of them, and an "
            f"interval on a scale without bounds needs {_MIN_UNBOUNDED:g}",
            f"{mend}, or log about {needed} rewards",
        )

    def _limit(self, scaled: list[Floats], sizes: Floats | None, level: float) -> float:
        """Return the lower limit of a mean of rewards on a scale from 0 to 1."""
        sums, shortfall = self.weights * scaled[0], 0.0
        ones = np.ones(sums.size)
        if len(scaled) == 3:
            correction = totals(scaled[2] - self.weights * scaled[1], self.clusters)
            worst = float((-correction.sums / correction.sizes).max())
            shortfall = max(worst, 0.0) * float(np.max(correction.sizes))
            sums = sums + scaled[2] - self.weights * scaled[1]
        return betting_limit(
            totals(sums, self.clusters).sums,
            totals(ones if sizes is None else sizes, self.clusters).sums,
            shortfall,
            level,
        )


def _validate(
    rewards: ArrayLike,
    weights: ArrayLike,
    clip: float | None,
    bounds: Bounds | None,
    clusters: ArrayLike | None,
) -> _Sample:
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
    size = effective_number(ratios)
    if size < _MIN_SAMPLE_SIZE:
        raise NotIdentified(
            f"The log does not cover this policy's answers: {values.size} logged rewards have an "
            f"effective sample size of {size:.1f}",
            "Serve the policy to part of the traffic, in an experiment, or log answers that are "
            "sampled with more randomness",
        )
    clipped = ratios if clip is None else np.minimum(ratios, clip)
    return _Sample(values, clipped, clusters, bounds)


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
        effective_sample_size=effective_number(clipped),
        mean_weight=float(ratios.mean()),
        mean_weight_error=float(ratios.std(ddof=1) / np.sqrt(ratios.size)),
        largest_weight=float(ratios.max()),
        clip=clip,
        clipped=float((ratios > clipped).mean()),
    )
