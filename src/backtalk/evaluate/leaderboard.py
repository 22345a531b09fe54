"""Leaderboard: models ranked by the recorded preferences between their answers."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback import Preference, Response
from backtalk.feedback.aspects import listed_aspects
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, prompt_key
from backtalk.stats.distributions import expit
from backtalk.stats.estimate import Estimate, NotIdentified
from backtalk.stats.labels import is_missing
from backtalk.stats.length_controlled import length_controlled
from backtalk.stats.length_table import length_table
from backtalk.stats.paired.bradley_terry import bradley_terry
from backtalk.stats.validation import Floats
from backtalk.stats.win_rate import win_rate

_TIE = 0.5


@dataclass(frozen=True)
class LeaderboardEntry:
    """Entry of a leaderboard: one model with its win rate."""

    model: str
    win_rate: Estimate
    """Win rate against the reference; without one, against a model of average strength by a
    Bradley-Terry fit."""
    length_controlled: Estimate | None
    """Length-controlled win rate; ``None`` without a reference, or if the effect of length on its
    win rate is not identified."""
    mean_length: float
    """Mean length of its answers, in characters."""


@dataclass(frozen=True)
class Leaderboard:
    """Ranking of the models that were compared."""

    reference: str | None
    """Model that all others were compared with; ``None`` if there is no such model."""
    places: tuple[LeaderboardEntry, ...]
    """Entries, the best model first."""
    prompts: int
    """Number of prompts with a preference."""
    preferences: int
    """Number of preferences."""
    both_bad: int
    """Number of verdicts that both answers are bad, which are left out."""
    aspect: str = OVERALL
    """Aspect of the preferences."""
    other_aspects: dict[str, int] = field(default_factory=dict)
    """Number of preferences on other aspects, which are left out, by aspect."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields, ready for JSON."""
        return asdict(self)


@dataclass
class _Comparisons:
    """Preferences as columns."""

    first: list[str]
    second: list[str]
    probability: list[float]
    prompt: list[str]
    lengths: list[tuple[int, int]]
    both_bad: int = 0
    others: Counter[str] = field(default_factory=Counter)
    """Number of preferences on other aspects, by aspect."""


def leaderboard(
    cases: Iterable[Case],
    *,
    reference: str | None = None,
    variants: Sequence[str] = (),
    aspect: str = OVERALL,
    seed: int = 0,
) -> Leaderboard:
    """Rank models by the preferences between their answers.

    Parameters
    ----------
    cases : Iterable[Case]
        Interactions with their feedback. A response without a model counts as a model named by
        its id.
    reference : str, optional
        Model to compare all others with. Default: the model that takes part in every comparison,
        if there is one; otherwise all models are ranked by a Bradley-Terry fit.
    variants : sequence of str, optional
        Models that are the reference with longer or shorter answers. They guard the
        length-controlled win rates, see :func:`backtalk.stats.length_controlled`.
    aspect : str, default "overall"
        Aspect of the preferences; those on other aspects are left out and counted.
    seed : int, default 0
        Seed of the bootstrap.

    Raises
    ------
    BacktalkError
        If there are no comparisons of two models on that aspect.
    UnknownName
        If the reference or a variant is none of the models.
    NotIdentified
        If the comparisons do not determine the ranking: a model never lost, or no comparison
        links it with the others.
    """
    comparisons = _read(cases, aspect)
    names = sorted({*comparisons.first, *comparisons.second})
    if len(names) < 2:
        raise _empty(comparisons, aspect)
    if reference is not None and reference not in names:
        raise UnknownName.among("model called", reference, names)
    for variant in variants:
        if variant not in names:
            raise UnknownName.among("model called", variant, names)
    if reference is None:
        reference = _common_model(comparisons)
    if reference is None:
        places = _entries_by_strength(comparisons, names)
    else:
        places = _entries_by_win_rate(comparisons, reference, variants, seed)
    return Leaderboard(
        reference=reference,
        places=tuple(sorted(places, key=lambda entry: -entry.win_rate.value)),
        prompts=len(set(comparisons.prompt)),
        preferences=len(comparisons.prompt),
        both_bad=comparisons.both_bad,
        aspect=aspect,
        other_aspects=dict(comparisons.others.most_common()),
    )


def _empty(comparisons: _Comparisons, aspect: str) -> BacktalkError:
    if not comparisons.others:
        return BacktalkError(
            "There are no preferences between answers of different models",
            "Import preferences between responses with their models",
        )
    known = listed_aspects(comparisons.others)
    return BacktalkError(
        f"There are no preferences on the aspect {aspect!r} between answers of different models; "
        f"there are {known}",
        f"Name one of these aspects: --aspect {comparisons.others.most_common(1)[0][0]}",
    )


def _read(cases: Iterable[Case], aspect: str) -> _Comparisons:
    comparisons = _Comparisons([], [], [], [], [])
    for case in cases:
        prompt = ""
        for item in case.latest().of(Preference):
            if item.aspect != aspect:
                comparisons.others[item.aspect] += 1
                continue
            if item.verdict == "both_bad":
                comparisons.both_bad += 1
                continue
            a, b = (case.interaction.response(id_) for id_ in (item.a, item.b))
            if _model(a) == _model(b):
                continue
            prompt = prompt or prompt_key(case.interaction.prompt)
            score = {"a": 1.0, "b": 0.0}.get(item.verdict, _TIE)
            comparisons.first.append(_model(a))
            comparisons.second.append(_model(b))
            comparisons.probability.append(score if item.probability is None else item.probability)
            comparisons.prompt.append(prompt)
            comparisons.lengths.append((len(a.text), len(b.text)))
    return comparisons


def _model(response: Response) -> str:
    return response.id if is_missing(response.model) else str(response.model)


def _common_model(comparisons: _Comparisons) -> str | None:
    """Return the model that takes part in every comparison, if there are three or more models."""
    pairs = {frozenset(pair) for pair in zip(comparisons.first, comparisons.second, strict=True)}
    common = frozenset.intersection(*pairs)
    return next(iter(common)) if len(common) == 1 else None


def _entries_by_win_rate(
    comparisons: _Comparisons, reference: str, variants: Sequence[str], seed: int
) -> list[LeaderboardEntry]:
    prompts = {prompt: i for i, prompt in enumerate(dict.fromkeys(comparisons.prompt))}
    values: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    lengths: dict[str, dict[int, float]] = defaultdict(dict)
    reference_lengths = np.full(len(prompts), np.nan)
    columns = zip(
        comparisons.first,
        comparisons.second,
        comparisons.probability,
        comparisons.prompt,
        comparisons.lengths,
        strict=True,
    )
    for first, second, probability, prompt, (length_a, length_b) in columns:
        if reference not in {first, second}:
            continue
        swapped = first == reference
        model, index = second if swapped else first, prompts[prompt]
        values[model][index].append(1 - probability if swapped else probability)
        lengths[model][index] = length_b if swapped else length_a
        reference_lengths[index] = length_a if swapped else length_b
    models = sorted(values)
    table, sizes = np.full((2, len(models), len(prompts)), np.nan)
    for row, model in enumerate(models):
        for index, preferences in values[model].items():
            table[row, index] = np.mean(preferences)
            sizes[row, index] = lengths[model][index]
    used = ~np.isnan(reference_lengths)
    table, sizes, reference_lengths = table[:, used], sizes[:, used], reference_lengths[used]
    controlled = _length_controlled(
        table, sizes, reference_lengths, models=models, variants=variants, seed=seed
    )
    return [
        LeaderboardEntry(
            model=model,
            win_rate=win_rate(row[~np.isnan(row)], seed=seed).estimate,
            length_controlled=controlled.get(model),
            mean_length=float(np.nanmean(size)),
        )
        for model, row, size in zip(models, table, sizes, strict=True)
    ]


def _length_controlled(
    table: Floats,
    sizes: Floats,
    reference_lengths: Floats,
    *,
    models: list[str],
    variants: Sequence[str],
    seed: int,
) -> dict[str, Estimate]:
    """Return length-controlled win rates, without models whose effect of length is unknown."""
    rows = [
        row
        for row in range(len(models))
        if _is_identified(table[row], sizes[row], reference_lengths)
    ]
    if not rows:
        return {}
    names = [models[row] for row in rows]
    try:
        result = length_controlled(
            table[rows],
            sizes[rows],
            reference_lengths,
            models=names,
            variants=[variant for variant in variants if variant in names],
            seed=seed,
        )
    except NotIdentified:
        return {}
    return dict(zip(result.models, result.estimates, strict=True))


def _is_identified(outcomes: Floats, sizes: Floats, reference_lengths: Floats) -> bool:
    try:
        length_table(outcomes, sizes, reference_lengths, None)
    except NotIdentified:
        return False
    return True


def _entries_by_strength(comparisons: _Comparisons, names: list[str]) -> list[LeaderboardEntry]:
    # One prompt shows no spread between prompts; its preferences count as independent.
    clusters = comparisons.prompt if len(set(comparisons.prompt)) > 1 else None
    try:
        fit = bradley_terry(
            comparisons.first, comparisons.second, comparisons.probability, clusters=clusters
        )
    except NotIdentified as error:
        raise NotIdentified(
            error.what, "Collect more preferences, or name a reference model to compare with"
        ) from None
    lengths: dict[str, list[int]] = defaultdict(list)
    for first, second, (length_a, length_b) in zip(
        comparisons.first, comparisons.second, comparisons.lengths, strict=True
    ):
        lengths[first].append(length_a)
        lengths[second].append(length_b)
    return [
        LeaderboardEntry(
            model=name,
            win_rate=_probability(fit.strength(name)),
            length_controlled=None,
            mean_length=float(np.mean(lengths[name])),
        )
        for name in names
    ]


def _probability(strength: Estimate) -> Estimate:
    """Return the probability of being preferred to a model of average strength."""
    value, low, high = expit([strength.value, strength.low, strength.high])
    return replace(strength, value=float(value), low=float(low), high=float(high))
