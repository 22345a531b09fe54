"""What can be seen as scores in [0, 1], and as ranked lists."""

from __future__ import annotations

from collections import defaultdict

from backtalk.feedback.conversions.provenance import by_judge, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.judgements import Label, Ranking, Rating
from backtalk.feedback.signals import Outcome
from backtalk.feedback.views import Case, RankingView, ScoreView


@conversion(ScoreView, "rating")
def rating_scores(case: Case) -> list[ScoreView]:
    """A rating is a score, moved to [0, 1]."""
    return [
        ScoreView(
            completion=case.text(item.response),
            score=item.normalised,
            aspect=item.aspect,
            **provenance(case, item),
        )
        for item in case.of(Rating)
    ]


@conversion(ScoreView, "label")
def label_scores(case: Case) -> list[ScoreView]:
    """A label is a score of 0 or 1."""
    return [
        ScoreView(
            completion=case.text(item.response),
            score=float(item.good),
            aspect=item.aspect,
            **provenance(case, item),
        )
        for item in case.of(Label)
    ]


@conversion(ScoreView, "outcome")
def outcome_scores(case: Case) -> list[ScoreView]:
    """An outcome is its score, or 0 or 1 where it only passed or failed."""
    return [
        ScoreView(
            completion=case.text(item.response),
            score=float(item.passed or False) if item.score is None else item.score,
            **provenance(case, item),
        )
        for item in case.of(Outcome)
    ]


@conversion(RankingView, "ranking")
def ranking_ranked(case: Case) -> list[RankingView]:
    """A ranking is a ranked list."""
    return [
        RankingView(
            tiers=tuple(tuple(case.text(id_) for id_ in tier) for tier in item.tiers),
            within=item.within,
            aspect=item.aspect,
            **provenance(case, item),
        )
        for item in case.of(Ranking)
    ]


@conversion(RankingView, "rating", condition="two responses rated by one annotator on one aspect")
def rating_ranked(case: Case) -> list[RankingView]:
    """Ratings by one annotator rank what they rated; equal ratings tie."""
    lists = []
    for aspect, ratings in by_judge(case.of(Rating)):
        if len(ratings) < 2 or len({rating.scale for rating in ratings}) > 1:
            continue
        tiers: dict[float, list[str]] = defaultdict(list)
        for rating in sorted(ratings, key=lambda rating: -rating.value):
            tiers[rating.value].append(case.text(rating.response))
        lists.append(
            RankingView(
                tiers=tuple(tuple(tier) for tier in tiers.values()),
                aspect=aspect,
                **provenance(case, *ratings),
            )
        )
    return lists
