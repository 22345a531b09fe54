"""Between records and the rows that keep them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from backtalk.feedback import (
    AnyFeedback,
    Choice,
    Critique,
    Edit,
    FollowUp,
    Interaction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Spans,
    Steps,
)
from backtalk.feedback.merge import prompt_key

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

INTERACTION_COLUMNS = (
    "project",
    "id",
    "time",
    "user",
    "policy",
    "session",
    "prompt_key",
    "responses",
    "received",
    "body",
)
FEEDBACK_COLUMNS = (
    "project",
    "id",
    "interaction",
    "kind",
    "annotator",
    "annotator_kind",
    "aspect",
    "response",
    "other",
    "value",
    "confidence",
    "time",
    "received",
    "body",
)


def microseconds(timestamp: datetime | None) -> int | None:
    """Return a moment as microseconds since 1970, UTC."""
    return None if timestamp is None else (timestamp - _EPOCH) // _MICROSECOND


def timestamp(microseconds: int) -> datetime:
    """Return the moment that is so many microseconds after the beginning of 1970, UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def interaction_row(project: int, interaction: Interaction, received: int) -> tuple[Any, ...]:
    """Return an interaction's row, in the order of ``INTERACTION_COLUMNS``."""
    return (
        project,
        interaction.id,
        microseconds(interaction.time),
        interaction.user,
        interaction.policy,
        interaction.session,
        prompt_key(interaction.prompt),
        len(interaction.responses),
        received,
        interaction.to_json(),
    )


def feedback_row(project: int, item: AnyFeedback, received: int) -> tuple[Any, ...]:
    """Return a feedback's row, in the order of ``FEEDBACK_COLUMNS``."""
    columns = _COLUMNS_OF.get(type(item))
    aspect, response, other, value = columns(item) if columns else _NOTHING
    return (
        project,
        item.id,
        item.interaction,
        item.kind,
        item.annotator.id,
        item.annotator.kind,
        aspect,
        response,
        other,
        value,
        item.confidence,
        microseconds(item.time),
        received,
        item.to_json(),
    )


_Columns = tuple[str | None, str | None, str | None, float | None]
_NOTHING: _Columns = (None, None, None, None)


def _rating(item: Rating) -> _Columns:
    return item.aspect, item.response, None, item.normalised


def _label(item: Label) -> _Columns:
    return item.aspect, item.response, None, float(item.good)


_EVEN = {"a": 1.0, "b": 0.0, "tie": 0.5, "both_bad": None}


def _preference(item: Preference) -> _Columns:
    value = _EVEN[item.verdict] if item.probability is None else item.probability
    return item.aspect, item.a, item.b, value


def _ranking(item: Ranking) -> _Columns:
    return item.aspect, None, None, None


def _outcome(item: Outcome) -> _Columns:
    value = item.score
    if value is None and item.passed is not None:
        value = float(item.passed)
    return None, item.response, None, value


def _choice(item: Choice) -> _Columns:
    ids = [shown.response for shown in item.shown]
    return None, item.chosen, None, None if item.chosen is None else float(ids.index(item.chosen))


def _critique(item: Critique) -> _Columns:
    return item.aspect, item.response, None, None


def _about_response(item: Edit | Spans | Steps | FollowUp) -> _Columns:
    return None, item.response, None, None


_COLUMNS_OF: dict[type[AnyFeedback], Callable[[Any], _Columns]] = {
    Rating: _rating,
    Label: _label,
    Preference: _preference,
    Ranking: _ranking,
    Outcome: _outcome,
    Choice: _choice,
    Critique: _critique,
    Edit: _about_response,
    Spans: _about_response,
    Steps: _about_response,
    FollowUp: _about_response,
}
