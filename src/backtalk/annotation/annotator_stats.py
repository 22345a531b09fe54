"""Annotator statistics: volume, speed and agreement, overall and by week."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import combinations
from statistics import median

from backtalk.stats.agreement import Metric, krippendorff_alpha
from backtalk.stats.estimate import Estimate, InvalidValues, NotIdentified
from backtalk.stats.intervals.choose import mean_interval
from backtalk.store.judgements import Judgement
from backtalk.store.row_codec import timestamp

COMPARABLE = ("label", "preference", "rating")
"""Kinds of feedback for which agreement is computed."""

MAX_ANNOTATORS = 50
MAX_PAIRED = 12

JudgedValue = float | str
JudgedItem = tuple[str, str, str, tuple[str, ...]]
"""Object of a judgement: kind, interaction, aspect, responses."""


@dataclass(frozen=True)
class WeekStats:
    """Judgements of an annotator in a week."""

    start: date
    """Monday of the week."""
    judgements: int
    agreement: Estimate | None


@dataclass(frozen=True)
class AnnotatorStats:
    """Statistics of one annotator."""

    name: str
    counts: Mapping[str, int]
    """Number of judgements by kind."""
    seconds: float | None
    """Median seconds per item of an annotation task, ``None`` if there was none."""
    last: datetime
    """Time of the last judgement."""
    agreement: Estimate | None
    """Mean agreement with other annotators of the same item, in [0, 1]. Ratings agree by one minus
    their distance. ``None`` if nobody else judged the same items."""
    weeks: tuple[WeekStats, ...]
    """Statistics by week, oldest first."""

    @property
    def total(self) -> int:
        """Number of judgements."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class AspectAgreement:
    """Chance-corrected agreement on one kind of feedback and aspect."""

    kind: str
    aspect: str
    items: int
    """Number of items that several annotators judged."""
    alpha: Estimate | None
    """Krippendorff's alpha. ``None`` if all values are equal."""


@dataclass(frozen=True)
class AnnotationStats:
    """Statistics of all annotators of a project."""

    people: tuple[AnnotatorStats, ...]
    """Annotators with the most judgements, in descending order."""
    others: int
    """Number of annotators that are not in ``people``."""
    shared: tuple[AspectAgreement, ...]
    paired: tuple[str, ...]
    """Names of the annotators in ``pairs``."""
    pairs: Mapping[tuple[str, str], Estimate]
    """Mean agreement of two annotators. Contains both orders of their names."""


def compute_annotation_stats(
    judgements: Sequence[Judgement], seconds: Mapping[str, Sequence[float]]
) -> AnnotationStats:
    """Compute the statistics of all annotators.

    Parameters
    ----------
    judgements : sequence of Judgement
        Judgements, newest first.
    seconds : Mapping[str, Sequence[float]]
        Seconds per item of annotation tasks, by annotator.
    """
    items = _group_by_item(judgements)
    agreement = _agreement_by_annotator(items)
    counts = Counter(judgement.annotator for judgement in judgements)
    names = [name for name, _ in counts.most_common(MAX_ANNOTATORS)]
    by_annotator: dict[str, list[Judgement]] = {name: [] for name in names}
    for judgement in judgements:
        if judgement.annotator in by_annotator:
            by_annotator[judgement.annotator].append(judgement)
    pairs, paired = _pairwise_agreement(items, names)
    return AnnotationStats(
        people=tuple(
            _annotator_stats(
                name, by_annotator[name], agreement.get(name, {}), seconds.get(name, ())
            )
            for name in names
        ),
        others=len(counts) - len(names),
        shared=tuple(_agreement_by_aspect(items)),
        paired=tuple(paired),
        pairs=pairs,
    )


_TimedValues = dict[str, tuple[JudgedValue, int]]
"""Value and time of arrival, by annotator."""

_Agreement = Mapping[JudgedItem, tuple[float, int]]
"""Agreement and time of arrival, by item."""


def _group_by_item(judgements: Iterable[Judgement]) -> dict[JudgedItem, _TimedValues]:
    """Return the latest value of each annotator, for items with several annotators."""
    items: dict[JudgedItem, _TimedValues] = defaultdict(dict)
    for judgement in judgements:
        item_and_value = _parse_judgement(judgement)
        if item_and_value is not None:
            item, value = item_and_value
            items[item].setdefault(judgement.annotator, (value, judgement.received))
    return {item: values for item, values in items.items() if len(values) > 1}


def _parse_judgement(judgement: Judgement) -> tuple[JudgedItem, JudgedValue] | None:
    if (
        judgement.kind not in COMPARABLE
        or judgement.interaction is None
        or judgement.response is None
    ):
        return None
    prefix = (judgement.kind, judgement.interaction, judgement.aspect or "")
    if judgement.kind != "preference":
        if judgement.value is None:
            return None
        return (*prefix, (judgement.response,)), judgement.value
    pair = (judgement.response, judgement.other or "")
    return (*prefix, tuple(sorted(pair))), _verdict(judgement.value, *pair)


def _verdict(value: float | None, a: str, b: str) -> str:
    """Return a verdict that does not depend on the order of the responses."""
    if value is None:
        return "both bad"
    if value == 0.5:
        return "tie"
    return f"better: {a if value > 0.5 else b}"


def _similarity(item: JudgedItem, a: JudgedValue, b: JudgedValue) -> float:
    if item[0] == "rating" and isinstance(a, float) and isinstance(b, float):
        return 1.0 - abs(a - b)
    return float(a == b)


def _agreement_by_annotator(
    items: Mapping[JudgedItem, _TimedValues],
) -> dict[str, dict[JudgedItem, tuple[float, int]]]:
    """Return each annotator's mean similarity with the others, by item."""
    agreement: dict[str, dict[JudgedItem, tuple[float, int]]] = defaultdict(dict)
    for item, values in items.items():
        for name, (value, received) in values.items():
            similarities = [
                _similarity(item, value, other)
                for other_name, (other, _) in values.items()
                if other_name != name
            ]
            agreement[name][item] = (sum(similarities) / len(similarities), received)
    return agreement


def _annotator_stats(
    name: str,
    judgements: Sequence[Judgement],
    agreement: _Agreement,
    seconds: Sequence[float],
) -> AnnotatorStats:
    return AnnotatorStats(
        name=name,
        counts=dict(Counter(judgement.kind for judgement in judgements).most_common()),
        seconds=median(seconds) if seconds else None,
        last=timestamp(max(judgement.received for judgement in judgements)),
        agreement=_mean(agreement),
        weeks=tuple(_week_stats(judgements, agreement)),
    )


def _week_stats(judgements: Sequence[Judgement], agreement: _Agreement) -> Iterable[WeekStats]:
    counts = Counter(_monday(judgement.received) for judgement in judgements)
    by_week: dict[date, dict[JudgedItem, tuple[float, int]]] = defaultdict(dict)
    for item, (similarity, received) in agreement.items():
        by_week[_monday(received)][item] = (similarity, received)
    for start in sorted(counts):
        yield WeekStats(start, counts[start], _mean(by_week.get(start, {})))


def _monday(received: int) -> date:
    day = timestamp(received).date()
    return day - timedelta(days=day.weekday())


def _mean(agreement: _Agreement) -> Estimate | None:
    if not agreement:
        return None
    values = [similarity for similarity, _ in agreement.values()]
    interactions = [item[1] for item in agreement]
    all_distinct = len(set(interactions)) == len(interactions)
    return mean_interval(values, None if all_distinct else interactions)


def _agreement_by_aspect(
    items: Mapping[JudgedItem, _TimedValues],
) -> Iterable[AspectAgreement]:
    groups: dict[tuple[str, str], list[JudgedItem]] = defaultdict(list)
    for item in items:
        groups[item[0], item[2]].append(item)
    for (kind, aspect), members in sorted(groups.items()):
        values = [[value for value, _ in items[item].values()] for item in members]
        interactions = [item[1] for item in members]
        yield AspectAgreement(kind, aspect, len(members), _alpha(kind, values, interactions))


def _alpha(
    kind: str, values: Sequence[Sequence[JudgedValue]], interactions: Sequence[str]
) -> Estimate | None:
    """Return Krippendorff's alpha.

    Alpha does not depend on which annotator gave a value, so that the rows of the table need not
    be annotators.
    """
    count = max(map(len, values))
    table = [[item[row] if row < len(item) else None for item in values] for row in range(count)]
    metric: Metric = "interval" if kind == "rating" else "nominal"
    try:
        return krippendorff_alpha(table, metric=metric, clusters=list(interactions)).estimate
    except (NotIdentified, InvalidValues):
        return None


def _pairwise_agreement(
    items: Mapping[JudgedItem, _TimedValues], names: Sequence[str]
) -> tuple[dict[tuple[str, str], Estimate], list[str]]:
    candidates = set(names)
    agreement: dict[tuple[str, str], dict[JudgedItem, tuple[float, int]]] = defaultdict(dict)
    for item, values in items.items():
        for a, b in combinations(sorted(candidates & values.keys()), 2):
            agreement[a, b][item] = (_similarity(item, values[a][0], values[b][0]), 0)
    with_partner = {name for pair in agreement for name in pair}
    paired = [name for name in names if name in with_partner][:MAX_PAIRED]
    pairs = {}
    for (a, b), by_item in agreement.items():
        estimate = _mean(by_item)
        if estimate is not None and a in paired and b in paired:
            pairs[a, b] = pairs[b, a] = estimate
    return pairs, paired
