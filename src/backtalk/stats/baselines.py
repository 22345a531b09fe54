"""What the simplest rules for choosing among candidates would have scored."""

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


def longest(texts: Sequence[str]) -> Floats:
    """Choose the longest text, by characters; equally long ones with equal chance."""
    return _even([len(text) for text in texts], max)


def shortest(texts: Sequence[str]) -> Floats:
    """Choose the shortest text, by characters; equally short ones with equal chance."""
    return _even([len(text) for text in texts], min)


def first(texts: Sequence[str]) -> Floats:
    """Choose whichever text comes first."""
    return np.asarray(np.eye(1, len(texts))[0])


def random(texts: Sequence[str]) -> Floats:
    """Choose any text with equal chance."""
    return np.full(len(texts), 1.0 / len(texts))


BASELINES: Mapping[str, ChoiceRule] = {
    "longest": longest,
    "first": first,
    "random": random,
    "shortest": shortest,
}


@dataclass(frozen=True)
class BaselineScore:
    """How a trivial rule does, and how much better the chooser does.

    Attributes
    ----------
    score
        The mean value of what the rule chooses.
    difference
        Chooser minus rule, paired by prompt.
    agreement
        The share of prompts on which the rule chooses what the chooser chose.
    """

    score: Estimate
    difference: Estimate
    agreement: float


@dataclass(frozen=True)
class BaselineComparison:
    """A chooser among the trivial rules.

    Attributes
    ----------
    chooser
        The mean value of what it chose.
    ceiling
        The mean value of the best candidate of each prompt, which no chooser can pass.
    baselines
        One entry per rule.
    """

    chooser: Estimate
    ceiling: Estimate
    baselines: dict[str, BaselineScore]

    def beats_all(self) -> bool:
        """Whether every difference to a trivial rule lies above zero, interval and all."""
        return all(score.difference.low > 0 for score in self.baselines.values())

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
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
    """Put a chooser beside the trivial rules, on the same prompts.

    A rule that leaves something to chance is scored by its expectation, so that no draw adds
    noise.

    Parameters
    ----------
    texts : Sequence[Sequence[str]]
        For each prompt, its candidates.
    values : sequence of ArrayLike
        For each prompt, the value that the judge gives each candidate.
    chosen : sequence of int
        For each prompt, the index of the candidate that the chooser took.
    clusters : ArrayLike, optional
        One label per prompt, or None.
    bounds : tuple[float, float], default (0.0, 1.0)
        The ends of the judge's scale, or None where it has none.
    rules : Mapping[str, Chances], default BASELINES
        The rules to compare with: a function from the candidates of a prompt to the chance of
        choosing each.
    level, seed
        See :func:`backtalk.stats.intervals.choose.mean_interval`.
    """
    judged = [_judged(number, *row) for number, row in enumerate(_rows(texts, values, chosen))]
    options: dict[str, Any] = {"clusters": clusters, "bounds": bounds, "level": level, "seed": seed}
    own = _column(judged[i][index] for i, index in enumerate(chosen))
    standings = {}
    for name, rule in rules.items():
        probabilities = [rule(candidates) for candidates in texts]
        theirs = _column(
            probability @ value for probability, value in zip(probabilities, judged, strict=True)
        )
        if bounds is not None:
            theirs = np.clip(theirs, *bounds)
        standings[name] = BaselineScore(
            score=mean_interval(theirs, **options),
            difference=paired_difference(own, theirs, **options),
            agreement=float(np.mean([probabilities[i][index] for i, index in enumerate(chosen)])),
        )
    return BaselineComparison(
        chooser=mean_interval(own, **options),
        ceiling=mean_interval(_column(value.max() for value in judged), **options),
        baselines=standings,
    )


def _rows(
    texts: Sequence[Sequence[str]], values: Sequence[ArrayLike], chosen: Sequence[int]
) -> list[tuple[Sequence[str], ArrayLike, int]]:
    if not len(texts) == len(values) == len(chosen):
        raise InvalidValues(
            f"There are {len(texts)} prompts, {len(values)} rows of values "
            f"and {len(chosen)} choices",
            "Give one of each per prompt",
        )
    return list(zip(texts, values, chosen, strict=True))


def _judged(number: int, candidates: Sequence[str], values: ArrayLike, index: int) -> Floats:
    array = finite_values(values, f"values[{number}]")
    if array.size != len(candidates) or not 0 <= index < array.size:
        raise InvalidValues(
            f"Prompt {number} has {len(candidates)} candidates, {array.size} values, "
            f"and candidate {index} was chosen",
            "Give one value per candidate, and the index of one of them",
        )
    return array


def _column(numbers: Any) -> Floats:
    return np.fromiter(numbers, dtype=float)


def _even(lengths: list[int], pick: Callable[[list[int]], int]) -> Floats:
    probabilities = np.asarray(lengths) == pick(lengths)
    return np.asarray(probabilities / probabilities.sum())
