"""How people judge: how much, how fast, how far they agree, and whether that changes."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import combinations
from statistics import median

from backtalk.annotation.recent import Judgement
from backtalk.stats.agreement import Metric, krippendorff_alpha
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.intervals.choose import mean_interval
from backtalk.store.row_codec import timestamp

COMPARED = ("label", "preference", "rating")
"""The kinds whose judgements of one thing can be put side by side."""

MOST_PEOPLE = 50
MOST_PAIRED = 12

Value = float | str
Unit = tuple[str, str, str, tuple[str, ...]]
"""What was judged: kind, interaction, aspect, responses."""


@dataclass(frozen=True)
class Week:
    """A person's judgements in a week."""

    start: date
    """Its Monday."""
    judgements: int
    agreement: Estimate | None


@dataclass(frozen=True)
class Person:
    """Somebody who judges."""

    name: str
    counts: Mapping[str, int]
    """How many judgements, by kind."""
    seconds: float | None
    """The median time for an item of a task; None where there was none."""
    last: datetime
    agreement: Estimate | None
    """How often somebody else who judged the same said the same, from 0 to 1; ratings count by how
    near they are. None where nobody judged the same."""
    weeks: tuple[Week, ...]
    """The oldest first."""

    @property
    def total(self) -> int:
        """How many judgements there are."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class Shared:
    """What several people judged, and how far they agree beyond chance."""

    kind: str
    aspect: str
    items: int
    alpha: Estimate | None
    """Krippendorff's; None where everybody always said the same one thing."""


@dataclass(frozen=True)
class People:
    """Everybody who judges."""

    people: tuple[Person, ...]
    """Who judged most first."""
    others: int
    """How many more there are."""
    shared: tuple[Shared, ...]
    paired: tuple[str, ...]
    """Those in the table of pairs."""
    pairs: Mapping[tuple[str, str], Estimate]
    """How far two people agree; both orders are there."""


def people_of(judgements: Sequence[Judgement], seconds: Mapping[str, Sequence[float]]) -> People:
    """Return the figures.

    Parameters
    ----------
    judgements : sequence of Judgement
        The latest first.
    seconds : Mapping[str, Sequence[float]]
        The times that each person took.
    """
    units = _units(judgements)
    agreed = _agreed(units)
    counts = Counter(judged.annotator for judged in judgements)
    names = [name for name, _ in counts.most_common(MOST_PEOPLE)]
    own: dict[str, list[Judgement]] = {name: [] for name in names}
    for judged in judgements:
        if judged.annotator in own:
            own[judged.annotator].append(judged)
    pairs, paired = _pairs(units, names)
    return People(
        people=tuple(
            _person(name, own[name], agreed.get(name, {}), seconds.get(name, ())) for name in names
        ),
        others=len(counts) - len(names),
        shared=tuple(_shared(units)),
        paired=tuple(paired),
        pairs=pairs,
    )


def _units(judgements: Iterable[Judgement]) -> dict[Unit, dict[str, tuple[Value, int]]]:
    """Return what each person last said of each thing, and when."""
    units: dict[Unit, dict[str, tuple[Value, int]]] = defaultdict(dict)
    for judged in judgements:
        result = _unit(judged)
        if result is not None:
            unit, value = result
            units[unit].setdefault(judged.annotator, (value, judged.received))
    return {unit: said for unit, said in units.items() if len(said) > 1}


def _unit(judged: Judgement) -> tuple[Unit, Value] | None:
    if judged.kind not in COMPARED or judged.interaction is None or judged.response is None:
        return None
    where = (judged.kind, judged.interaction, judged.aspect or "")
    if judged.kind != "preference":
        return None if judged.value is None else ((*where, (judged.response,)), judged.value)
    pair = (judged.response, judged.other or "")
    return (*where, tuple(sorted(pair))), _verdict(judged.value, *pair)


def _verdict(value: float | None, a: str, b: str) -> str:
    """Return a verdict that does not depend on which response was shown first."""
    if value is None:
        return "both bad"
    if value == 0.5:
        return "tie"
    return f"better: {a if value > 0.5 else b}"


def _nearness(unit: Unit, one: Value, other: Value) -> float:
    if unit[0] == "rating" and isinstance(one, float) and isinstance(other, float):
        return 1.0 - abs(one - other)
    return float(one == other)


def _agreed(
    units: Mapping[Unit, Mapping[str, tuple[Value, int]]],
) -> dict[str, dict[Unit, tuple[float, int]]]:
    """Return for each person and thing how far the others agree on average, and when it was."""
    results: dict[str, dict[Unit, tuple[float, int]]] = defaultdict(dict)
    for unit, said in units.items():
        for name, (value, at) in said.items():
            near = [_nearness(unit, value, v) for other, (v, _) in said.items() if other != name]
            results[name][unit] = (sum(near) / len(near), at)
    return results


def _person(
    name: str,
    own: Sequence[Judgement],
    agreed: Mapping[Unit, tuple[float, int]],
    seconds: Sequence[float],
) -> Person:
    return Person(
        name=name,
        counts=dict(Counter(judged.kind for judged in own).most_common()),
        seconds=median(seconds) if seconds else None,
        last=timestamp(max(judged.received for judged in own)),
        agreement=_mean(agreed),
        weeks=tuple(_weeks(own, agreed)),
    )


def _weeks(own: Sequence[Judgement], agreed: Mapping[Unit, tuple[float, int]]) -> Iterable[Week]:
    counts = Counter(_week(judged.received) for judged in own)
    parts: dict[date, dict[Unit, tuple[float, int]]] = defaultdict(dict)
    for unit, (near, at) in agreed.items():
        parts[_week(at)][unit] = (near, at)
    for start in sorted(counts):
        yield Week(start, counts[start], _mean(parts.get(start, {})))


def _week(received: int) -> date:
    day = timestamp(received).date()
    return day - timedelta(days=day.weekday())


def _mean(agreed: Mapping[Unit, tuple[float, int]]) -> Estimate | None:
    if not agreed:
        return None
    values = [near for near, _ in agreed.values()]
    interactions = [unit[1] for unit in agreed]
    alone = len(set(interactions)) == len(interactions)
    return mean_interval(values, None if alone else interactions)


def _shared(units: Mapping[Unit, Mapping[str, tuple[Value, int]]]) -> Iterable[Shared]:
    groups: dict[tuple[str, str], list[Unit]] = defaultdict(list)
    for unit in units:
        groups[unit[0], unit[2]].append(unit)
    for (kind, aspect), members in sorted(groups.items()):
        said = [[value for value, _ in units[unit].values()] for unit in members]
        yield Shared(kind, aspect, len(members), _alpha(kind, said, [unit[1] for unit in members]))


def _alpha(
    kind: str, said: Sequence[Sequence[Value]], interactions: Sequence[str]
) -> Estimate | None:
    """Return alpha; whose each value is does not enter it, so that rows are not people."""
    rows = max(map(len, said))
    table = [[one[row] if row < len(one) else None for one in said] for row in range(rows)]
    metric: Metric = "interval" if kind == "rating" else "nominal"
    try:
        return krippendorff_alpha(table, metric=metric, clusters=list(interactions)).estimate
    except (NotIdentified, InvalidValues):
        return None


def _pairs(
    units: Mapping[Unit, Mapping[str, tuple[Value, int]]], names: Sequence[str]
) -> tuple[dict[tuple[str, str], Estimate], list[str]]:
    wanted = set(names)
    both: dict[tuple[str, str], dict[Unit, tuple[float, int]]] = defaultdict(dict)
    for unit, said in units.items():
        for one, other in combinations(sorted(wanted & said.keys()), 2):
            near = _nearness(unit, said[one][0], said[other][0])
            both[one, other][unit] = (near, 0)
    sharing = {name for pair in both for name in pair}
    paired = [name for name in names if name in sharing][:MOST_PAIRED]
    results = {}
    for (one, other), agreed in both.items():
        estimate = _mean(agreed)
        if estimate is not None and one in paired and other in paired:
            results[one, other] = results[other, one] = estimate
    return results, paired
