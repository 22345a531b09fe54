"""Pairs of responses that were judged in different interactions with the same prompt."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.answers import response_key
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case, prompt_key
from backtalk.feedback.conversions.provenance import provenance
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import Label, Outcome, Rating, Scale
from backtalk.feedback.views import Pair

JUDGED_KINDS = ("label", "outcome", "rating")
"""Kinds of feedback on a single response, which can be compared between interactions."""

MAX_PAIRS_OF_A_RESPONSE = 16
"""Maximum number of pairs that a response begins, so that a popular prompt does not have a pair
for any two of its responses."""

_Judgement = Label | Rating | Outcome
_GroupKey = tuple[str, str, Annotator | str, str, Scale | None]


@dataclass
class _JudgedResponse:
    """Response to a prompt, with comparable judgements of it."""

    case: Case
    response: Response
    interactions: set[str] = field(default_factory=set)
    latest: dict[Annotator, tuple[_Judgement, float]] = field(default_factory=dict)
    """Latest judgement by each annotator, and its value in [0, 1]."""

    @property
    def value(self) -> float:
        return fmean(value for _, value in self.latest.values())

    @property
    def items(self) -> list[_Judgement]:
        return [item for item, _ in self.latest.values()]


def pairs_across(cases: Iterable[Case]) -> dict[str, list[Pair]]:
    """Return pairs of responses of different interactions with the same prompt, by kind.

    Labels are compared between people: a response that most people found good is better than one
    that most found bad. Ratings and outcomes are compared by one annotator only, on one scale.
    Two responses of one interaction make no pair here.

    Parameters
    ----------
    cases : iterable of Case
        Cases with labels, ratings or outcomes. They are held in memory.
    """
    groups: dict[_GroupKey, dict[tuple[str, ...], _JudgedResponse]] = defaultdict(dict)
    for case in cases:
        prompt = prompt_key(case.interaction.prompt)
        for item in case.latest().feedback:
            if not isinstance(item, _Judgement):
                continue
            value = _value(item)
            if value is None:
                continue
            # People share an idea of good and bad, and not of a number on a scale.
            source = item.annotator.kind if isinstance(item, Label) else item.annotator
            scale = item.scale if isinstance(item, Rating) else None
            response = case.interaction.response(item.response)
            aspect = getattr(item, "aspect", OVERALL)
            judged = groups[prompt, item.kind, source, aspect, scale].setdefault(
                response_key(response), _JudgedResponse(case, response)
            )
            judged.interactions.add(case.interaction.id)
            judged.latest[item.annotator] = item, value
    results: dict[str, list[Pair]] = {kind: [] for kind in JUDGED_KINDS}
    for (_, kind, _, aspect, _), group in groups.items():
        results[kind] += _pairs(list(group.values()), aspect)
    return results


def _value(item: _Judgement) -> float | None:
    """Return the value of a judgement in [0, 1]; ``None`` if it has none."""
    if isinstance(item, Label):
        return float(item.good)
    if isinstance(item, Rating):
        return item.normalised
    if item.score is None and item.passed is not None:
        return float(item.passed)
    return item.score


def _pairs(judged: Sequence[_JudgedResponse], aspect: str) -> Iterator[Pair]:
    for i, j in _index_pairs(len(judged)):
        a, b = judged[i], judged[j]
        gap = a.value - b.value
        if gap == 0 or a.interactions & b.interactions:
            continue
        better, worse = (a, b) if gap > 0 else (b, a)
        yield Pair(
            chosen=better.response.text,
            rejected=worse.response.text,
            chosen_messages=better.response.messages,
            rejected_messages=worse.response.messages,
            chosen_reasoning=better.response.reasoning,
            rejected_reasoning=worse.response.reasoning,
            aspect=aspect,
            strength=None if isinstance(better.items[0], Label) else min(abs(gap), 1.0),
            **provenance(better.case, *better.items, *worse.items),
        )


def _index_pairs(count: int) -> Iterator[tuple[int, int]]:
    """Yield pairs of indices: all of them, or some that spread over all indices."""
    if count <= 2 * MAX_PAIRS_OF_A_RESPONSE:
        yield from combinations(range(count), 2)
        return
    step = count // (2 * MAX_PAIRS_OF_A_RESPONSE)
    for offset in range(1, MAX_PAIRS_OF_A_RESPONSE + 1):
        for i in range(count):
            yield i, (i + offset * step) % count
