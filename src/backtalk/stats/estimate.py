"""A number with its interval, and what to raise where there is no number to give."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from backtalk.errors import BacktalkError


@dataclass(frozen=True)
class Estimate:
    """A number with its interval.

    Attributes
    ----------
    value
        The estimate itself.
    low, high
        The ends of the interval. They are on the scale of ``value``.
    level
        The nominal coverage, 0.95 unless asked otherwise.
    n
        How many values the estimate rests on.
    clusters
        How many independent groups those values form (prompts, annotators); None where each
        value stands for itself.
    method
        How the interval was made, in a word or two.
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
        """The distance between the ends."""
        return self.high - self.low

    def excludes(self, number: float) -> bool:
        """Whether the interval leaves out a number, such as 0 for a difference."""
        return not self.low <= number <= self.high

    def transform(self, slope: float, offset: float = 0.0) -> Estimate:
        """The same estimate of ``slope * quantity + offset``."""
        low, high = sorted((slope * self.low + offset, slope * self.high + offset))
        return replace(self, value=slope * self.value + offset, low=low, high=high)

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


class NotIdentified(BacktalkError):
    """A fit that the data leave without an answer, rather than with a wide one."""


class InvalidValues(BacktalkError, ValueError):
    """Values that a statistic cannot be computed from."""
