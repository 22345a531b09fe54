"""The layouts in which Argilla exports a record, brought to one.

Nested, as ``to_json`` of version 2 and the server of version 1 write it, and flattened into
columns, as ``to_datasets`` of version 2 (``quality.responses``, ``quality.responses.users``) and
``to_huggingface`` of version 1 (``quality``, ``quality-suggestion``) write it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data
from backtalk.formats.readers.jsonl import parse_json

_NOT_FIELDS = ("id", "_server_id", "external_id", "status", "vectors", "metadata", "score")
_UNSUBMITTED = ("draft", "discarded", "pending")


@dataclass(frozen=True)
class Answer:
    """What somebody, or a model in a suggestion, answered to a question."""

    question: str
    value: Any
    annotator: Annotator
    confidence: float | None = None


@dataclass(frozen=True)
class Record:
    """A record with its answers."""

    id: str
    fields: dict[str, Any]
    answers: list[Answer]
    metadata: dict[str, Any]


def looks_like(row: Data) -> bool:
    """Whether a row is a record in one of the layouts."""
    nested = isinstance(row.get("fields"), dict) and bool({"responses", "suggestions"} & set(row))
    return nested or any(name.endswith((".responses", "-suggestion")) for name in row)


def record(row: Data) -> Record:
    """Bring a record to the one layout.

    Raises
    ------
    RecordError
        If it is in none that is known.
    """
    whole = Fields(row)
    if not looks_like(row):
        raise RecordError("this is no Argilla record: it has neither responses nor suggestions")
    if "fields" in whole and isinstance(row["fields"], dict):
        fields = {name: value for name, value in row["fields"].items() if value is not None}
        answers = [*_nested_responses(whole), *_nested_suggestions(whole)]
    else:
        answers = [*_columns_of_2(whole), *_columns_of_1(whole)]
        asked = {answer.question for answer in answers} | set(_questions_of_1(row))
        fields = {
            name: value
            for name, value in row.items()
            if value is not None
            and name not in (*_NOT_FIELDS, *asked)
            and not any(name.startswith((f"{question}.", f"{question}-")) for question in asked)
        }
    id_ = next((str(row[name]) for name in ("external_id", "id") if row.get(name)), "")
    return Record(id_, fields, answers, _metadata(row.get("metadata")))


def _metadata(value: Any) -> dict[str, Any]:
    if isinstance(value, str) and value.strip():
        try:
            value = parse_json(value)
        except ValueError:
            return {"metadata": value}
    return value if isinstance(value, dict) else {}


def _person(id_: Any) -> Annotator:
    return Annotator.human(str(id_) if id_ else "unknown")


def _submitted(status: Any) -> bool:
    return str(status).lower() not in _UNSUBMITTED


def _suggested(question: str, value: Any, about: Fields) -> Answer:
    name = about.words("agent") or "unknown"
    human = about.data.get("type") == "human"
    score = about.data.get("score")
    sure = float(score) if isinstance(score, (int, float)) and 0 <= score <= 1 else None
    return Answer(question, value, _person(name) if human else Annotator.model(name), sure)


def _nested_responses(whole: Fields) -> Iterator[Answer]:
    if "responses" not in whole:
        return
    if isinstance(whole.data["responses"], dict):
        by_question = whole.part("responses")
        for question in by_question.data:
            for answer in by_question.parts(question):
                if _submitted(answer.data.get("status")):
                    value = answer.data.get("value")
                    yield Answer(question, value, _person(answer.data.get("user_id")))
        return
    for response in whole.parts("responses"):
        if _submitted(response.data.get("status")) and "values" in response:
            values = response.part("values")
            for question in values.data:
                value = values.part(question).data.get("value")
                yield Answer(question, value, _person(response.data.get("user_id")))


def _nested_suggestions(whole: Fields) -> Iterator[Answer]:
    if "suggestions" not in whole:
        return
    if isinstance(whole.data["suggestions"], dict):
        by_question = whole.part("suggestions")
        for question in by_question.data:
            suggestion = by_question.part(question)
            yield _suggested(question, suggestion.data.get("value"), suggestion)
        return
    for suggestion in whole.parts("suggestions"):
        value = suggestion.data.get("value")
        yield _suggested(suggestion.text("question_name"), value, suggestion)


def _columns_of_2(whole: Fields) -> Iterator[Answer]:
    for name in whole.data:
        question = name.removesuffix(".responses")
        if question != name and name in whole:
            values = whole.items(name)
            users, statuses = (
                whole.items(f"{name}.{key}") if f"{name}.{key}" in whole else [None] * len(values)
                for key in ("users", "status")
            )
            for value, user, status in zip(values, users, statuses, strict=False):
                if _submitted(status):
                    yield Answer(question, value, _person(user))
        question = name.removesuffix(".suggestion")
        if question != name and name in whole:
            about = {key: whole.data.get(f"{name}.{key}") for key in ("score", "agent")}
            yield _suggested(question, whole.data[name], Fields(about, name))


def _questions_of_1(row: Mapping[str, Any]) -> list[str]:
    return [name.removesuffix("-suggestion") for name in row if name.endswith("-suggestion")]


def _columns_of_1(whole: Fields) -> Iterator[Answer]:
    for question in _questions_of_1(whole.data):
        given = Fields({question: by_rows(whole.data.get(question) or [])})
        for answer in given.parts(question):
            if _submitted(answer.data.get("status")):
                value = answer.data.get("value")
                yield Answer(question, value, _person(answer.data.get("user_id")))
        value = whole.data.get(f"{question}-suggestion")
        if value is not None:
            about = f"{question}-suggestion-metadata"
            yield _suggested(question, value, whole.part(about) if about in whole else Fields({}))


def by_rows(value: Any) -> Any:
    """Turn an object of lists, as some files hold a list of objects, into that list."""
    if isinstance(value, dict) and value and all(isinstance(each, list) for each in value.values()):
        return [dict(zip(value, each, strict=False)) for each in zip(*value.values(), strict=False)]
    return value
