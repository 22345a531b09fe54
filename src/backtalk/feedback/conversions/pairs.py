"""What can be seen as pairs: one response better than another, or a tie."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.conversions.provenance import by_judge, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.judgements import Label, Preference, Ranking, Rating
from backtalk.feedback.signals import Choice, Outcome
from backtalk.feedback.views import Case, Pair
from backtalk.feedback.words import Edit


def _display(case: Case, chosen: str, rejected: str) -> dict[str, Any]:
    shown = case.interaction.shown
    if shown is None or chosen not in shown or rejected not in shown:
        return {}
    first = "chosen" if shown.index(chosen) < shown.index(rejected) else "rejected"
    return {"first": first, "propensity": case.interaction.propensity}


def _pair(case: Case, chosen: str, rejected: str, *items: BaseFeedback, **fields: Any) -> Pair:
    return Pair(
        chosen=case.text(chosen),
        rejected=case.text(rejected),
        **provenance(case, *items),
        **{**_display(case, chosen, rejected), **fields},
    )


@conversion(Pair, "preference", condition="a preference or a tie, not both bad")
def preference_pairs(case: Case) -> list[Pair]:
    """A preference is a pair; "both bad" is none."""
    pairs = []
    for item in case.of(Preference):
        if item.verdict == "both_bad":
            continue
        b_wins = item.verdict == "b"
        chosen, rejected = (item.b, item.a) if b_wins else (item.a, item.b)
        p = item.probability
        if item.verdict == "tie":
            p = 0.5
        elif p is None:
            p = 1.0
        elif b_wins:
            p = 1 - p
        pairs.append(
            _pair(
                case,
                chosen,
                rejected,
                item,
                tie=item.verdict == "tie",
                probability=p,
                strength=item.strength,
                aspect=item.aspect,
            )
        )
    return pairs


@conversion(Pair, "ranking")
def ranking_pairs(case: Case) -> list[Pair]:
    """A ranking of K is its pairs: K (K - 1) / 2, ties among them, if all K are told apart."""
    pairs = []
    for item in case.of(Ranking):
        level = {id_: i for i, tier in enumerate(item.tiers) for id_ in tier}
        for better, worse in combinations(level, 2):
            tie = level[better] == level[worse]
            if tie and item.within == "unordered":
                continue
            pairs.append(
                _pair(
                    case,
                    better,
                    worse,
                    item,
                    tie=tie,
                    probability=0.5 if tie else 1.0,
                    aspect=item.aspect,
                )
            )
    return pairs


@conversion(Pair, "rating", condition="two responses rated by one annotator on one aspect")
def rating_pairs(case: Case) -> list[Pair]:
    """Ratings of two responses are a pair whose strength is their distance on the scale."""
    pairs = []
    for aspect, ratings in by_judge(case.of(Rating)):
        for one, other in combinations(ratings, 2):
            if one.scale != other.scale:
                continue
            gap = one.normalised - other.normalised
            better, worse = (one, other) if gap >= 0 else (other, one)
            pairs.append(
                _pair(
                    case,
                    better.response,
                    worse.response,
                    better,
                    worse,
                    tie=gap == 0,
                    probability=0.5 if gap == 0 else 1.0,
                    strength=abs(gap) or None,
                    aspect=aspect,
                )
            )
    return pairs


@conversion(Pair, "label", condition="a good and a bad response by one annotator on one aspect")
def label_pairs(case: Case) -> list[Pair]:
    """A good response and a bad one are a pair; two of a sort say nothing about each other."""
    return [
        _pair(case, good.response, bad.response, good, bad, aspect=aspect)
        for aspect, labels in by_judge(case.of(Label))
        for good in labels
        if good.good
        for bad in labels
        if not bad.good
    ]


@conversion(Pair, "outcome", condition="two responses with different outcomes by one verifier")
def outcome_pairs(case: Case) -> list[Pair]:
    """A response that passed and one that failed are a pair, as are two scores that differ."""
    pairs = []
    for _, outcomes in by_judge(case.of(Outcome)):
        for one, other in combinations(outcomes, 2):
            gap = _outcome_gap(one, other)
            if gap == 0:
                continue
            better, worse = (one, other) if gap > 0 else (other, one)
            pairs.append(
                _pair(case, better.response, worse.response, better, worse, strength=abs(gap))
            )
    return pairs


def _outcome_gap(one: Outcome, other: Outcome) -> float:
    if one.score is not None and other.score is not None and one.score != other.score:
        return one.score - other.score
    if one.passed is not None and other.passed is not None:
        return float(one.passed) - float(other.passed)
    return 0.0


@conversion(Pair, "edit")
def edit_pairs(case: Case) -> list[Pair]:
    """An edited response is preferred to the original."""
    return [
        Pair(chosen=edit.text, rejected=case.text(edit.response), **provenance(case, edit))
        for edit in case.of(Edit)
    ]


@conversion(Pair, "choice", condition="something was taken and something else was not")
def choice_pairs(case: Case, *, examined: Literal["all", "above"] = "all") -> list[Pair]:
    """What was taken is preferred to what was shown and not taken.

    Parameters
    ----------
    case : Case
        An interaction and its feedback.
    examined : {"all", "above"}, default "all"
        ``"above"`` counts only what stood before the choice as seen and passed over: "click >
        skip above" of Joachims (2002), "Optimizing search engines using clickthrough data".
    """
    pairs = []
    for item in case.of(Choice):
        ids = [shown.response for shown in item.shown]
        if item.chosen is None:
            continue
        at = ids.index(item.chosen)
        for position, other in enumerate(ids):
            if position == at or (examined == "above" and position > at):
                continue
            pairs.append(
                _pair(
                    case,
                    item.chosen,
                    other,
                    item,
                    first="chosen" if at < position else "rejected",
                    propensity=item.shown[at].propensity,
                )
            )
    return pairs
