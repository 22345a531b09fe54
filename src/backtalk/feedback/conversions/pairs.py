"""Conversions to pairs: one response better than another, or a tie."""

from __future__ import annotations

from itertools import combinations
from typing import Any, Literal

from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.conversions.provenance import group_by_judge, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.kinds import Choice, Edit, Label, Outcome, Preference, Ranking, Rating
from backtalk.feedback.views import Pair


def _display_fields(case: Case, chosen: str, rejected: str) -> dict[str, Any]:
    shown = case.interaction.shown
    if shown is None or chosen not in shown or rejected not in shown:
        return {}
    first = "chosen" if shown.index(chosen) < shown.index(rejected) else "rejected"
    return {"first": first, "propensity": case.interaction.propensity}


def _pair(case: Case, chosen: str, rejected: str, *items: BaseFeedback, **fields: Any) -> Pair:
    better, worse = (case.interaction.response(id_) for id_ in (chosen, rejected))
    return Pair(
        chosen=better.text,
        rejected=worse.text,
        chosen_messages=better.messages,
        rejected_messages=worse.messages,
        chosen_reasoning=better.reasoning,
        rejected_reasoning=worse.reasoning,
        **provenance(case, *items),
        **{**_display_fields(case, chosen, rejected), **fields},
    )


@conversion(Pair, "preference", condition="a preference or a tie, not both bad")
def preference_pairs(case: Case) -> list[Pair]:
    """Convert preferences and ties; "both bad" makes no pair."""
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
    """Convert a ranking of K responses to its K (K - 1) / 2 pairs, ties included.

    Responses in one unordered tier make no pair.
    """
    pairs = []
    for item in case.of(Ranking):
        ranks = {id_: i for i, tier in enumerate(item.tiers) for id_ in tier}
        for better, worse in combinations(ranks, 2):
            tie = ranks[better] == ranks[worse]
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
    """Convert ratings of two responses to a pair with their distance on the scale as strength."""
    pairs = []
    for aspect, ratings in group_by_judge(case.of(Rating)):
        for a, b in combinations(ratings, 2):
            if a.scale != b.scale:
                continue
            gap = a.normalised - b.normalised
            better, worse = (a, b) if gap >= 0 else (b, a)
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
    """Convert a good and a bad response to a pair; two responses with equal labels make none."""
    return [
        _pair(case, good.response, bad.response, good, bad, aspect=aspect)
        for aspect, labels in group_by_judge(case.of(Label))
        for good in labels
        if good.good
        for bad in labels
        if not bad.good
    ]


@conversion(Pair, "outcome", condition="two responses with different outcomes by one verifier")
def outcome_pairs(case: Case) -> list[Pair]:
    """Convert two outcomes with different scores, or one passed and one failed, to a pair."""
    pairs = []
    for _, outcomes in group_by_judge(case.of(Outcome)):
        for a, b in combinations(outcomes, 2):
            gap = _outcome_gap(a, b)
            if gap == 0:
                continue
            better, worse = (a, b) if gap > 0 else (b, a)
            pairs.append(
                _pair(case, better.response, worse.response, better, worse, strength=abs(gap))
            )
    return pairs


def _outcome_gap(a: Outcome, b: Outcome) -> float:
    if a.score is not None and b.score is not None and a.score != b.score:
        return a.score - b.score
    if a.passed is not None and b.passed is not None:
        return float(a.passed) - float(b.passed)
    return 0.0


@conversion(Pair, "edit")
def edit_pairs(case: Case) -> list[Pair]:
    """Convert edits to pairs of the edited text over the original."""
    pairs = []
    for edit in case.of(Edit):
        original = case.interaction.response(edit.response)
        pairs.append(
            Pair(
                chosen=edit.text,
                rejected=original.text,
                rejected_messages=original.messages,
                rejected_reasoning=original.reasoning,
                **provenance(case, edit),
            )
        )
    return pairs


@conversion(Pair, "choice", condition="one response was picked and another was not")
def choice_pairs(case: Case, *, examined: Literal["all", "above"] = "all") -> list[Pair]:
    """Convert choices to pairs of the picked response over the other responses shown.

    Parameters
    ----------
    case : Case
        An interaction and its feedback.
    examined : {"all", "above"}, default "all"
        Responses that count as examined and not picked. ``"above"``: only those displayed before
        the picked one, "click > skip above" of Joachims (2002), "Optimizing search engines using
        clickthrough data".
    """
    pairs = []
    for item in case.of(Choice):
        ids = [shown.response for shown in item.shown]
        if item.chosen is None:
            continue
        chosen_position = ids.index(item.chosen)
        for position, rejected in enumerate(ids):
            if position == chosen_position or (examined == "above" and position > chosen_position):
                continue
            pairs.append(
                _pair(
                    case,
                    item.chosen,
                    rejected,
                    item,
                    first="chosen" if chosen_position < position else "rejected",
                    propensity=item.shown[chosen_position].propensity,
                )
            )
    return pairs
