"""Baselines for choosing among candidates: longest, shortest, first and random."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from backtalk.stats.estimate import Estimate, InvalidValues
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats, finite_values
from backtalk.stats.win_rate import paired_difference

ChoiceRule = Callable[[Sequence[str]], Floats]
"""Function from the candidate texts of a prompt to the probability of choosing each."""


def longest(texts: Sequence[str]) -> Floats:
    """Choose the longest text in characters, uniformly among ties."""
    return _uniform_over([len(text) for text in texts], max)


def shortest(texts: Sequence[str]) -> Floats:
    """Choose the shortest text in characters, uniformly among ties."""
    return _uniform_over([len(text) for text in texts], min)


def first(texts: Sequence[str]) -> Floats:
    """Choose the first text."""
    return np.asarray(np.eye(1, len(texts))[0])


def random(texts: Sequence[str]) -> Floats:
    """Choose uniformly among all texts."""
    return np.full(len(texts), 1.0 / len(texts))


BASELINES: Mapping[str, ChoiceRule] = {
    "longest": longest,
    "first": first,
    "random": random,
    "shortest": shortest,
}


@dataclass(frozen=True)
class BaselineScore:
    """Score of a baseline rule, compared with the chooser.

    Attributes
    ----------
    score
        Mean value of the rule's choices.
    difference
        Chooser minus rule, paired by prompt.
    agreement
        Share of prompts on which the rule and the chooser choose the same candidate.
    """

    score: Estimate
    difference: Estimate
    agreement: float


@dataclass(frozen=True)
class BaselineComparison:
    """Comparison of a chooser with the baseline rules.

    Attributes
    ----------
    chooser
        Mean value of the chooser's choices.
    ceiling
        Mean value of the best candidate of each prompt: the upper bound for any chooser.
    baselines
        Score of each rule, by its name.
    """

    chooser: Estimate
    ceiling: Estimate
    baselines: dict[str, BaselineScore]

    def beats_all(self) -> bool:
        """Return true if the interval of every difference to a rule lies above zero."""
        return all(score.difference.low > 0 for score in self.baselines.values())

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


def compare_to_baselines(
    texts: Sequence[Sequence[str]],
    values: Sequence[ArrayLike],
    chosen: Sequence[int],
    *,
    clusters: ArrayLike | None = None,
    bounds: tuple[float, float] | None = (0.0, 1.0),
    rules: Mapping[str, ChoiceRule] = BASELINES,
    level: float = 0.95,
    seed: int = 0,
) -> BaselineComparison:
    """Compare a chooser with the baseline rules on the same prompts.

    A randomised rule is scored by its expectation, so sampling adds no noise.

    Parameters
    ----------
    texts : Sequence[Sequence[str]]
        Candidates of each prompt.
    values : sequence of ArrayLike
        Judge's value of each candidate, one array per prompt.
    chosen : sequence of int
        Index of the chooser's candidate, one per prompt.
    clusters : ArrayLike, optional
        Cluster label of each prompt. Default: prompts are independent.
    bounds : tuple[float, float] or None, default (0.0, 1.0)
        Ends of the judge's scale; None if it has none.
    rules : Mapping[str, ChoiceRule], default BASELINES
        Rules to compare with, by name.
    level : float, default 0.95
        Nominal coverage.
    seed : int, default 0
        Seed of the bootstrap, which is used without bounds.

    Raises
    ------
    InvalidValues
        If the lengths differ, a value is out of bounds, or a chosen index does not exist.
    """
    judge_values = [
        _candidate_values(number, *row) for number, row in enumerate(_rows(texts, values, chosen))
    ]
    options: dict[str, Any] = {"clusters": clusters, "bounds": bounds, "level": level, "seed": seed}
    chooser = _column(judge_values[i][index] for i, index in enumerate(chosen))
    baselines = {}
    for name, rule in rules.items():
        probabilities = [rule(candidates) for candidates in texts]
        expected = _column(
            probability @ value
            for probability, value in zip(probabilities, judge_values, strict=True)
        )
        if bounds is not None:
            expected = np.clip(expected, *bounds)
        baselines[name] = BaselineScore(
            score=mean_interval(expected, **options),
            difference=paired_difference(chooser, expected, **options),
            agreement=float(np.mean([probabilities[i][index] for i, index in enumerate(chosen)])),
        )
    return BaselineComparison(
        chooser=mean_interval(chooser, **options),
        ceiling=mean_interval(_column(value.max() for value in judge_values), **options),
        baselines=baselines,
    )


def _rows(
    texts: Sequence[Sequence[str]], values: Sequence[ArrayLike], chosen: Sequence[int]
) -> list[tuple[Sequence[str], ArrayLike, int]]:
    if not len(texts) == len(values) == len(chosen):
        raise InvalidValues(
            f"There are {len(texts)} prompts, {len(values)} rows of values "
            f"and {len(chosen)} choices",
            "Give one entry of each per prompt",
        )
    return list(zip(texts, values, chosen, strict=True))


def _candidate_values(
    number: int, candidates: Sequence[str], values: ArrayLike, index: int
) -> Floats:
    array = finite_values(values, f"values[{number}]")
    if not all(isinstance(text, str) for text in candidates):
        raise InvalidValues(
            f"Prompt {number} has a candidate that is no text",
            "Leave such candidates out",
        )
    if not isinstance(index, (int, np.integer)):
        raise InvalidValues(
            f"The choice {index!r} of prompt {number} is not an index", "Give whole numbers from 0"
        )
    if array.size != len(candidates) or not 0 <= index < array.size:
        raise InvalidValues(
            f"Prompt {number} has {len(candidates)} candidates, {array.size} values, "
            f"and candidate {index} was chosen",
            "Give one value per candidate, and the index of one of them",
        )
    return array


def _column(numbers: Any) -> Floats:
    return np.fromiter(numbers, dtype=float)


def _uniform_over(lengths: list[int], pick: Callable[[list[int]], int]) -> Floats:
    probabilities = np.asarray(lengths) == pick(lengths)
    return np.asarray(probabilities / probabilities.sum())
