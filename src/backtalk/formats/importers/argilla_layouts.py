"""Layouts in which Argilla exports records, parsed to one class.

Nested records are written by ``to_json`` of version 2, without the status of a response, and by
the server of version 1. Flattened columns are written by ``to_list(flatten=True)`` and
``to_datasets`` of version 2 (``quality.responses``, ``quality.responses.status``) and by
``to_huggingface`` of version 1 (``quality``, in later releases also ``quality-suggestion``).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.formats.cell_values import parse_cell
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData
from backtalk.formats.importers.annotation_answers import ToolAnswer, rows_from_columns
from backtalk.formats.readers.jsonl import parse_json
from backtalk.formats.unusual import note_unusual

_METADATA_COLUMNS = ("id", "_server_id", "external_id", "status", "vectors", "metadata", "score")
_UNSUBMITTED_STATUSES = ("draft", "discarded", "pending")
_LIST_COLUMN = re.compile(r"\.responses(\.users|\.status)?$")
_NUMBER = re.compile(r"\d+(\.\d+)?")
_ANSWER_FIELDS = {"user_id", "value", "status"}
"""Fields of an answer in the columns of version 1."""


_STATUS_NOTE = (
    "answer without a status, read as submitted; drafts and discarded answers look the same. "
    "Export with to_list(flatten=True), which has the status"
)


@dataclass(frozen=True)
class ArgillaRecord:
    """Record with its answers."""

    id: str
    fields: dict[str, Any]
    answers: list[ToolAnswer]
    metadata: dict[str, Any]


def matches(row: RowData) -> bool:
    """Return true if a row is a record in one of the layouts."""
    if isinstance(row.get("fields"), dict):
        return bool({"responses", "suggestions"} & set(row))
    return any(
        name.endswith((".responses", "-suggestion")) or _is_answers(value)
        for name, value in row.items()
    )


def _is_answers(value: Any) -> bool:
    """Return true if a value is a column of answers in the layout of version 1."""
    if isinstance(value, dict):
        return set(value) >= _ANSWER_FIELDS and all(
            isinstance(value[name], list) for name in _ANSWER_FIELDS
        )
    return (
        isinstance(value, list)
        and bool(value)
        and all(isinstance(item, dict) and set(item) >= _ANSWER_FIELDS for item in value)
    )


def _is_unanswered(row: RowData) -> bool:
    """Return true for a row of version 1 without answers, in a file whose other rows have some."""
    return "external_id" in row and any(value in ([], None) for value in row.values())


def parse_record(row: RowData) -> ArgillaRecord:
    """Parse a record in any of the layouts.

    Raises
    ------
    RecordError
        If it is in none of them.
    """
    row = _read_lists(row)
    whole = Fields(row)
    if not matches(row) and not _is_unanswered(row):
        raise RecordError("not an Argilla record: it has neither responses nor suggestions")
    if "fields" in whole and isinstance(row["fields"], dict):
        fields = {name: value for name, value in row["fields"].items() if value is not None}
        answers = [*_nested_responses(whole), *_nested_suggestions(whole)]
    else:
        answers = [*_version_2_columns(whole), *_version_1_columns(whole)]
        questions = {*_version_1_questions(row), *_version_2_questions(row)}
        fields = {
            name: value
            for name, value in row.items()
            if value is not None
            and name not in (*_METADATA_COLUMNS, *questions)
            and not any(name.startswith((f"{question}.", f"{question}-")) for question in questions)
        }
    id_ = next((str(row[name]) for name in ("external_id", "id") if row.get(name)), "")
    return ArgillaRecord(id_, fields, answers, _metadata(row.get("metadata")))


def _read_lists(row: RowData) -> RowData:
    """Return a row of a CSV file with its lists of answers as lists, not as text."""
    names = [
        name
        for name, value in row.items()
        if _LIST_COLUMN.search(name) and isinstance(value, str) and value.startswith("[")
    ]
    changes = {name: parse_cell(row[name], name) for name in names}
    for name, values in list(changes.items()):
        suggestion = f"{name.removesuffix('.responses')}.suggestion"
        has_number = any(isinstance(value, int | float) for value in values)
        if has_number and _NUMBER.fullmatch(str(row.get(suggestion))):
            changes[suggestion] = float(row[suggestion])
    return row | changes if changes else row


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
    if status is None:
        note_unusual(_STATUS_NOTE)
        return True
    name = str(status).lower()
    if name not in {"submitted", *_UNSUBMITTED_STATUSES}:
        raise RecordError(
            f"status: {status!r} is no status of an answer", "Write submitted, draft or discarded"
        )
    return name == "submitted"


def _suggestion(question: str, value: Any, details: Fields) -> ToolAnswer:
    name = details.optional_text("agent") or "unknown"
    is_human = details.data.get("type") == "human"
    score = details.data.get("score")
    confidence = float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None
    return ToolAnswer(
        question, value, _person(name) if is_human else Annotator.model(name), confidence
    )


def _nested_responses(whole: Fields) -> Iterator[ToolAnswer]:
    if "responses" not in whole:
        return
    if isinstance(whole.data["responses"], dict):
        by_question = whole.object("responses")
        for question in by_question.data:
            for answer in by_question.objects(question):
                if _is_submitted(answer.data.get("status")):
                    value = answer.data.get("value")
                    yield ToolAnswer(question, value, _person(answer.data.get("user_id")))
        return
    for response in whole.objects("responses"):
        if _is_submitted(response.data.get("status")) and "values" in response:
            values = response.object("values")
            for question in values.data:
                value = values.object(question).data.get("value")
                yield ToolAnswer(question, value, _person(response.data.get("user_id")))


def _nested_suggestions(whole: Fields) -> Iterator[ToolAnswer]:
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


def _version_2_questions(row: Mapping[str, Any]) -> list[str]:
    ends = (".responses", ".suggestion")
    return [name.rsplit(".", 1)[0] for name in row if name.endswith(ends)]


def _version_2_columns(whole: Fields) -> Iterator[ToolAnswer]:
    for name in whole.data:
        question = name.removesuffix(".responses")
        if question != name and name in whole:
            values = whole.array(name)
            users, statuses = (
                _beside_answers(whole, f"{name}.{key}", len(values)) for key in ("users", "status")
            )
            for value, user, status in zip(values, users, statuses, strict=True):
                if _is_submitted(status):
                    yield ToolAnswer(question, value, _person(user))
        question = name.removesuffix(".suggestion")
        if question != name and name in whole:
            _check_label(whole, question)
            details = {key: whole.data.get(f"{name}.{key}") for key in ("score", "agent")}
            yield _suggestion(question, whole.data[name], Fields(details, name))


def _beside_answers(whole: Fields, name: str, count: int) -> list[Any]:
    """Return the list of a column that has an entry for each answer, or that many nulls."""
    if name not in whole:
        return [None] * count
    items = whole.array(name)
    if len(items) != count:
        raise whole.error(name, f"{len(items)} entries for {count} answers")
    return items


def _check_label(whole: Fields, question: str) -> None:
    """Check that a suggestion is not the index of a label, as ``to_datasets`` writes it."""
    suggestion = whole.data[f"{question}.suggestion"]
    answers = whole.data.get(f"{question}.responses")
    is_label = isinstance(answers, list) and any(isinstance(answer, str) for answer in answers)
    if is_label and isinstance(suggestion, int):
        raise whole.error(
            f"{question}.suggestion",
            f"{suggestion} is the index of a label, whose name the row does not have",
            "Export the records with to_list(flatten=True)",
        )


def _version_1_questions(row: Mapping[str, Any]) -> list[str]:
    suggested = [name.removesuffix("-suggestion") for name in row if name.endswith("-suggestion")]
    answered = [name for name, value in row.items() if _is_answers(value)]
    return list(dict.fromkeys([*answered, *suggested]))


def _version_1_columns(whole: Fields) -> Iterator[ToolAnswer]:
    for question in _version_1_questions(whole.data):
        answers = Fields({question: rows_from_columns(whole.data.get(question) or [])})
        for answer in answers.objects(question):
            if _is_submitted(answer.data.get("status")):
                value = answer.data.get("value")
                yield ToolAnswer(question, value, _person(answer.data.get("user_id")))
        value = whole.data.get(f"{question}-suggestion")
        if value is not None:
            details = f"{question}-suggestion-metadata"
            yield _suggestion(
                question, value, whole.object(details) if details in whole else Fields({})
            )
