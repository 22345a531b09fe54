"""What a claim is: a paper's headline result, and a program that measures it."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path
from typing import Literal

import numpy as np

from backtalk.errors import UnknownName
from backtalk.stats import Estimate, InvalidValues, mean_interval
from claims.systems import system_named

Status = Literal["holds", "partly", "fails", "not yet"]
Measure = Callable[[int], Mapping[str, float]]
"""Measures the claim's figures once, from a seed."""


_IMPORTED = re.compile(rb"^from claims\.(\w+) import", re.MULTILINE)


@dataclass(frozen=True)
class Expected:
    """One figure of a claim, and what it has to be."""

    name: str
    """What the measuring function calls it."""
    what: str
    """What it is, in words, with its unit."""
    above: float | None = None
    """The direction holds where the whole interval lies above this."""
    below: float | None = None
    """The direction holds where the whole interval lies below this."""
    size: tuple[float, float] | None = None
    """The size holds where the estimate lies in this range, ends included."""
    paper: str = ""
    """What the paper reports, as it reports it."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """Where its values can lie: an interval ends there too."""

    def estimate(self, values: Sequence[float]) -> Estimate:
        """Return the mean over seeds with its interval."""
        result = over_seeds(values)
        low, high = self.bounds
        return replace(result, low=max(result.low, low), high=min(result.high, high))

    @property
    def has_direction(self) -> bool:
        """Whether a direction is expected, and not a size alone."""
        return self.above is not None or self.below is not None

    def direction_holds(self, found: Estimate) -> bool:
        """Return whether the interval lies on the right side."""
        return (self.above is None or found.low > self.above) and (
            self.below is None or found.high < self.below
        )

    def size_holds(self, found: Estimate) -> bool:
        """Return whether the estimate lies in the range."""
        return self.size is None or self.size[0] <= found.value <= self.size[1]


def above(name: str, what: str, paper: str = "") -> Expected:
    """Return a figure that has to lie above 0."""
    return Expected(name, what, above=0.0, paper=paper)


def below(name: str, what: str, paper: str = "") -> Expected:
    """Return a figure that has to lie below 0."""
    return Expected(name, what, below=0.0, paper=paper)


@dataclass(frozen=True)
class Claim:
    """A paper's headline result, with the program that reproduces it."""

    name: str
    system: str
    """As ``systems.tsv`` names it."""
    paper: str
    method: str
    """The method of Backtalk that is put to the test."""
    says: str
    """The result, in a sentence."""
    world: str
    """The world that it is reproduced in; ``""`` for real data."""
    expected: tuple[Expected, ...]
    """Its figures, the main result first."""
    seeds: int
    measure: Measure

    @property
    def family(self) -> str:
        """The family of its system."""
        return system_named(self.system).family

    @property
    def digest(self) -> str:
        """Determined by the program and the files of this folder that it uses.

        What was measured by another program is measured again.
        """
        file = Path(inspect.getfile(self.measure))
        source = file.read_bytes()
        for name in sorted(set(_IMPORTED.findall(source)) - {b"claim"}):
            source += (Path(__file__).parent / f"{name.decode()}.py").read_bytes()
        return blake2b(source + str(self.seeds).encode(), digest_size=8).hexdigest()

    def estimates(self, runs: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
        """Return each figure's mean over seeds, with its interval."""
        return {
            item.name: item.estimate([run[item.name] for run in runs]) for item in self.expected
        }

    def status(self, found: Mapping[str, Estimate]) -> Status:
        """Return "holds" where all is as the paper says, "partly" where its main result is.

        The first figure is that result: it has to have its direction, or, where none is expected,
        its size.
        """
        first = self.expected[0]
        main = first.direction_holds if first.has_direction else first.size_holds
        if not main(found[first.name]):
            return "fails"
        held = [
            item.direction_holds(found[item.name]) and item.size_holds(found[item.name])
            for item in self.expected
        ]
        return "holds" if all(held) else "partly"


def over_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean of independent runs with Student's interval; equal values have no width."""
    try:
        return mean_interval(values, bounds=None, method="t")
    except InvalidValues:
        mean = float(np.mean(values))
        return Estimate(mean, mean, mean, 0.95, len(values), None, "equal")


CLAIMS: dict[str, Claim] = {}
"""Every claim by name."""


def claim(
    *,
    system: str,
    paper: str,
    method: str,
    says: str,
    expected: Sequence[Expected],
    world: str = "",
    seeds: int = 5,
) -> Callable[[Measure], Measure]:
    """Register a function from a seed to measured figures as a claim; its name is the claim's.

    Parameters
    ----------
    system
        The system whose claim it is, as ``systems.tsv`` names it.
    paper
        Authors, year, title, and where in it the figure stands.
    method
        The method of Backtalk that is put to the test.
    says
        The result, in a sentence.
    expected
        The figures, and what they have to be; the paper's main result is the first.
    world
        The world that it is reproduced in; left out for real data.
    seeds
        Over how many seeds it is measured.

    Raises
    ------
    UnknownName
        If no system has that name.
    """
    system_named(system)

    def register(measure: Measure) -> Measure:
        name = measure.__name__.replace("_", "-")
        CLAIMS[name] = Claim(
            name, system, paper, method, says, world, tuple(expected), seeds, measure
        )
        return measure

    return register


def find_claims(names: Sequence[str]) -> list[Claim]:
    """Return the claims of these names, or of systems or families so called; all for none.

    Raises
    ------
    UnknownName
        If a name stands for no claim.
    """
    results: dict[str, Claim] = {} if names else dict(CLAIMS)
    for name in names:
        fitting = {
            key: item for key, item in CLAIMS.items() if name in {key, item.system, item.family}
        }
        if not fitting:
            raise UnknownName.among("claim, system or family with claims", name, list(CLAIMS))
        results |= fitting
    return list(results.values())
