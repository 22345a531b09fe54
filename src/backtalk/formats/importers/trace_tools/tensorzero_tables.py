"""Rows of TensorZero's tables: their kinds, and joining feedback with inferences of a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtalk.formats.format import RowData
from backtalk.formats.importers.trace_tools.join import TraceJoin

INFERENCE_ID = "inference_id"

_PAGES = ("inferences", "datapoints", "feedback", "data")
_INFERENCE = {"function_name", "variant_name", "episode_id", "input"}
_DATAPOINT = {"dataset_name", "function_name", "input", "output"}


def is_inference(row: RowData) -> bool:
    """Return true if a row is an inference, of a table or of the API."""
    return set(row) >= _INFERENCE and bool({"id", INFERENCE_ID} & set(row))


def is_datapoint(row: RowData) -> bool:
    """Return true if a row is a datapoint of a data set."""
    return set(row) >= _DATAPOINT and "variant_name" not in row and "id" in row


def is_feedback(row: RowData) -> bool:
    """Return true if a row is feedback on an inference or an episode."""
    if not {"id", "value"} <= set(row) or "function_name" in row:
        return False
    if "target_id" in row:
        return "metric_name" in row or "target_type" in row
    return INFERENCE_ID in row and bool({"tags", "timestamp", "created_at"} & set(row))


def inference_id(row: Mapping[str, Any]) -> str:
    """Return the id of an inference."""
    return str(row.get(INFERENCE_ID, row.get("id")))


def _items(row: RowData) -> list[Any]:
    """Return the rows of a reply of the API, or of ClickHouse's JSON."""
    lists = [row[name] for name in _PAGES if isinstance(row.get(name), list) and row[name]]
    if "function_name" in row or not any(_is_row(items[0]) for items in lists):
        return []
    return [item for items in lists for item in items if isinstance(item, dict) and _is_row(item)]


def _is_row(item: Any) -> bool:
    return isinstance(item, dict) and (
        is_inference(item) or is_datapoint(item) or is_feedback(item)
    )


def _trace_keys(row: RowData) -> dict[str, str]:
    """Return the ids of inference and episode; of an episode, the last inference ranks highest.

    Ids are UUIDs of version 7, whose order is that of time.
    """
    if not is_inference(row):
        return {}
    id_ = inference_id(row)
    return {id_: "", str(row["episode_id"]): id_}


def _targets(row: RowData) -> list[str]:
    return [str(row.get("target_id", row.get(INFERENCE_ID)))] if is_feedback(row) else []


def _numbers(row: RowData) -> list[tuple[str, Any]]:
    is_metric = is_feedback(row) and row.get("metric_name") is not None
    return [(str(row["metric_name"]), row["value"])] if is_metric else []


JOIN = TraceJoin(items=_items, trace_keys=_trace_keys, targets=_targets, numbers=_numbers)
"""Join of inferences and feedback; feedback on an episode is about its last inference."""
