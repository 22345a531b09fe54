"""Conversions to scores in [0, 1], and to rankings."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from backtalk.feedback.case import Case
from backtalk.feedback.conversions.provenance import completion, group_by_judge, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.kinds import Label, Outcome, Ranking, Rating
from backtalk.feedback.views import RankingView, ScoreView


@conversion(ScoreView, "rating")
def rating_scores(case: Case) -> list[ScoreView]:
    """Convert ratings, mapped to [0, 1]."""
    return [
        ScoreView(
            **completion(case, item.response),
            score=item.normalised,
            aspect=item.aspect,
            **provenance(case, item),
        )
        for item in case.of(Rating)
    ]


@conversion(ScoreView, "label")
def label_scores(case: Case) -> list[ScoreView]:
    """Convert labels to scores of 0 (bad) or 1 (good)."""
    return [
        ScoreView(
            **completion(case, item.response),
            score=float(item.good),
            aspect=item.aspect,
            **provenance(case, item),
        )
        for item in case.of(Label)
    ]


@conversion(ScoreView, "outcome")
def outcome_scores(case: Case) -> list[ScoreView]:
    """Convert outcomes: the score, or 0 (failed) or 1 (passed) if there is none."""
    return [
        ScoreView(
            **completion(case, item.response),
            score=float(item.passed or False) if item.score is None else item.score,
            **provenance(case, item),
        )
        for item in case.of(Outcome)
    ]


@conversion(RankingView, "ranking")
def ranking_rankings(case: Case) -> list[RankingView]:
    """Convert rankings."""
    return [
        RankingView(
            **tiers_of(case, item.tiers),
            within=item.within,
            aspect=item.aspect,
            **provenance(case, item),
        )
        for item in case.of(Ranking)
    ]


@conversion(RankingView, "rating", condition="two responses rated by one annotator on one aspect")
def rating_rankings(case: Case) -> list[RankingView]:
    """Convert the ratings by one annotator on one scale to a ranking; equal ratings tie."""
    rankings = []
    for aspect, ratings in group_by_judge(case.of(Rating)):
        if len(ratings) < 2 or len({rating.scale for rating in ratings}) > 1:
            continue
        tiers: dict[float, list[str]] = defaultdict(list)
        for rating in sorted(ratings, key=lambda rating: -rating.value):
            tiers[rating.value].append(rating.response)
        rankings.append(
            RankingView(
                **tiers_of(case, tiers.values()),
                aspect=aspect,
                **provenance(case, *ratings),
            )
        )
    return rankings


def tiers_of(case: Case, tiers: Iterable[Sequence[str]]) -> dict[str, Any]:
    """Return the fields of a view that hold tiers of responses."""
    responses = [[case.interaction.response(id_) for id_ in tier] for tier in tiers]
    messages = tuple(tuple(item.messages for item in tier) for tier in responses)
    return {
        "tiers": tuple(tuple(item.text for item in tier) for tier in responses),
        "messages": messages if any(map(any, messages)) else (),
    }
