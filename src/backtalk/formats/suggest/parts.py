"""Verdicts inside the lists and objects of a cell: marked parts, steps and named scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backtalk.formats.suggest.values import ColumnValues

_NAMES = ("name", "aspect", "metric", "criterion", "key", "label", "type")
_VALUES = ("value", "score", "rating")
_LABELS = ("label", "labels", "type", "error_type", "error type", "category", "name")
_END = ("end", "stop")


def part_items(column: ColumnValues) -> list[dict[str, Any]]:
    """Return the feedback that the lists or objects of a column hold, as fields of mappings.

    Ratings have their sample values under ``values``.
    """
    fields = column.item_fields
    if "start" in fields and (end := _first(_END, fields)):
        return [_spans(column.name, fields, end)]
    name, value = _first(_NAMES, fields), _first(_VALUES, fields)
    if name and value:
        return _named_scores(column, name, value)
    if column.is_object:
        return _scores_by_key(column)
    return []


def _first(candidates: Sequence[str], fields: frozenset[str]) -> str | None:
    return next((name for name in candidates if name in fields), None)


def _spans(column: str, fields: frozenset[str], end: str) -> dict[str, Any]:
    item: dict[str, Any] = {"kind": "spans", "column": column}
    label = _first(_LABELS, fields)
    if end != "end":
        item["end"] = end
    if label is None:
        item["label"] = {"constant": "error"}
    elif label != "label":
        item["label"] = label
    return item


def _named_scores(column: ColumnValues, name: str, value: str) -> list[dict[str, Any]]:
    scores: dict[str, list[Any]] = {}
    for items in column.values:
        for item in items:
            scores.setdefault(str(item[name]), []).append(item[value])
    return [
        {
            "kind": "rating",
            "column": f"{column.name}[{name}={_quoted(score)}].{value}",
            "aspect": score,
            "values": values,
        }
        for score, values in scores.items()
        if score.strip() and ColumnValues.of(score, values).numbers
    ]


def _quoted(text: str) -> str:
    plain = not set(text) & set("[]=,\"'{}") and text == text.strip()
    return text if plain else "'" + text.replace("'", "\\'") + "'"


def _scores_by_key(column: ColumnValues) -> list[dict[str, Any]]:
    keys = dict.fromkeys(str(key) for value in column.values for key in value)
    values_by_key = {key: [value.get(key) for value in column.values] for key in keys}
    return [
        {"kind": "rating", "column": f"{column.name}.{key}", "aspect": key, "values": values}
        for key, values in values_by_key.items()
        if key.strip() and not {".", "["} & set(key) and ColumnValues.of(key, values).numbers
    ]
