"""The models whose answers were compared, ranked by the preferences that are recorded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Preference, Response
from backtalk.feedback.case import Case, prompt_key
from backtalk.stats.distributions import expit
from backtalk.stats.estimate import Estimate, NotIdentified
from backtalk.stats.length_controlled import length_controlled
from backtalk.stats.paired.bradley_terry import bradley_terry
from backtalk.stats.win_rate import win_rate

Array = NDArray[np.float64]

_EVEN = 0.5


@dataclass(frozen=True)
class LeaderboardEntry:
    """One model among those that were compared."""

    model: str
    win_rate: Estimate
    """How often it is preferred: to the reference, or, where there is none, to the average model
    by a Bradley-Terry fit."""
    length_controlled: Estimate | None
    """The win rate with the effect of length taken out; only against a reference, and only where
    the answers' lengths vary enough to tell length from quality."""
    mean_length: float
    """Of its answers, in characters."""


@dataclass(frozen=True)
class Leaderboard:
    """All models that were compared, the best first."""

    reference: str | None
    """The model that all others were compared with; ``None`` where there is no such one."""
    places: tuple[LeaderboardEntry, ...]
    prompts: int
    preferences: int
    both_bad: int
    """Preferences that said that both were bad: those say nothing about which is better and are
    left out."""

    def to_dict(self) -> dict[str, Any]:
        """The fields, ready for JSON."""
        return asdict(self)


@dataclass
class _Comparisons:
    """Columns over preferences."""

    first: list[str]
    second: list[str]
    probability: list[float]
    prompt: list[str]
    lengths: list[tuple[int, int]]
    both_bad: int = 0


def leaderboard(
    cases: Iterable[Case], *, reference: str | None = None, seed: int = 0
) -> Leaderboard:
    """Rank models by the preferences between their answers.

    Parameters
    ----------
    cases : Iterable[Case]
        A response counts for the model that wrote it; one of no known model for its id.
    reference : str, optional
        The model to compare all others with. By default the one that takes part in every
        comparison, if there is one. Else all are ranked by a Bradley-Terry fit.
    seed : int, default 0
        Of the intervals that are drawn.

    Raises
    ------
    BacktalkError
        If no two models were compared.
    UnknownName
        If the reference is none of the models.
    NotIdentified
        If the comparisons do not say who is better: a model never lost, or no comparison links it
        with the others.
    """
    result = _read(cases)
    names = sorted({*result.first, *result.second})
    if len(names) < 2:
        raise BacktalkError(
            "There are no preferences between answers of different models",
            "Import some, with the responses' models named",
        )
    if reference is not None and reference not in names:
        raise UnknownName.among("model called", reference, names)
    if reference is None:
        reference = _common(result)
    places = _fitted(result, names) if reference is None else _against(result, reference, seed)
    return Leaderboard(
        reference=reference,
        places=tuple(sorted(places, key=lambda place: -place.win_rate.value)),
        prompts=len(set(result.prompt)),
        preferences=len(result.prompt),
        both_bad=result.both_bad,
    )


def _read(cases: Iterable[Case]) -> _Comparisons:
    result = _Comparisons([], [], [], [], [])
    for case in cases:
        prompt = ""
        for item in case.of(Preference):
            if item.verdict == "both_bad":
                result.both_bad += 1
                continue
            a, b = (case.interaction.response(id_) for id_ in (item.a, item.b))
            if _model(a) == _model(b):
                continue
            prompt = prompt or prompt_key(case.interaction.prompt)
            stated = {"a": 1.0, "b": 0.0}.get(item.verdict, _EVEN)
            result.first.append(_model(a))
            result.second.append(_model(b))
            result.probability.append(stated if item.probability is None else item.probability)
            result.prompt.append(prompt)
            result.lengths.append((len(a.text), len(b.text)))
    return result


def _model(response: Response) -> str:
    return response.model or response.id


def _common(found: _Comparisons) -> str | None:
    """Return the one model that takes part in every comparison, where there are three or more."""
    pairs = {frozenset(pair) for pair in zip(found.first, found.second, strict=True)}
    common = frozenset.intersection(*pairs)
    return next(iter(common)) if len(common) == 1 else None


def _against(found: _Comparisons, reference: str, seed: int) -> list[LeaderboardEntry]:
    prompts = {prompt: i for i, prompt in enumerate(dict.fromkeys(found.prompt))}
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    lengths: dict[str, dict[int, float]] = defaultdict(dict)
    theirs = np.full(len(prompts), np.nan)
    columns = zip(
        found.first, found.second, found.probability, found.prompt, found.lengths, strict=True
    )
    for first, second, probability, prompt, (its, other) in columns:
        if reference not in {first, second}:
            continue
        turned = first == reference
        model, place = second if turned else first, prompts[prompt]
        values[model][place].append(1 - probability if turned else probability)
        lengths[model][place] = other if turned else its
        theirs[place] = its if turned else other
    models = sorted(values)
    table, sizes = np.full((2, len(models), len(prompts)), np.nan)
    for row, model in enumerate(models):
        for place, judged in values[model].items():
            table[row, place] = np.mean(judged)
            sizes[row, place] = lengths[model][place]
    judged_at_all = ~np.isnan(theirs)
    table, sizes, theirs = table[:, judged_at_all], sizes[:, judged_at_all], theirs[judged_at_all]
    controlled = _controlled(table, sizes, theirs, models, seed)
    return [
        LeaderboardEntry(
            model=model,
            win_rate=win_rate(row[~np.isnan(row)], seed=seed).estimate,
            length_controlled=controlled.get(model),
            mean_length=float(np.nanmean(size)),
        )
        for model, row, size in zip(models, table, sizes, strict=True)
    ]


def _controlled(
    table: Array, sizes: Array, theirs: Array, models: list[str], seed: int
) -> dict[str, Estimate]:
    """Return length-controlled win rates; none where length cannot be told from quality."""
    try:
        result = length_controlled(table, sizes, theirs, models=models, seed=seed)
    except NotIdentified:
        return {}
    return dict(zip(result.models, result.estimates, strict=True))


def _fitted(found: _Comparisons, names: list[str]) -> list[LeaderboardEntry]:
    fit = bradley_terry(found.first, found.second, found.probability, clusters=found.prompt)
    written: dict[str, list[int]] = defaultdict(list)
    for first, second, (its, other) in zip(found.first, found.second, found.lengths, strict=True):
        written[first].append(its)
        written[second].append(other)
    return [
        LeaderboardEntry(
            model=name,
            win_rate=_probability(fit.strength(name)),
            length_controlled=None,
            mean_length=float(np.mean(written[name])),
        )
        for name in names
    ]


def _probability(strength: Estimate) -> Estimate:
    """Return the chance of being preferred to a model of average strength."""
    value, low, high = expit([strength.value, strength.low, strength.high])
    return replace(strength, value=float(value), low=float(low), high=float(high))
