"""Conversion of records to table rows, and of times to integers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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
    Response,
    Spans,
    Steps,
    verdict_score,
)
from backtalk.feedback.answers import response_key
from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import prompt_key
from backtalk.store.contents import LargeParts

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
    "distinct_responses",
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


def microseconds(time: datetime) -> int:
    """Return a time as microseconds since 1970, UTC."""
    return (time - _EPOCH) // _MICROSECOND


def optional_microseconds(time: datetime | None) -> int | None:
    """Return the value of a nullable column for a time."""
    return None if time is None else microseconds(time)


def timestamp(microseconds: int) -> datetime:
    """Return the time that is a number of microseconds after the beginning of 1970, UTC."""
    return _EPOCH + microseconds * _MICROSECOND


def optional_timestamp(microseconds: int | None) -> datetime | None:
    """Return the time for a nullable column of microseconds."""
    return None if microseconds is None else timestamp(microseconds)


def count_distinct(responses: Sequence[Response]) -> int:
    """Return the number of different responses; see :func:`~backtalk.feedback.answers.answer_key`.

    >>> count_distinct([Response(id="0", text="Yes."), Response(id="1", text="Yes.")])
    1
    """
    if len(responses) < 2:
        return len(responses)
    return len({response_key(response) for response in responses})


def interaction_row(
    project_id: int, interaction: Interaction, received: int, parts: LargeParts
) -> tuple[Any, ...]:
    """Return the row of an interaction.

    Parameters
    ----------
    project_id : int
        Id of the project.
    interaction : Interaction
        Record.
    received : int
        Time of arrival, in microseconds since 1970.
    parts : LargeParts
        Large parts, to which those of the interaction are added.

    Returns
    -------
    tuple
        Values in the order of ``INTERACTION_COLUMNS``.
    """
    return (
        project_id,
        interaction.id,
        optional_microseconds(interaction.time),
        interaction.user,
        interaction.policy,
        interaction.session,
        prompt_key(interaction.prompt),
        len(interaction.responses),
        count_distinct(interaction.responses),
        received,
        parts.body(interaction),
    )


def feedback_row(project_id: int, item: AnyFeedback, received: int) -> tuple[Any, ...]:
    """Return the row of a feedback record.

    Parameters
    ----------
    project_id : int
        Id of the project.
    item : AnyFeedback
        Record.
    received : int
        Time of arrival, in microseconds since 1970.

    Returns
    -------
    tuple
        Values in the order of ``FEEDBACK_COLUMNS``.
    """
    get_columns = _COLUMNS_BY_TYPE.get(type(item))
    aspect, response, other, value = get_columns(item) if get_columns else _NO_COLUMNS
    return (
        project_id,
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
        optional_microseconds(item.time),
        received,
        item.to_json(),
    )


PairContent = tuple[str, str, str, str, str, str, str]
"""Preference for the first of two different responses with the ids 0 and 1: id, prompt key and JSON
of the interaction, id and JSON of the preference, id and kind of the annotator. Times, users and
policies are unknown."""


def pair_rows(
    project_id: int, pair: PairContent, received: int
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """Return the rows of the interaction and of the preference of a pair.

    Parameters
    ----------
    project_id : int
        Id of the project.
    pair : PairContent
        Ids and JSON.
    received : int
        Time of arrival, in microseconds since 1970.
    """
    id_, key, body, feedback, feedback_body, annotator, annotator_kind = pair
    return (
        (project_id, id_, None, None, None, None, key, 2, 2, received, body),
        (
            project_id,
            feedback,
            id_,
            "preference",
            annotator,
            annotator_kind,
            OVERALL,
            "0",
            "1",
            1.0,
            None,
            None,
            received,
            feedback_body,
        ),
    )


_Columns = tuple[str | None, str | None, str | None, float | None]
_NO_COLUMNS: _Columns = (None, None, None, None)


def _rating(item: Rating) -> _Columns:
    return item.aspect, item.response, None, item.normalised


def _label(item: Label) -> _Columns:
    return item.aspect, item.response, None, float(item.good)


def _preference(item: Preference) -> _Columns:
    value = verdict_score(item.verdict) if item.probability is None else item.probability
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


_COLUMNS_BY_TYPE: dict[type[AnyFeedback], Callable[[Any], _Columns]] = {
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
