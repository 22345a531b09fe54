"""Helpers of the conversions: provenance of views, and grouping of comparable judgements."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, TypeVar

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.base import OVERALL, BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import Label, Outcome, Rating

MIN_WEIGHT = 1e-6
"""Weight of feedback with confidence 0, which keeps it in the data without effect."""

JudgementT = TypeVar("JudgementT", Rating, Label, Outcome)


def completion(case: Case, response: str) -> dict[str, Any]:
    """Return the fields of a view that hold a response."""
    answer = case.interaction.response(response)
    return {
        "completion": answer.text,
        "messages": answer.messages,
        "reasoning": answer.reasoning,
    }


def provenance(case: Case, *items: BaseFeedback) -> dict[str, Any]:
    """Return the fields of a view that come from the feedback it is made of."""
    confidence = min((1.0 if item.confidence is None else item.confidence) for item in items)
    return {
        "prompt": case.interaction.prompt,
        "interaction": case.interaction.id,
        "annotator": items[0].annotator,
        "feedback": tuple(dict.fromkeys(item.id for item in items)),
        "weight": max(confidence, MIN_WEIGHT),
    }


def group_by_judge(items: list[JudgementT]) -> Iterator[tuple[str, list[JudgementT]]]:
    """Yield an aspect and its judgements for each annotator and aspect.

    Only judgements by one annotator on one aspect are comparable. If an annotator judged a
    response more than once, the last judgement counts.
    """
    groups: dict[tuple[Annotator, str], dict[str, JudgementT]] = defaultdict(dict)
    for item in items:
        aspect = getattr(item, "aspect", OVERALL)
        groups[item.annotator, aspect][item.response] = item
    for (_, aspect), latest in groups.items():
        yield aspect, list(latest.values())
