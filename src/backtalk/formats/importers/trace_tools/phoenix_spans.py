"""Spans and annotations of Phoenix: tables, objects of its API, and OpenTelemetry's JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backtalk.formats.columns import is_empty
from backtalk.formats.format import RowData
from backtalk.formats.importers.trace_tools.join import TraceJoin
from backtalk.formats.importers.trace_tools.messages import function_call, parse_text

_ATTRIBUTES = "attributes."
_ANNOTATION_NAMES = ("annotation_name", "name")
_RESULT_PARTS = ("label", "score", "explanation")
_OTLP_TYPES = {"string": str, "bool": bool, "int": int, "double": float}


def is_span(row: RowData) -> bool:
    """Return true if a row is a span."""
    return _is_table_span(row) or _is_api_span(row) or _is_otlp_span(row)


def _is_table_span(row: RowData) -> bool:
    return "context.span_id" in row and "span_kind" in row


def _is_api_span(row: RowData) -> bool:
    context = row.get("context")
    return "span_kind" in row and isinstance(context, dict) and "span_id" in context


def _is_otlp_span(row: RowData) -> bool:
    return {"span_id", "trace_id", "attributes", "start_time_unix_nano"} <= set(row)


def is_annotation(row: RowData) -> bool:
    """Return true if a row is an annotation, alone or joined with its span."""
    return (
        "annotator_kind" in row
        and any(name in row for name in _ANNOTATION_NAMES)
        and (
            "result" in row
            or any(name.startswith("result.") for name in row)
            or (any(part in row for part in _RESULT_PARTS) and annotation_target(row)[0] != "")
        )
    )


def annotation_result(row: RowData) -> dict[str, Any]:
    """Return the label, score and explanation of an annotation.

    They are in ``result``, in columns such as ``result.label``, or, in tables for
    ``log_span_annotations_dataframe``, in columns such as ``label``.
    """
    result = row.get("result")
    nested = result if isinstance(result, dict) else {}
    return {
        part: nested.get(part, row.get(f"result.{part}", row.get(part))) for part in _RESULT_PARTS
    }


def as_span(row: RowData) -> dict[str, Any]:
    """Return a span with its ids, its parent's id, kind, times and flat attributes."""
    nested: Any = row.get("context") if _is_api_span(row) else None
    attributes: Any
    if _is_otlp_span(row):
        attributes = _otlp_attributes(row["attributes"])
        kind = attributes.get("openinference.span.kind")
        ids = {"span_id": row["span_id"], "trace_id": row["trace_id"]}
        parent, start = row.get("parent_span_id"), row["start_time_unix_nano"]
    else:
        context = nested or row
        prefix = "" if nested else "context."
        ids = {name: context.get(f"{prefix}{name}") for name in ("span_id", "trace_id")}
        attributes = row.get("attributes") if nested else _table_attributes(row)
        kind, parent, start = row.get("span_kind"), row.get("parent_id"), row.get("start_time")
    return {
        **{name: value for name, value in ids.items() if value},
        "name": row.get("name"),
        "parent_id": parent or None,
        "span_kind": str(kind or "").upper(),
        "start_time": start,
        "attributes": attributes if isinstance(attributes, dict) else {},
    }


def _table_attributes(row: RowData) -> dict[str, Any]:
    return {
        name.removeprefix(_ATTRIBUTES): parse_text(value) if name.endswith("messages") else value
        for name, value in row.items()
        if name.startswith(_ATTRIBUTES) and value is not None
    }


def _otlp_attributes(items: Any) -> dict[str, Any]:
    """Return OpenTelemetry's list of keys and values as an object."""
    pairs = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    return {str(item.get("key")): _otlp_value(item.get("value")) for item in pairs}


def _otlp_value(value: Any) -> Any:
    filled = (
        [item for item in value.items() if item[1] is not None] if isinstance(value, dict) else []
    )
    if len(filled) != 1:
        return None
    ((kind, content),) = filled
    name = kind.removesuffix("Value").removesuffix("_value")
    if name == "array" and isinstance(content, dict):
        return [_otlp_value(item) for item in content.get("values") or []]
    return _OTLP_TYPES.get(name, lambda item: item)(content)


def span_input(attributes: Mapping[str, Any]) -> Any:
    """Return the input of a span: messages of a model's call, else its input's value."""
    messages = _messages(attributes, "llm.input_messages")
    return messages or attributes.get("input.value")


def span_output(attributes: Mapping[str, Any]) -> Any:
    """Return the output of a span: messages of a model's reply, else its output's value."""
    messages = _messages(attributes, "llm.output_messages")
    return messages or attributes.get("output.value")


def _messages(attributes: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """Return messages that are written as a list, or with keys such as ``name.0.message.role``."""
    value = attributes.get(name)
    if is_empty(value):
        prefix = f"{name}."
        flat = {
            key.removeprefix(prefix): item
            for key, item in attributes.items()
            if key.startswith(prefix)
        }
        value = _nested(flat)
    else:
        value = _nested(value)
    items = value if isinstance(value, list) else []
    return [_message(item.get("message", item)) for item in items if isinstance(item, dict)]


def _nested(value: Any) -> Any:
    """Return data with dotted keys as nested objects; keys that are numbers make a list."""
    if isinstance(value, list):
        return [_nested(item) for item in value]
    if not isinstance(value, dict):
        return value
    grouped: dict[str, Any] = {}
    for key, item in value.items():
        first, _, rest = key.partition(".")
        content = {rest: item} if rest else item
        known = grouped.get(first)
        if isinstance(known, dict) and isinstance(content, dict):
            content = {**known, **content}
        grouped[first] = content
    result = {key: _nested(item) for key, item in grouped.items() if item is not None}
    if result and all(key.isdigit() for key in result):
        return [result[key] for key in sorted(result, key=int)]
    return result


def _message(message: Any) -> dict[str, Any]:
    """Return a message of OpenInference in OpenAI's layout."""
    calls = [item.get("tool_call", item) for item in _objects(message.get("tool_calls"))]
    contents = [item.get("message_content", item) for item in _objects(message.get("contents"))]
    content = message.get("content")
    return {
        "role": message.get("role"),
        "content": [_part(item) for item in contents] if content is None and contents else content,
        "name": message.get("name"),
        "tool_call_id": message.get("tool_call_id"),
        "tool_calls": [_call(item) for item in calls],
    }


def _objects(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _part(part: dict[str, Any]) -> dict[str, Any]:
    image = part.get("image")
    if part.get("type") != "image" or not isinstance(image, dict):
        return part
    inner = image.get("image", image)
    return {"type": "image_url", "image_url": {"url": inner.get("url", "")}}


def _call(call: dict[str, Any]) -> dict[str, Any]:
    function = call.get("function")
    details = function if isinstance(function, dict) else {}
    return function_call(call.get("id"), details.get("name"), details.get("arguments"))


def _items(row: RowData) -> list[Any]:
    """Return the rows of a reply of the API."""
    data = row.get("data")
    if not isinstance(data, list) or not data or not isinstance(data[0], dict):
        return []
    return data if is_span(data[0]) or is_annotation(data[0]) else []


def _trace_keys(row: RowData) -> dict[str, str]:
    if is_annotation(row) or not is_span(row):
        return {}
    span = as_span(row)
    if "span_id" not in span:
        return {}
    keys = {f"span {span['span_id']}": ""}
    is_root = span["parent_id"] is None
    return keys | ({f"trace {span.get('trace_id')}": "root"} if is_root else {})


def annotation_target(row: RowData) -> tuple[str, str]:
    """Return the kind and the id of what an annotation is about, empty if it does not say."""
    for kind in ("span", "trace", "session"):
        id_ = row.get(f"{kind}_id") or (row.get("context.span_id") if kind == "span" else None)
        if id_:
            return kind, str(id_)
    return "", ""


def _targets(row: RowData) -> list[str]:
    if not is_annotation(row) or is_span(row):
        return []
    kind, id_ = annotation_target(row)
    return [f"{kind} {id_}"] if kind in {"span", "trace"} else []


def _numbers(row: RowData) -> list[tuple[str, Any]]:
    if not is_annotation(row):
        return []
    name = next(row[key] for key in _ANNOTATION_NAMES if key in row)
    return [(str(name), annotation_result(row)["score"])]


JOIN = TraceJoin(items=_items, trace_keys=_trace_keys, targets=_targets, numbers=_numbers)
"""Join of spans and annotations; an annotation of a trace is about its root span."""
