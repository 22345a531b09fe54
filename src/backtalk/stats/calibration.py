"""Calibration of probabilities: Brier score, calibration error, reliability curve, log loss."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues, NoSpread
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import (
    Floats,
    Ints,
    group_numbers,
    probability_values,
    require_same_length,
)

Binning = Literal["width", "mass"]

_MAX_CELLS = 1_000_000


class Bin(NamedTuple):
    """Point of a reliability curve: mean predicted probability and mean outcome of a bin."""

    predicted: float
    observed: Estimate
    n: int


@dataclass(frozen=True)
class Brier:
    """A Brier score and its parts (Murphy 1973; remainder as in Stephenson et al. 2008).

    ``value of estimate = reliability - resolution + uncertainty + remainder``.

    Attributes
    ----------
    estimate
        Mean squared difference of probability and outcome; 0 is perfect.
    reliability
        Mean squared difference of prediction and outcome frequency per bin; 0 is perfect.
    resolution
        Mean squared difference of outcome frequency per bin and base rate; larger is better.
    uncertainty
        Score of always predicting the base rate.
    remainder
        Part due to probabilities that differ within a bin; 0 if none do.
    """

    estimate: Estimate
    reliability: float
    resolution: float
    uncertainty: float
    remainder: float

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CalibrationError:
    """Expected calibration error, and its distribution under perfect calibration.

    Attributes
    ----------
    value
        Mean over items of the distance between prediction and outcome frequency in their bin.
    by_chance
        Mean error of perfectly calibrated probabilities, by simulation. The error is biased
        upwards by about this much if calibration is good, and by less if it is bad.
    chance_95
        95th percentile of the same; calibration is rejected if ``value`` is above.
    bins
        Number of bins that are not empty.
    n
        Number of items.
    """

    value: float
    by_chance: float
    chance_95: float
    bins: int
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def brier(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    bins: int = 10,
    binning: Binning = "width",
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> Brier:
    """Estimate the Brier score (Brier 1950) and decompose it over bins.

    Parameters
    ----------
    probabilities : ArrayLike
        Predicted probabilities, shape (n,), in [0, 1].
    outcomes : ArrayLike
        Outcomes, shape (n,), in [0, 1]: 0 or 1, or the share of people who chose 1.
    bins, binning
        See :func:`reliability_curve`.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage.

    Raises
    ------
    InvalidValues
        If lengths differ, a value is out of range, or the binning is unknown.
    """
    predicted, observed = _paired_arrays(probabilities, outcomes)
    numbers, count = _bin_numbers(predicted, bins, binning)
    sizes = np.bincount(numbers, minlength=count)
    mean_predicted, mean_observed = (
        np.bincount(numbers, weights=side, minlength=count) / sizes
        for side in (predicted, observed)
    )
    shares = sizes / len(predicted)
    base = observed.mean()
    reliability = float(shares @ (mean_predicted - mean_observed) ** 2)
    resolution = float(shares @ (mean_observed - base) ** 2)
    uncertainty = float(((observed - base) ** 2).mean())
    estimate = mean_interval((predicted - observed) ** 2, clusters, level=level)
    return Brier(
        estimate=estimate,
        reliability=reliability,
        resolution=resolution,
        uncertainty=uncertainty,
        remainder=estimate.value - (reliability - resolution + uncertainty),
    )


def calibration_error(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    bins: int = 10,
    binning: Binning = "width",
    draws: int = 1000,
    seed: int = 0,
) -> CalibrationError:
    """Compute the expected calibration error, ECE (Naeini et al. 2015), and its bias.

    The error has no interval: it is a sum of absolute values, which noise keeps above zero, and
    its bootstrap does not cover. It is compared instead with its distribution under perfect
    calibration (Broecker and Smith 2007).

    Parameters
    ----------
    probabilities : ArrayLike
        Predicted probabilities, shape (n,), in [0, 1].
    outcomes : ArrayLike
        Outcomes, shape (n,), 0 or 1.
    bins, binning
        See :func:`reliability_curve`.
    draws : int, default 1000
        Number of simulated sets of outcomes.
    seed : int, default 0
        Seed of the simulation.

    Raises
    ------
    InvalidValues
        If an outcome is neither 0 nor 1.
    """
    predicted, observed = _paired_arrays(probabilities, outcomes)
    if not np.isin(observed, (0.0, 1.0)).all():
        raise InvalidValues("An outcome is neither 0 nor 1", "Use brier for fractional outcomes")
    numbers, count = _bin_numbers(predicted, bins, binning)
    order = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[order], np.arange(count))
    ordered = predicted[order]
    rng = np.random.default_rng(seed)
    rows = max(1, _MAX_CELLS // len(ordered))
    simulated = np.concatenate(
        [
            _mean_gap(ordered - (rng.random((size, len(ordered))) < ordered), starts)
            for size in (min(rows, draws - start) for start in range(0, draws, rows))
        ]
    )
    return CalibrationError(
        value=float(_mean_gap(ordered - observed[order], starts)),
        by_chance=float(np.mean(simulated)),
        chance_95=float(np.quantile(simulated, 0.95)),
        bins=count,
        n=len(predicted),
    )


def reliability_curve(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    bins: int = 10,
    binning: Binning = "width",
    clusters: ArrayLike | None = None,
    level: float = 0.95,
) -> tuple[Bin, ...]:
    """Compare the mean prediction with the mean outcome, bin by bin.

    Parameters
    ----------
    probabilities, outcomes : ArrayLike
        Predicted probabilities and outcomes, shape (n,), in [0, 1].
    bins : int, default 10
        Maximum number of bins; empty bins are left out.
    binning : Binning, default "width"
        ``width`` cuts [0, 1] into equal parts; ``mass`` cuts the items, sorted by probability,
        into equal numbers, and keeps equal probabilities together.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage.

    Returns
    -------
    tuple[Bin, ...]
        Bins that are not empty, from the lowest probability to the highest.

    Raises
    ------
    InvalidValues
        If lengths differ, a value is out of range, or the binning is unknown.
    """
    predicted, observed = _paired_arrays(probabilities, outcomes)
    labels = None if clusters is None else group_numbers(clusters, len(predicted))[0]
    numbers, count = _bin_numbers(predicted, bins, binning)
    curve = []
    for number in range(count):
        members = numbers == number
        cluster = None if labels is None else labels[members]
        frequency = mean_interval(observed[members], cluster, level=level)
        curve.append(Bin(float(predicted[members].mean()), frequency, int(members.sum())))
    return tuple(curve)


def log_loss(
    probabilities: ArrayLike,
    outcomes: ArrayLike,
    *,
    floor: float = 0.0,
    clusters: ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Estimate the mean negative log-likelihood, in nats.

    Parameters
    ----------
    probabilities, outcomes : ArrayLike
        Predicted probabilities and outcomes, shape (n,), in [0, 1].
    floor : float, default 0.0
        Probabilities are clipped to [floor, 1 - floor]. The loss is then bounded, and the
        interval uses the bounds.
    clusters : ArrayLike, optional
        Cluster label of each item, shape (n,). Default: items are independent.
    level : float, default 0.95
        Nominal coverage.
    seed : int, default 0
        Seed of the bootstrap, which is used without a floor.

    Raises
    ------
    InvalidValues
        If an outcome of probability 0 occurred.
    NoSpread
        If there is no floor, and there is one cluster or no two losses differ.
    """
    if not 0 <= floor < 0.5:
        raise InvalidValues(f"The floor is {floor}", "Give one in [0, 0.5)")
    predicted, observed = _paired_arrays(probabilities, outcomes)
    predicted = np.clip(predicted, floor, 1.0 - floor)
    impossible = np.flatnonzero(
        ((predicted == 0) & (observed > 0)) | ((predicted == 1) & (observed < 1))
    )
    if impossible.size:
        raise InvalidValues(
            f"Item {impossible[0]} happened although its probability is 0",
            "Pass floor=, for example 1e-6, and report it with the loss",
        )
    losses = -_times_log(observed, predicted) - _times_log(1.0 - observed, 1.0 - predicted)
    bounds = (0.0, -float(np.log(floor))) if floor > 0 else None
    try:
        return mean_interval(losses, clusters, bounds=bounds, level=level, seed=seed)
    except NoSpread as error:
        raise NoSpread(
            error.what, "Pass floor=, for example 1e-6, which bounds the loss, and report it"
        ) from None


def _paired_arrays(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Floats]:
    predicted = probability_values(probabilities, "probabilities")
    observed = probability_values(outcomes, "outcomes")
    require_same_length(probabilities=predicted, outcomes=observed)
    return predicted, observed


def _bin_numbers(predicted: Floats, bins: int, binning: Binning) -> tuple[Ints, int]:
    """Return the bin number of each item, from 0 up without gaps, and the number of bins."""
    if bins < 1:
        raise InvalidValues(f"There cannot be {bins} bins", "Give at least one")
    if binning == "width":
        cells = np.minimum((predicted * bins).astype(np.intp), bins - 1)
    elif binning == "mass":
        ranks = np.searchsorted(np.sort(predicted), predicted, side="left")
        cells = (ranks * bins // len(predicted)).astype(np.intp)
    else:
        raise InvalidValues(f"There is no binning {binning!r}", "Known: width, mass")
    used, numbers = np.unique(cells, return_inverse=True)
    return numbers.astype(np.intp), len(used)


def _mean_gap(gaps: Floats, starts: Ints) -> Floats:
    """Return the mean over items of the absolute gap of their bin; items along the last axis."""
    sums = np.abs(np.add.reduceat(gaps, starts, axis=-1)).sum(-1)
    return np.asarray(sums / gaps.shape[-1])


def _times_log(factor: Floats, values: Floats) -> Floats:
    return np.where(factor > 0, factor * np.log(np.where(factor > 0, values, 1.0)), 0.0)
