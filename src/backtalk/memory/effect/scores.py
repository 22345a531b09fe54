"""Scores of answers from feedback: the outcomes on which the effect of an entry is measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Literal

from backtalk.feedback import (
    AnyFeedback,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Interaction,
    MemoryUse,
)
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case
from backtalk.feedback.comparisons import compared_responses
from backtalk.feedback.conversions import views
from backtalk.feedback.views import ScoreView

Measure = Literal["judgements", "corrections"]
MEASURES: tuple[Measure, ...] = ("judgements", "corrections")

JUDGEMENTS = ("label", "rating", "outcome", "preference", "ranking", "choice")
"""Kinds of feedback that judge an answer."""
CORRECTIONS = ("edit", "demonstration", "critique", "follow_up")
"""Kinds of feedback that correct an answer."""

_OBJECTIONS = ("complaint", "correction", "rephrasing")

Uses = tuple[MemoryUse, ...]
"""Entries that applied to a response. Responses with equal uses share one random draw."""


def judgement_scores(interaction: Interaction, item: AnyFeedback) -> dict[Uses, float]:
    """Return the score that feedback gives, in [0, 1], by the memory uses of the response.

    Labels, ratings and outcomes have the scores of their conversions. In preferences, rankings and
    choices, the score is the share of comparisons won against responses with other uses. A choice
    among responses with equal uses scores 1 if one was picked and 0 if none was. Feedback on other
    aspects than the overall one gives no score.
    """
    if getattr(item, "aspect", OVERALL) != OVERALL or item.kind not in JUDGEMENTS:
        return {}
    uses = {response.id: response.memory for response in interaction.responses}
    if isinstance(item, Choice) and len({uses[one.response] for one in item.shown}) == 1:
        return {uses[item.shown[0].response]: float(item.chosen is not None)}
    won: dict[Uses, list[float]] = defaultdict(list)
    for a, b, score in compared_responses(item):
        if uses[a] != uses[b]:
            won[uses[a]].append(score)
            won[uses[b]].append(1 - score)
    if won:
        return {drawn: sum(scores) / len(scores) for drawn, scores in won.items()}
    scores = views(Case(interaction, (item,)), ScoreView)
    if not scores:
        return {}
    return {uses[item.references()[0][1]]: scores[0].score}


def correction_scores(
    interaction: Interaction, feedback: Sequence[AnyFeedback]
) -> dict[Uses, float]:
    """Return the scores of the displayed responses, in [0, 1], by their memory uses.

    The score of an edited response is the share of its words that the edit leaves, by difflib's
    ratio. One that somebody criticised or wrote anew, or that was followed by a complaint, a
    correction or the request in other words, scores 0. One that nobody corrected scores 1.

    Parameters
    ----------
    interaction : Interaction
        Interaction.
    feedback : sequence of AnyFeedback
        All corrections of its responses.
    """
    displayed = interaction.shown
    scores: dict[Uses, float] = {}
    for response in interaction.responses:
        if displayed is not None and response.id not in displayed:
            continue
        score = min((_correction(interaction, item, response.id) for item in feedback), default=1.0)
        scores[response.memory] = min(score, scores.get(response.memory, 1.0))
    return scores


def _correction(interaction: Interaction, item: AnyFeedback, response: str) -> float:
    if getattr(item, "response", None) not in {None, response}:
        return 1.0
    if isinstance(item, Edit):
        before = interaction.response(response).text.split()
        return SequenceMatcher(None, before, item.text.split(), autojunk=False).ratio()
    if isinstance(item, FollowUp):
        return 0.0 if item.act in _OBJECTIONS else 1.0
    return 0.0 if isinstance(item, (Critique, Demonstration)) else 1.0


def judged_units(
    interaction: Interaction, feedback: Sequence[tuple[int, AnyFeedback]]
) -> Iterator[tuple[int, str, Uses, float]]:
    """Yield the first judgement of each random draw of an interaction.

    Parameters
    ----------
    interaction : Interaction
        Interaction.
    feedback : sequence of tuple
        Sequence numbers and records of all judgements so far, in order of arrival.

    Yields
    ------
    tuple
        Sequence number and kind of the judgement, uses of the response, and score in [0, 1].
    """
    judged: set[Uses] = set()
    for seq, item in feedback:
        for uses, score in judgement_scores(interaction, item).items():
            if uses and uses not in judged:
                judged.add(uses)
                yield seq, item.kind, uses, score
