"""Label Studio's exports: JSON, a task in a row, and JSON_MIN, an annotation in a row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from backtalk.feedback.annotator import Annotator
from backtalk.formats.columns import is_empty, meaning_of
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData
from backtalk.formats.readers.jsonl import parse_json

_ANNOTATIONS = ("annotations", "completions")
"""Names of a task's annotations; the second is that of old versions."""
_TASK_FIELDS = {"predictions", "drafts", "file_upload", "total_annotations", "inner_id"}
"""Some fields of a task, which tell that it is one if it has no annotations."""
_MIN_COLUMNS = ("annotator", "annotation_id", "created_at", "updated_at", "lead_time")
_MIN_TAIL = {*_MIN_COLUMNS, "agreement"}
_VALUE_KEYS = {
    *("choices", "text", "rating", "number", "selected", "ranker", "taxonomy", "datetime"),
    *("labels", "hypertextlabels", "paragraphlabels", "chatmessage"),
}


@dataclass(frozen=True)
class Annotation:
    """Results of one person, or of a model."""

    annotator: Annotator
    results: list[Fields]
    """Objects with ``from_name``, ``to_name`` and ``value``."""
    time: datetime | None = None
    confidence: float | None = None


@dataclass(frozen=True)
class Task:
    """Texts that were shown, and the annotations of them."""

    id: str
    data: dict[str, Any]
    path: str
    """Path of the data within the row."""
    annotations: list[Annotation]
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of annotations that are no feedback, by kind."""


def is_task(row: RowData) -> bool:
    """Return true if a row is a task as in the export JSON."""
    if not isinstance(row.get("data"), dict):
        return False
    lists = [row[name] for name in _ANNOTATIONS if isinstance(row.get(name), list)]
    if not all(_has_result(item) for items in lists for item in items):
        return False
    return any(lists) or (bool(lists) and not _TASK_FIELDS.isdisjoint(row))


def _has_result(annotation: Any) -> bool:
    return isinstance(annotation, dict) and "result" in annotation


def is_json_min(row: RowData) -> bool:
    """Return true if a row is an annotation as in the export JSON_MIN, or in CSV."""
    return set(_MIN_COLUMNS) <= set(row)


def parse_task(row: RowData) -> Task:
    """Parse a task of the export JSON.

    Raises
    ------
    RecordError
        If it is not valid.
    """
    fields = Fields(row)
    left_out: Counter[str] = Counter()
    annotations: list[Annotation] = []
    for name in _ANNOTATIONS:
        for item in fields.objects(name) if name in fields else []:
            if item.data.get("was_cancelled") or item.data.get("skipped"):
                left_out["cancelled"] += 1
            else:
                annotations.append(_parse_annotation(item))
    predictions = row.get("predictions")
    for i, item in enumerate(predictions if isinstance(predictions, list) else []):
        if isinstance(item, dict):
            annotations.append(_parse_prediction(Fields(item, f"predictions.{i}")))
        else:
            left_out["predictions"] += 1
    if isinstance(row.get("drafts"), list):
        left_out["drafts"] += len(row["drafts"])
    id_ = "" if row.get("id") is None else str(row["id"])
    return Task(id_, fields.object("data").data, "data", annotations, +left_out)  # type: ignore[arg-type]


def _parse_annotation(item: Fields) -> Annotation:
    return Annotation(
        annotator=_person(item.data.get("completed_by")),
        results=item.objects("result") if "result" in item else [],
        time=item.timestamp("created_at"),
    )


def _parse_prediction(item: Fields) -> Annotation:
    score = item.optional_number("score")
    return Annotation(
        annotator=Annotator.model(item.optional_text("model_version") or "unknown"),
        results=item.objects("result") if "result" in item else [],
        time=item.timestamp("created_at"),
        confidence=score if score is not None and 0 <= score <= 1 else None,
    )


def _person(value: Any) -> Annotator:
    if isinstance(value, dict):
        value = value.get("email") or value.get("id")
    return Annotator.human("unknown" if is_empty(value) else str(value))


def parse_json_min(row: RowData, questions: tuple[str, ...]) -> Task:
    """Parse an annotation of the export JSON_MIN, or of CSV.

    Controls are the columns between the task's id and the annotator. In another order they are
    known by their values, and those whose answer is a plain text must be named.

    Parameters
    ----------
    row : dict
        Annotation with the data of its task.
    questions : tuple of str
        Names of the controls.

    Raises
    ------
    RecordError
        If a column could be data of the task or an answer.
    """
    fields = Fields(row)
    cells = {name: _decode(value) for name, value in row.items()}
    data_names = [name for name in cells if name not in _MIN_TAIL and name != "id"]
    controls = questions or _controls_by_position(row)
    answers = [name for name in data_names if name in (controls or ()) or _is_result(cells[name])]
    data = {name: cells[name] for name in data_names if name not in answers}
    if controls is None:
        _check_data(Fields(data))
    results = [
        Fields({"from_name": name, "value": value}, name)
        for name in answers
        for value in _values(cells[name])
    ]
    annotation = Annotation(
        annotator=_person(cells["annotator"]), results=results, time=fields.timestamp("created_at")
    )
    return Task("" if row.get("id") is None else str(row["id"]), data, "", [annotation])


def _decode(value: Any) -> Any:
    """Return JSON in a cell of a table as data, anything else unchanged."""
    if isinstance(value, str) and value[:1] in {"[", "{"}:
        try:
            return parse_json(value)
        except ValueError:
            return value
    return value


def _controls_by_position(row: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Return the columns between the id and the annotator, ``None`` in another order."""
    names = list(row)
    if "id" not in names or not set(names[names.index("annotator") :]) <= _MIN_TAIL:
        return None
    start = names.index("id")
    if not any(meaning_of(name) in {"prompt", "answer"} for name in names[:start]):
        return None
    return tuple(names[start + 1 : names.index("annotator")])


def _is_result(cell: Any) -> bool:
    items = cell if isinstance(cell, list) else [cell]
    return bool(items) and all(
        isinstance(item, dict) and not _VALUE_KEYS.isdisjoint(item) and "id" not in item
        for item in items
    )


def _check_data(data: Fields) -> None:
    """Check that no column of an unknown kind could be the answer to a question."""
    for name, value in data.data.items():
        if isinstance(value, str) and not is_empty(value) and meaning_of(name) is None:
            raise data.error(
                name,
                "it could be data of the task or an answer",
                "Name the controls with the option questions=NAME,NAME, or export as JSON",
            )


def _values(cell: Any) -> Iterator[Any]:
    if isinstance(cell, list) and not all(isinstance(item, str) for item in cell):
        yield from cell
    elif not is_empty(cell):
        yield cell
