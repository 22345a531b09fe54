"""Estimates with confidence intervals, and the errors of statistics without an estimate."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from statistics import NormalDist
from typing import Any

from backtalk.errors import BacktalkError


@dataclass(frozen=True)
class Estimate:
    """Point estimate with a confidence interval.

    Attributes
    ----------
    value
        Point estimate.
    low, high
        Ends of the interval, on the scale of ``value``.
    level
        Nominal coverage, such as 0.95.
    n
        Number of values.
    clusters
        Number of independent groups of values, such as prompts or annotators; None if all values
        are independent.
    method
        Name of the interval's method.
    """

    value: float
    low: float
    high: float
    level: float
    n: int
    clusters: int | None
    method: str

    @property
    def width(self) -> float:
        """Width of the interval."""
        return self.high - self.low

    def excludes(self, number: float) -> bool:
        """Return true if a number, such as 0 for a difference, lies outside the interval."""
        return not self.low <= number <= self.high

    def transform(self, slope: float, offset: float = 0.0) -> Estimate:
        """Return the estimate of ``slope * quantity + offset``."""
        low, high = sorted((slope * self.low + offset, slope * self.high + offset))
        return replace(self, value=slope * self.value + offset, low=low, high=high)

    def widened(self, std: float, *, method: str) -> Estimate:
        """Return the estimate with an independent normal error added to its interval.

        Each half of the interval is the root of the sum of the squares of both errors.

        Parameters
        ----------
        std : float
            Standard deviation of the error.
        method : str
            Name of the error, which is added to the name of the interval's method.
        """
        reach = NormalDist().inv_cdf(0.5 + self.level / 2) * std
        return replace(
            self,
            low=self.value - math.hypot(self.value - self.low, reach),
            high=self.value + math.hypot(self.high - self.value, reach),
            method=f"{self.method} + {method}",
        )

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


class NotIdentified(BacktalkError):
    """Error for data that do not determine an estimate."""


class InvalidValues(BacktalkError, ValueError):
    """Error for values or options that a statistic does not accept."""


class NoSpread(InvalidValues):
    """Error for values without a spread, from which no interval follows without bounds."""
