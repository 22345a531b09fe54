"""Layouts in which Argilla exports records, parsed to one class.

Nested records are written by ``to_json`` of version 2 and by the server of version 1. Flattened
columns are written by ``to_datasets`` of version 2 (``quality.responses``,
``quality.responses.users``) and by ``to_huggingface`` of version 1 (``quality``,
``quality-suggestion``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData
from backtalk.formats.readers.jsonl import parse_json

_METADATA_COLUMNS = ("id", "_server_id", "external_id", "status", "vectors", "metadata", "score")
_UNSUBMITTED_STATUSES = ("draft", "discarded", "pending")


@dataclass(frozen=True)
class ArgillaAnswer:
    """Answer of a person, or of a model as a suggestion, to a question."""

    question: str
    value: Any
    annotator: Annotator
    confidence: float | None = None


@dataclass(frozen=True)
class ArgillaRecord:
    """Record with its answers."""

    id: str
    fields: dict[str, Any]
    answers: list[ArgillaAnswer]
    metadata: dict[str, Any]


def matches(row: RowData) -> bool:
    """Return true if a row is a record in one of the layouts."""
    nested = isinstance(row.get("fields"), dict) and bool({"responses", "suggestions"} & set(row))
    return nested or any(name.endswith((".responses", "-suggestion")) for name in row)


def parse_record(row: RowData) -> ArgillaRecord:
    """Parse a record in any of the layouts.

    Raises
    ------
    RecordError
        If it is in none of them.
    """
    whole = Fields(row)
    if not matches(row):
        raise RecordError("not an Argilla record: it has neither responses nor suggestions")
    if "fields" in whole and isinstance(row["fields"], dict):
        fields = {name: value for name, value in row["fields"].items() if value is not None}
        answers = [*_nested_responses(whole), *_nested_suggestions(whole)]
    else:
        answers = [*_version_2_columns(whole), *_version_1_columns(whole)]
        questions = {answer.question for answer in answers} | set(_version_1_questions(row))
        fields = {
            name: value
            for name, value in row.items()
            if value is not None
            and name not in (*_METADATA_COLUMNS, *questions)
            and not any(name.startswith((f"{question}.", f"{question}-")) for question in questions)
        }
    id_ = next((str(row[name]) for name in ("external_id", "id") if row.get(name)), "")
    return ArgillaRecord(id_, fields, answers, _metadata(row.get("metadata")))


def _metadata(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = parse_json(value)
        except ValueError:
            return {"metadata": value}
    return value if isinstance(value, dict) else {}


def _person(id_: Any) -> Annotator:
    return Annotator.human(str(id_) if id_ else "unknown")


def _is_submitted(status: Any) -> bool:
    return str(status).lower() not in _UNSUBMITTED_STATUSES


def _suggestion(question: str, value: Any, details: Fields) -> ArgillaAnswer:
    name = details.optional_text("agent") or "unknown"
    is_human = details.data.get("type") == "human"
    score = details.data.get("score")
    confidence = float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None
    return ArgillaAnswer(
        question, value, _person(name) if is_human else Annotator.model(name), confidence
    )


def _nested_responses(whole: Fields) -> Iterator[ArgillaAnswer]:
    if "responses" not in whole:
        return
    if isinstance(whole.data["responses"], dict):
        by_question = whole.object("responses")
        for question in by_question.data:
            for answer in by_question.objects(question):
                if _is_submitted(answer.data.get("status")):
                    value = answer.data.get("value")
                    yield ArgillaAnswer(question, value, _person(answer.data.get("user_id")))
        return
    for response in whole.objects("responses"):
        if _is_submitted(response.data.get("status")) and "values" in response:
            values = response.object("values")
            for question in values.data:
                value = values.object(question).data.get("value")
                yield ArgillaAnswer(question, value, _person(response.data.get("user_id")))


def _nested_suggestions(whole: Fields) -> Iterator[ArgillaAnswer]:
    if "suggestions" not in whole:
        return
    if isinstance(whole.data["suggestions"], dict):
        by_question = whole.object("suggestions")
        for question in by_question.data:
            suggestion = by_question.object(question)
            yield _suggestion(question, suggestion.data.get("value"), suggestion)
        return
    for suggestion in whole.objects("suggestions"):
        value = suggestion.data.get("value")
        yield _suggestion(suggestion.text("question_name"), value, suggestion)


def _version_2_columns(whole: Fields) -> Iterator[ArgillaAnswer]:
    for name in whole.data:
        question = name.removesuffix(".responses")
        if question != name and name in whole:
            values = whole.array(name)
            users, statuses = (
                whole.array(f"{name}.{key}") if f"{name}.{key}" in whole else [None] * len(values)
                for key in ("users", "status")
            )
            for value, user, status in zip(values, users, statuses, strict=False):
                if _is_submitted(status):
                    yield ArgillaAnswer(question, value, _person(user))
        question = name.removesuffix(".suggestion")
        if question != name and name in whole:
            details = {key: whole.data.get(f"{name}.{key}") for key in ("score", "agent")}
            yield _suggestion(question, whole.data[name], Fields(details, name))


def _version_1_questions(row: Mapping[str, Any]) -> list[str]:
    return [name.removesuffix("-suggestion") for name in row if name.endswith("-suggestion")]


def _version_1_columns(whole: Fields) -> Iterator[ArgillaAnswer]:
    for question in _version_1_questions(whole.data):
        answers = Fields({question: rows_from_columns(whole.data.get(question) or [])})
        for answer in answers.objects(question):
            if _is_submitted(answer.data.get("status")):
                value = answer.data.get("value")
                yield ArgillaAnswer(question, value, _person(answer.data.get("user_id")))
        value = whole.data.get(f"{question}-suggestion")
        if value is not None:
            details = f"{question}-suggestion-metadata"
            yield _suggestion(
                question, value, whole.object(details) if details in whole else Fields({})
            )


def rows_from_columns(value: Any) -> Any:
    """Return an object of lists, the form of lists of objects in some files, as that list."""
    if (
        isinstance(value, dict)
        and value
        and all(isinstance(column, list) for column in value.values())
    ):
        return [dict(zip(value, row, strict=False)) for row in zip(*value.values(), strict=False)]
    return value
