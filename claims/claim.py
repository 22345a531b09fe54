"""Claims: headline results of papers, each with a program that measures it."""

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
from claims.systems import get_system

Status = Literal["holds", "partly", "fails", "not yet"]
MeasureFunction = Callable[[int], Mapping[str, float]]
"""Function from a seed to the figures of a claim, by name."""


FIRST_CONFIRMATION_SEED = 50
"""First of the seeds on which no setting is chosen and no figure is looked at before the end."""

_IMPORTED = re.compile(rb"^from claims\.(\w+) import", re.MULTILINE)


@dataclass(frozen=True)
class Expected:
    """Figure of a claim, with its expected direction and size."""

    name: str
    """Key of the figure in the result of the measuring function."""
    what: str
    """Description with the unit."""
    above: float | None = None
    """Lower threshold: the direction holds if the whole interval lies above it."""
    below: float | None = None
    """Upper threshold: the direction holds if the whole interval lies below it."""
    size: tuple[float, float] | None = None
    """Range of the estimate, ends included; the size holds within it."""
    paper: str = ""
    """Result in the paper, as the paper reports it."""
    bounds: tuple[float, float] = (-math.inf, math.inf)
    """Range of possible values; intervals are clipped to it."""

    def estimate(self, values: Sequence[float]) -> Estimate:
        """Return the mean over seeds with its interval."""
        result = over_seeds(values)
        low, high = self.bounds
        return replace(result, low=max(result.low, low), high=min(result.high, high))

    @property
    def has_direction(self) -> bool:
        """True if a direction is expected, not only a size."""
        return self.above is not None or self.below is not None

    def direction_holds(self, estimate: Estimate) -> bool:
        """Return true if the interval lies on the expected side."""
        return (self.above is None or estimate.low > self.above) and (
            self.below is None or estimate.high < self.below
        )

    def size_holds(self, estimate: Estimate) -> bool:
        """Return true if the estimate lies in the expected range."""
        return self.size is None or self.size[0] <= estimate.value <= self.size[1]


def above(name: str, what: str, paper: str = "") -> Expected:
    """Return a figure that is expected to lie above 0.

    Parameters
    ----------
    name, what, paper : str
        See :class:`Expected`.
    """
    return Expected(name, what, above=0.0, paper=paper)


def below(name: str, what: str, paper: str = "") -> Expected:
    """Return a figure that is expected to lie below 0.

    Parameters
    ----------
    name, what, paper : str
        See :class:`Expected`.
    """
    return Expected(name, what, below=0.0, paper=paper)


@dataclass(frozen=True)
class Control:
    """The same figure without the mechanism of the claim, which the figure has to surpass.

    Both are measured with the same seed, so that their difference is paired.
    """

    name: str
    """Key of the control in the result of the measuring function."""
    what: str
    """Description of what is done instead, for example "feedback shuffled between prompts"."""
    figure: str
    """Name of the figure, which must have a direction."""


@dataclass(frozen=True)
class Claim:
    """Headline result of a paper, with the program that reproduces it."""

    name: str
    system: str
    """Name of the system in ``systems.tsv``."""
    paper: str
    """Authors, year, title, and the place of the figure."""
    method: str
    """Method of Backtalk that is tested."""
    says: str
    """Result in one sentence."""
    world: str
    """World of the reproduction; ``""`` for real data."""
    expected: tuple[Expected, ...]
    """Expected figures, the main result first."""
    seeds: int
    """Number of seeds."""
    measure: MeasureFunction
    controls: tuple[Control, ...] = ()
    """Controls of figures; see :class:`Control`."""
    model: str = ""
    """Name of the real language model that learns; ``""`` for models made for the sandbox."""

    def __post_init__(self) -> None:
        directed = [item.name for item in self.expected if item.has_direction]
        names = [item.name for item in (*self.expected, *self.controls)]
        for control in self.controls:
            if control.figure not in directed:
                raise ValueError(
                    f"claim {self.name!r}: the control {control.name!r} is of the figure "
                    f"{control.figure!r}, which is not one with a direction: {directed}"
                )
            if names.count(control.name) > 1:
                raise ValueError(f"claim {self.name!r}: two figures are named {control.name!r}")

    @property
    def family(self) -> str:
        """Family of the system."""
        return get_system(self.system).family

    @property
    def data(self) -> str:
        """Data of the reproduction: a world of the sandbox, or real data, and a real model."""
        data = f"sandbox: {self.world}" if self.world else "real"
        return f"real model ({self.model}), {self.world}" if self.model else data

    @property
    def main_seeds(self) -> range:
        """Seeds of the published figures."""
        return range(self.seeds)

    @property
    def confirmation_seeds(self) -> range:
        """Further seeds, as many again, that confirm a result once nothing is changed any more."""
        return range(FIRST_CONFIRMATION_SEED, FIRST_CONFIRMATION_SEED + self.seeds)

    @property
    def digest(self) -> str:
        """Hash of the program and of the files of this folder that it imports.

        Results with another digest are measured again.
        """
        file = Path(inspect.getfile(self.measure))
        source = file.read_bytes()
        for name in sorted(set(_IMPORTED.findall(source)) - {b"claim"}):
            source += (Path(__file__).parent / f"{name.decode()}.py").read_bytes()
        return blake2b(source + str(self.seeds).encode(), digest_size=8).hexdigest()

    def estimates(self, runs: Sequence[Mapping[str, float]]) -> dict[str, Estimate]:
        """Return the mean over seeds of each figure and control, with its interval.

        The advantage of a figure over a control, in the figure's direction, is below the key
        :func:`advantage_key` of the control.
        """
        figures = {item.name: item for item in self.expected}
        results = {
            name: item.estimate([run[name] for run in runs]) for name, item in figures.items()
        }
        for control in self.controls:
            figure = figures[control.figure]
            sign = 1 if figure.above is not None else -1
            results[control.name] = figure.estimate([run[control.name] for run in runs])
            results[advantage_key(control)] = over_seeds(
                [sign * (run[figure.name] - run[control.name]) for run in runs]
            )
        return results

    def status(self, estimates: Mapping[str, Estimate]) -> Status:
        """Return "holds" if all figures agree with the paper, "partly" if the main result does.

        The main result is the first figure. It agrees if its direction holds, or its size if no
        direction is expected. No figure agrees that does not surpass each of its controls.
        """
        first = self.expected[0]
        main = first.direction_holds if first.has_direction else first.size_holds
        if not (main(estimates[first.name]) and self.surpasses_controls(first, estimates)):
            return "fails"
        held = [
            item.direction_holds(estimates[item.name])
            and item.size_holds(estimates[item.name])
            and self.surpasses_controls(item, estimates)
            for item in self.expected
        ]
        return "holds" if all(held) else "partly"

    def surpasses_controls(self, figure: Expected, estimates: Mapping[str, Estimate]) -> bool:
        """Return true if the interval of each paired advantage over a control lies above 0.

        Parameters
        ----------
        figure : Expected
            Figure of this claim.
        estimates : mapping of str to Estimate
            Result of :meth:`estimates`.
        """
        return all(
            estimates[advantage_key(control)].low > 0
            for control in self.controls
            if control.figure == figure.name
        )


def advantage_key(control: Control) -> str:
    """Return the key of a figure's paired advantage over a control."""
    return f"advantage over {control.name}"


def over_seeds(values: Sequence[float]) -> Estimate:
    """Return the mean of independent runs with Student's interval, of width 0 for equal values."""
    try:
        return mean_interval(values, bounds=None, method="t")
    except InvalidValues:
        mean = float(np.mean(values))
        return Estimate(mean, mean, mean, 0.95, len(values), None, "equal")


CLAIMS: dict[str, Claim] = {}
"""All claims by name."""


def claim(
    *,
    system: str,
    paper: str,
    method: str,
    says: str,
    expected: Sequence[Expected],
    controls: Sequence[Control] = (),
    world: str = "",
    model: str = "",
    seeds: int = 5,
) -> Callable[[MeasureFunction], MeasureFunction]:
    """Register a measuring function as a claim with the name of the function.

    Parameters
    ----------
    system : str
        Name of the system in ``systems.tsv``.
    paper : str
        Authors, year, title, and the place of the figure.
    method : str
        Method of Backtalk that is tested.
    says : str
        Result in one sentence.
    expected : sequence of Expected
        Expected figures, the main result first.
    controls : sequence of Control, default ()
        What the figures have to surpass.
    world : str, default ""
        World of the reproduction; empty for real data.
    model : str, default ""
        Name of the real language model that learns; empty for models of the sandbox.
    seeds : int, default 5
        Number of seeds.

    Raises
    ------
    UnknownName
        If no system has that name.
    """
    get_system(system)

    def register(measure: MeasureFunction) -> MeasureFunction:
        name = measure.__name__.strip("_").replace("_", "-")
        CLAIMS[name] = Claim(
            name, system, paper, method, says, world, tuple(expected), seeds, measure,
            tuple(controls), model,
        )  # fmt: skip
        return measure

    return register


def find_claims(names: Sequence[str]) -> list[Claim]:
    """Return the claims with these names, or of these systems or families; all if there are none.

    Raises
    ------
    UnknownName
        If a name matches no claim.
    """
    results: dict[str, Claim] = {} if names else dict(CLAIMS)
    for name in names:
        matches = {
            key: item for key, item in CLAIMS.items() if name in {key, item.system, item.family}
        }
        if not matches:
            raise UnknownName.among("claim, system or family with claims", name, list(CLAIMS))
        results |= matches
    return list(results.values())
