"""Traces of MLflow 2 and 3: as JSON, and as rows of the table of ``search_traces``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic_core import from_json

from backtalk.formats.cell_values import read_cells
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData
from backtalk.formats.importers.trace_tools.messages import parse_text, read_time

_IDS = ("trace_id", "request_id")
_INFO = {"trace_metadata", "request_metadata", "trace_location"}
_CELLS = ("trace", "trace_metadata", "request_metadata", "tags", "spans", "assessments")
_INPUTS, _OUTPUTS = "mlflow.spanInputs", "mlflow.spanOutputs"
_MODELS = ("mlflow.llm.model", "mlflow.chat.model")


@dataclass(frozen=True)
class Trace:
    """Content of a trace that is read."""

    id: str
    input: Any
    output: Any
    assessments: list[Fields]
    user: str | None
    session: str | None
    time: datetime | None
    model: str | None
    metadata: dict[str, Any]
    root_spans: tuple[str, ...]
    """Ids of the spans that are not inside another one."""

    @property
    def overridden(self) -> set[str]:
        """Ids of the assessments that a later one overrides."""
        return {item.text("overrides") for item in self.assessments if "overrides" in item}


def is_trace(row: RowData) -> bool:
    """Return true if a row is a trace as JSON: ``{"info": …, "data": {"spans": …}}``."""
    info, data = row.get("info"), row.get("data")
    return (
        isinstance(info, dict)
        and isinstance(data, dict)
        and "spans" in data
        and any(name in info for name in _IDS)
    )


def is_table_row(row: RowData) -> bool:
    """Return true if a row is one of the table of ``search_traces``."""
    return (
        {"request", "response", "assessments"} <= set(row)
        and any(name in row for name in _IDS)
        and bool(_INFO & set(row))
    )


def score_numbers(row: RowData) -> list[tuple[str, Any]]:
    """Return the names and values of the feedback in a row."""
    info = row.get("info") if is_trace(row) else row
    items = info.get("assessments") if isinstance(info, dict) else None
    pairs = []
    values = parse_text(items)
    for item in values if isinstance(values, list) else []:
        feedback = item.get("feedback") if isinstance(item, dict) else None
        if isinstance(feedback, dict):
            name = item.get("assessment_name", item.get("name"))
            pairs.append((str(name), feedback.get("value")))
    return pairs


def read_trace(row: RowData) -> Trace:
    """Return the content of a trace as JSON, or of a row of the table.

    Raises
    ------
    RecordError
        If a field is missing or of another type.
    """
    if is_trace(row):
        return _read(Fields(row).object("info"), Fields(row).object("data"), {})
    fields = Fields(read_cells(row, _CELLS))
    return _read(fields, fields, {"input": row.get("request"), "output": row.get("response")})


def _read(info: Fields, data: Fields, texts: dict[str, Any]) -> Trace:
    spans = data.objects("spans") if "spans" in data else []
    roots = [
        span for span in spans if not span.data.get("parent_span_id", span.data.get("parent_id"))
    ]
    attributes = roots[0].data.get("attributes") if roots else None
    root = attributes if isinstance(attributes, dict) else {}
    names = [name for name in ("trace_metadata", "request_metadata") if name in info]
    properties = info.object(names[0]) if names else Fields({})
    return Trace(
        id=info.text("trace_id" if "trace_id" in info else "request_id"),
        input=texts.get("input") or _value(data.data.get("request", root.get(_INPUTS))),
        output=texts.get("output") or _value(data.data.get("response", root.get(_OUTPUTS))),
        assessments=info.objects("assessments") if "assessments" in info else [],
        user=properties.optional_text("mlflow.trace.user"),
        session=properties.optional_text("mlflow.trace.session"),
        time=read_time(info, "request_time", "timestamp_ms"),
        model=_model(spans),
        metadata={"trace_id": info.data.get("trace_id", info.data.get("request_id"))}
        | _metadata(info, properties.data),
        root_spans=tuple(str(span.data.get("span_id")) for span in roots),
    )


def _value(value: Any) -> Any:
    """Return the value of an attribute, which is the text of its JSON."""
    if not isinstance(value, str):
        return value
    try:
        return from_json(value)
    except ValueError:
        return value


def _model(spans: list[Fields]) -> str | None:
    """Return the only model that the spans name."""
    names = set()
    for span in spans:
        attributes = span.data.get("attributes")
        if isinstance(attributes, dict):
            values = (_value(attributes.get(name)) for name in _MODELS)
            names |= {value for value in values if isinstance(value, str) and value}
    return names.pop() if len(names) == 1 else None


def _metadata(info: Fields, properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tags and properties that the application set."""
    metadata = {
        "tags": _own(info.object("tags").data if "tags" in info else {}),
        "metadata": _own(properties),
        **info.select("state", "status"),
    }
    return {name: value for name, value in metadata.items() if value}


def _own(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in values.items()
        if value is not None and not name.startswith("mlflow.")
    }
