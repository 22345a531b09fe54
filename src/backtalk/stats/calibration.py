"""Whether probabilities mean what they say."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats, Ints, probability_values, require_same_length

Binning = Literal["width", "mass"]


class Bin(NamedTuple):
    """One point of a reliability curve: what was said on average, and what came true."""

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
        The mean squared difference of probability and outcome; 0 is perfect.
    reliability
        How far what was said in a bin lies from what came true there; 0 is perfect.
    resolution
        How far what came true in bins lies from the base rate; the more, the better.
    uncertainty
        What saying the base rate always would score.
    remainder
        What is due to probabilities that differ within a bin; 0 where none do.
    """

    estimate: Estimate
    reliability: float
    resolution: float
    uncertainty: float
    remainder: float

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class CalibrationError:
    """An expected calibration error, and the one that chance alone would show.

    Attributes
    ----------
    value
        The mean distance, over items, of what was said in their bin and what came true there.
    by_chance
        The mean of the same number if the probabilities were right, by simulation. The error
        is biased upwards by about this much when calibration is good, and less when it is bad.
    chance_95
        Its 95th percentile: calibration is refuted where ``value`` is above.
    bins
        How many bins were not empty.
    n
        How many items there were.
    """

    value: float
    by_chance: float
    chance_95: float
    bins: int
    n: int

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
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
        Shape (n,), in [0, 1].
    outcomes : ArrayLike
        Shape (n,), in [0, 1]: 0 or 1, or the share of people who said so.
    bins, binning
        As for :func:`reliability_curve`.
    clusters : ArrayLike, optional
        One label per item, or None.
    """
    said, true = _pair(probabilities, outcomes)
    places, count = _bins(said, bins, binning)
    sizes = np.bincount(places, minlength=count)
    mean_said, mean_true = (
        np.bincount(places, weights=side, minlength=count) / sizes for side in (said, true)
    )
    shares = sizes / len(said)
    base = true.mean()
    reliability = float(shares @ (mean_said - mean_true) ** 2)
    resolution = float(shares @ (mean_true - base) ** 2)
    uncertainty = float(((true - base) ** 2).mean())
    estimate = mean_interval((said - true) ** 2, clusters, level=level)
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
    """Compute the expected calibration error, ECE (Naeini et al. 2015), beside its bias.

    The error has no interval: near zero it is a sum of absolute values that chance alone keeps
    above zero, and a bootstrap of it does not cover. It is compared instead with what it would
    be if the probabilities were right (Broecker and Smith 2007).

    Parameters
    ----------
    probabilities, outcomes : ArrayLike
        Shape (n,); outcomes are 0 or 1.
    bins, binning
        As for :func:`reliability_curve`.
    draws : int, default 1000
        How many times to draw outcomes from the probabilities.
    seed : int, default 0
        Of the draws.

    Raises
    ------
    InvalidValues
        If an outcome is neither 0 nor 1.
    """
    said, true = _pair(probabilities, outcomes)
    if not np.isin(true, (0.0, 1.0)).all():
        raise InvalidValues("An outcome is neither 0 nor 1", "Use brier, which takes shares")
    places, count = _bins(said, bins, binning)
    order = np.argsort(places, kind="stable")
    starts = np.searchsorted(places[order], np.arange(count))
    ordered = said[order]
    rng = np.random.default_rng(seed)
    probability = [
        _mean_gap(ordered - (rng.random(len(ordered)) < ordered), starts) for _ in range(draws)
    ]
    return CalibrationError(
        value=_mean_gap(ordered - true[order], starts),
        by_chance=float(np.mean(probability)),
        chance_95=float(np.quantile(probability, 0.95)),
        bins=count,
        n=len(said),
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
    """Compare what was said with what came true, bin by bin.

    Parameters
    ----------
    probabilities, outcomes : ArrayLike
        Shape (n,), in [0, 1].
    bins : int, default 10
        How many bins at most; empty ones are left out.
    binning : Binning, default "width"
        ``width`` cuts [0, 1] into equal parts; ``mass`` cuts the items, in the order of their
        probabilities, into equal numbers, equal probabilities staying together.
    clusters : ArrayLike, optional
        One label per item, or None.

    Returns
    -------
    curve
        The bins that hold items, from the lowest probability to the highest.
    """
    said, true = _pair(probabilities, outcomes)
    labels = None if clusters is None else np.asarray(clusters)
    places, count = _bins(said, bins, binning)
    curve = []
    for place in range(count):
        here = places == place
        cluster = None if labels is None else labels[here]
        true_here = mean_interval(true[here], cluster, level=level)
        curve.append(Bin(float(said[here].mean()), true_here, int(here.sum())))
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
        Shape (n,), in [0, 1].
    floor : float, default 0.0
        Probabilities are moved into [floor, 1 - floor] first; the loss is then bounded, and
        the interval uses it.
    clusters : ArrayLike, optional
        One label per item, or None.
    level, seed
        See :func:`backtalk.stats.intervals.choose.mean_interval`.

    Raises
    ------
    InvalidValues
        If something happened that was given no probability at all.
    """
    if not 0 <= floor < 0.5:
        raise InvalidValues(f"The floor is {floor}", "Give one in [0, 0.5)")
    said, true = _pair(probabilities, outcomes)
    said = np.clip(said, floor, 1.0 - floor)
    impossible = np.flatnonzero(((said == 0) & (true > 0)) | ((said == 1) & (true < 1)))
    if impossible.size:
        raise InvalidValues(
            f"Item {impossible[0]} happened although it was given no probability",
            "Give floor=, for example 1e-6, and say so beside the figure",
        )
    losses = -_times_log(true, said) - _times_log(1.0 - true, 1.0 - said)
    bounds = (0.0, -float(np.log(floor))) if floor > 0 else None
    return mean_interval(losses, clusters, bounds=bounds, level=level, seed=seed)


def _pair(probabilities: ArrayLike, outcomes: ArrayLike) -> tuple[Floats, Floats]:
    said = probability_values(probabilities, "probabilities")
    true = probability_values(outcomes, "outcomes")
    require_same_length(probabilities=said, outcomes=true)
    return said, true


def _bins(said: Floats, bins: int, binning: Binning) -> tuple[Ints, int]:
    """Number the bin of each item, from 0 up without gaps."""
    if bins < 1:
        raise InvalidValues(f"There cannot be {bins} bins", "Give at least one")
    if binning == "width":
        places = np.minimum((said * bins).astype(np.intp), bins - 1)
    elif binning == "mass":
        ranks = np.searchsorted(np.sort(said), said, side="left")
        places = (ranks * bins // len(said)).astype(np.intp)
    else:
        raise InvalidValues(f"There is no binning {binning!r}", "Known: width, mass")
    used, numbers = np.unique(places, return_inverse=True)
    return numbers.astype(np.intp), len(used)


def _mean_gap(gaps: Floats, starts: Ints) -> float:
    return float(np.abs(np.add.reduceat(gaps, starts)).sum() / len(gaps))


def _times_log(factor: Floats, of: Floats) -> Floats:
    return np.where(factor > 0, factor * np.log(np.where(factor > 0, of, 1.0)), 0.0)
