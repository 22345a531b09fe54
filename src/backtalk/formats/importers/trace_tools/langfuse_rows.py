"""Rows of Langfuse's exports: their kinds, and joining scores and comments with traces."""

from __future__ import annotations

import re
from typing import Any

from pydantic_core import from_json

from backtalk.formats.columns import meaning_of
from backtalk.formats.format import RowData
from backtalk.formats.importers.trace_tools.join import FEEDBACK, OUTSIDE, TraceJoin

_TRACE = {"id", "timestamp", "name", "userId", "sessionId", "input", "output", "tags"}
_OBSERVATION = {"id", "traceId", "type", "startTime"}
_TARGETS = ("traceId", "observationId", "sessionId", "datasetRunId", "subject")
_SOURCES = ("API", "EVAL", "ANNOTATION")
_PAGES = ("data", "traces", "observations", "scores", "comments")
_NAMES = (
    "id traceId projectId timestamp startTime endTime completionStartTime createdAt updatedAt name "
    "type userId sessionId release version environment tags traceTags bookmarked public input "
    "output metadata comments htmlPath latency totalCost observations scores traceName model "
    "modelId providedModelName internalModelId modelParameters usage usageDetails costDetails "
    "level statusMessage parentObservationId isRootObservation promptId promptName promptVersion "
    "toolDefinitions toolDefinitionsCount toolCalls toolCallsCount toolCallNames externalId"
)
_COLUMNS = frozenset(_NAMES.split())
"""Columns of traces and observations; a list in any other one has the values of a score."""


def as_camel_case(row: RowData) -> RowData:
    """Return a row with the names of the API; exports to blob storage write ``trace_id``."""
    if not {"project_id", "trace_id", "object_id"} & set(row):
        return row
    return {
        key
        if key in {FEEDBACK, OUTSIDE}
        else re.sub(r"_([a-z])", lambda match: match[1].upper(), key): value
        for key, value in row.items()
    }


def is_trace(row: RowData) -> bool:
    """Return true if a row is a trace, of the API or of the table of traces."""
    return set(row) >= _TRACE and "traceId" not in row


def is_observation(row: RowData) -> bool:
    """Return true if a row is an observation: a generation, a span or an event."""
    return set(row) >= _OBSERVATION and bool({"input", "output"} & set(row))


def is_score(row: RowData) -> bool:
    """Return true if a row is a score."""
    return (
        {"id", "name", "source"} <= set(row)
        and row["source"] in _SOURCES
        and bool({"value", "stringValue"} & set(row))
        and bool({"dataType", *_TARGETS} & set(row))
    )


def is_comment(row: RowData) -> bool:
    """Return true if a row is a comment."""
    return {"objectType", "objectId", "content"} <= set(row)


def is_row(row: Any) -> bool:
    """Return true if a value is a row of any kind."""
    if not isinstance(row, dict):
        return False
    row = as_camel_case(row)
    return is_trace(row) or is_observation(row) or is_score(row) or is_comment(row)


def score_columns(row: RowData) -> dict[str, Any]:
    """Return the columns of a table that have the values of a score, by its name."""
    others = {
        name: _list_in_cell(value)
        for name, value in row.items()
        if name not in _COLUMNS and name not in {FEEDBACK, OUTSIDE} and value is not None
    }
    return {
        name: value
        for name, value in others.items()
        if isinstance(value, list) or meaning_of(name) == "verdict"
    }


def _list_in_cell(value: Any) -> Any:
    """Return the list that the text of a CSV cell is the JSON of, else the value itself."""
    if not isinstance(value, str) or not value.startswith("["):
        return value
    try:
        return from_json(value)
    except ValueError:
        return value


def is_root(row: RowData) -> bool:
    """Return true if an observation is not inside another one."""
    return row.get("isRootObservation") is True or not row.get("parentObservationId")


def score_target(row: RowData) -> tuple[str, str]:
    """Return the kind and the id of what a score or a comment is about.

    The kind is ``""`` if the score does not say.
    """
    if is_comment(row):
        return str(row["objectType"]).lower(), str(row["objectId"])
    subject = row.get("subject")
    if isinstance(subject, dict):
        return str(subject.get("kind", "")), str(subject.get("id", ""))
    kinds = ("observation", "trace", "session", "datasetRun")
    ids = ((kind, row[f"{kind}Id"]) for kind in kinds if row.get(f"{kind}Id"))
    kind, id_ = next(ids, ("", ""))
    return kind, str(id_)


def _items(row: RowData) -> list[Any]:
    """Return the rows of a reply of the API, or of a downloaded trace or session."""
    if is_row(row):
        return []
    lists = [row[name] for name in _PAGES if isinstance(row.get(name), list) and row[name]]
    return [item for items in lists if is_row(items[0]) for item in items]


def _trace_keys(row: RowData) -> dict[str, str]:
    row = as_camel_case(row)
    if is_trace(row):
        return {f"trace {row['id']}": "trace"}
    if not is_observation(row):
        return {}
    keys = {f"observation {row['id']}": ""}
    return keys | ({f"trace {row['traceId']}": "observation"} if is_root(row) else {})


def _targets(row: RowData) -> list[str]:
    row = as_camel_case(row)
    if is_trace(row) or not (is_score(row) or is_comment(row)):
        return []
    kind, id_ = score_target(row)
    return [f"{kind} {id_}"] if kind in {"trace", "observation"} else []


def _numbers(row: RowData) -> list[tuple[str, Any]]:
    row = as_camel_case(row)
    if is_score(row):
        is_number = row.get("dataType") in ("NUMERIC", None)
        return [(str(row["name"]), row.get("value"))] if is_number else []
    if not (is_trace(row) or is_observation(row)):
        return []
    inner = row.get("scores")
    scores = [item for item in inner if isinstance(item, dict)] if isinstance(inner, list) else []
    columns = score_columns(row).items()
    return [pair for item in scores if is_score(item) for pair in _numbers(item)] + [
        (name, value) for name, values in columns if isinstance(values, list) for value in values
    ]


JOIN = TraceJoin(items=_items, trace_keys=_trace_keys, targets=_targets, numbers=_numbers)
"""Join of traces, observations, scores and comments. A score of a trace is about the trace, or its
root observation if the file has no trace."""
