"""What a policy would be worth that never answered, by the log of others that did.

Each logged reward is weighted by how much likelier the target was to answer so than the policy that
did. That needs the probability with which each logged answer was given, and answers that the target
would give too: where it would answer what is not in the log, the log says nothing about it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.intervals.means import t_interval
from backtalk.stats.validation import Floats, finite_values, group_numbers, require_same_length

Estimator = Literal["ips", "snips", "dr"]
ESTIMATORS: tuple[Estimator, ...] = ("ips", "snips", "dr")

_LEAST_SIZE = 10.0
_MANY = 1000
_ODD = 4.0
_FOLDS = 5


@dataclass(frozen=True)
class OffPolicyEstimate:
    """The value of a policy by the log of others.

    Attributes
    ----------
    estimator
        ``"ips"``, ``"snips"`` or ``"dr"``.
    estimate
        The mean reward that the target would get, on the rewards' scale.
    effective_sample_size
        How many rewards of the target's own would be worth as much: (sum w)² / sum w² (Kish 1965,
        "Survey sampling", section 11.7).
    mean_weight, mean_weight_error
        The weights' mean, which is 1 where the logged probabilities are right and cover what the
        target would answer, and its standard error.
    largest_weight
        Before clipping.
    clip
        What weights were cut to; ``None`` where they were not.
    clipped
        The share of the rewards whose weights were cut. Cutting moves the estimate towards what
        was logged.
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
        """What makes the estimate doubtful, a sentence each."""
        results = []
        if abs(self.mean_weight - 1) > _ODD * self.mean_weight_error:
            results.append(
                f"The weights have the mean {self.mean_weight:.3g}, not 1: the logged "
                "probabilities are wrong, or the target answers what is not in the log"
            )
        if self.clipped > 0:
            results.append(
                f"{100 * self.clipped:.1f} % of the weights were cut to {self.clip:g}, which "
                "moves the estimate towards what was logged"
            )
        return tuple(results)


def importance_weights(target: ArrayLike, logging: ArrayLike) -> Floats:
    """Return how much likelier each logged answer was by the target than by what logged it.

    Parameters
    ----------
    target, logging : ArrayLike
        The probabilities of the logged answers, shape (n,).

    Raises
    ------
    InvalidValues
        If a logging probability is not in (0, 1], or a target one not in [0, 1].
    """
    wanted, given = finite_values(target, "target"), finite_values(logging, "logging")
    require_same_length(target=wanted, logging=given)
    if (given <= 0).any() or (given > 1).any() or (wanted < 0).any() or (wanted > 1).any():
        raise InvalidValues(
            "Probabilities have to be in [0, 1], and what was logged cannot have had none",
            "Log the propensity of each answer, or leave those without one out",
        )
    return np.asarray(wanted / given)


def ips(
    rewards: ArrayLike,
    weights: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    clip: float | None = None,
    level: float = 0.95,
) -> OffPolicyEstimate:
    """Estimate a policy's value by inverse propensity scores: the mean of ``w r``.

    Horvitz and Thompson (1952). Unbiased where the logged probabilities are right; it varies with
    the weights.

    Parameters
    ----------
    rewards : ArrayLike
        What was logged, shape (n,).
    weights : ArrayLike
        See :func:`importance_weights`.
    clusters : ArrayLike, optional
        One label per reward, such as the user, where those with one label share a cause.
    clip : float, optional
        Cut weights to this.
    level : float, default 0.95
        Nominal coverage of the interval.

    Raises
    ------
    NotIdentified
        If the log holds next to nothing of what the target would answer.
    """
    values, kept = _logged(rewards, weights, clip)
    estimate = _mean(values * kept, clusters, level)
    return _result("ips", estimate, weights, kept, clip)


def snips(
    rewards: ArrayLike,
    weights: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    clip: float | None = None,
    level: float = 0.95,
) -> OffPolicyEstimate:
    """Estimate a policy's value by self-normalised scores: ``sum w r / sum w``.

    Swaminathan and Joachims (2015), "The self-normalized estimator for counterfactual learning",
    equation 8; the interval by the delta method (Owen 2013, "Monte Carlo theory, methods and
    examples", equation 9.10). It stays within the rewards that were logged, and a factor that all
    logged probabilities are wrong by does not matter. Biased by an amount that shrinks as 1 / n.

    See :func:`ips`.
    """
    values, kept = _logged(rewards, weights, clip)
    value = float(kept @ values / kept.sum())
    estimate = _mean(value + kept / kept.mean() * (values - value), clusters, level)
    low, high = float(values.min()), float(values.max())
    within = replace(
        estimate, value=value, low=max(low, estimate.low), high=min(high, estimate.high)
    )
    return _result("snips", within, weights, kept, clip)


def doubly_robust(
    rewards: ArrayLike,
    weights: ArrayLike,
    predicted: ArrayLike,
    expected: ArrayLike,
    clusters: ArrayLike | None = None,
    *,
    clip: float | None = None,
    level: float = 0.95,
) -> OffPolicyEstimate:
    """Estimate a policy's value by a model of the rewards, corrected where the log contradicts it.

    Dudík, Langford and Li (2011), "Doubly robust policy evaluation and learning", equation 1: the
    mean of ``expected + w (r - predicted)``. Unbiased if either the probabilities or the model are
    right, and less varying the better the model is.

    Parameters
    ----------
    rewards, weights, clusters, clip, level
        See :func:`ips`.
    predicted : ArrayLike
        What the model says of the logged answers, shape (n,), made without their rewards: see
        :func:`cross_fitted`.
    expected : ArrayLike
        What it says of the answers that the target would give to the same prompts, shape (n,).
    """
    values, kept = _logged(rewards, weights, clip)
    own, other = finite_values(predicted, "predicted"), finite_values(expected, "expected")
    require_same_length(rewards=values, predicted=own, expected=other)
    estimate = _mean(other + kept * (values - own), clusters, level)
    return _result("dr", estimate, weights, kept, clip)


def cross_fit_rewards(
    features: Floats,
    rewards: ArrayLike,
    targets: Floats,
    groups: ArrayLike | None = None,
    *,
    ridge: float = 1.0,
    seed: int = 0,
) -> tuple[Floats, Floats]:
    """Predict rewards from features by ridge regression, each from the rewards of other folds.

    Chernozhukov et al. (2018), "Double/debiased machine learning for treatment and structural
    parameters", definition 3.1: what is corrected by a reward must not have been fitted to it.

    Parameters
    ----------
    features : Floats
        Of the logged answers, shape (n, d).
    rewards : ArrayLike
        Shape (n,).
    targets : Floats
        Of what the target would answer, shape (n, d).
    groups : ArrayLike, optional
        One label per reward; those with one label stay in one fold.
    ridge : float, default 1.0
        The penalty on coefficients of features of unit variance, not on the intercept.
    seed : int, default 0
        Decides the folds.

    Returns
    -------
    predicted, expected
        Of the logged answers, and of the target's; within the range of the rewards.
    """
    from sklearn.linear_model import Ridge  # noqa: PLC0415 - slow to import
    from sklearn.pipeline import make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    values = finite_values(rewards, "rewards")
    require_same_length(rewards=values, features=features, targets=targets)
    labels = np.arange(values.size) if groups is None else groups
    numbers, count = group_numbers(labels, values.size, "groups")
    if count < 2:
        raise InvalidValues("All rewards are of one group", "Give rewards of two groups at least")
    order = np.random.default_rng(seed).permutation(count)
    fold = (order % min(_FOLDS, count))[numbers]
    predicted, expected = np.zeros(values.size), np.zeros(values.size)
    for number in np.unique(fold):
        out = fold == number
        model = make_pipeline(StandardScaler(), Ridge(alpha=ridge))
        model.fit(features[~out], values[~out])
        predicted[out] = model.predict(features[out])
        expected[out] = model.predict(targets[out])
    low, high = values.min(), values.max()
    return np.clip(predicted, low, high), np.clip(expected, low, high)


def _logged(rewards: ArrayLike, weights: ArrayLike, clip: float | None) -> tuple[Floats, Floats]:
    values, given = finite_values(rewards, "rewards"), finite_values(weights, "weights")
    require_same_length(rewards=values, weights=given)
    if (given < 0).any():
        raise InvalidValues("A weight is below 0", "Make them with importance_weights")
    if clip is not None and clip <= 0:
        raise InvalidValues(f"Weights cannot be cut to {clip:g}", "Give a number above 0")
    size = _effective_size(given)
    if size < _LEAST_SIZE:
        raise NotIdentified(
            f"The log holds next to nothing of what this policy would answer: {values.size} "
            f"logged rewards are worth {size:.1f} of its own",
            "Let it answer part of the traffic, in an experiment, or log answers that are drawn "
            "with more chance",
        )
    return values, given if clip is None else np.minimum(given, clip)


def _effective_size(weights: Floats) -> float:
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def _mean(values: Floats, clusters: ArrayLike | None, level: float) -> Estimate:
    few = values.size < _MANY
    interval: Callable[..., Estimate] = mean_interval if few else t_interval
    options = {"bounds": None} if few else {}
    return interval(values, clusters, level=level, **options)


def _result(
    estimator: Estimator,
    estimate: Estimate,
    weights: ArrayLike,
    kept: Floats,
    clip: float | None,
) -> OffPolicyEstimate:
    given = finite_values(weights, "weights")
    return OffPolicyEstimate(
        estimator=estimator,
        estimate=replace(estimate, method=f"{estimator}, {estimate.method}"),
        effective_sample_size=_effective_size(kept),
        mean_weight=float(given.mean()),
        mean_weight_error=float(given.std(ddof=1) / np.sqrt(given.size)),
        largest_weight=float(given.max()),
        clip=clip,
        clipped=float((given > kept).mean()),
    )
