"""Values of Arrow columns as JSON data: JSON texts are decoded, NaN becomes null."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic_core import from_json, to_jsonable_python

from backtalk.formats.columns import meaning_of
from backtalk.formats.readers.class_labels import class_label_converters

Convert = Callable[[Any], Any]

_JSON_EXTENSION = "arrow.json"
_TEXT_FIELDS = frozenset({"content", "text", "value", "arguments", "chosen", "rejected"})


def make_converter(schema: Any) -> Convert | None:
    """Return the function that makes a row of this Arrow schema JSON data.

    Texts of the extension type ``arrow.json``, at any depth, are decoded. ``datasets`` 5.2 writes a
    column so whose values differ in type, but leaves a text that is JSON by itself as it is. Where
    a text is expected, such as the content of a message, a number or an object is therefore the
    text.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of the file.

    Returns
    -------
    callable or None
        ``None`` if rows are JSON data already, except for NaN.
    """
    converters = {field.name: _field_converter(field) for field in schema}
    present = {name: convert for name, convert in converters.items() if convert is not None}
    present |= class_label_converters(schema)
    if not present:
        return None
    return lambda row: _convert_fields(row, present)


def _convert_fields(row: dict[str, Any], converters: Mapping[str, Convert]) -> dict[str, Any]:
    return row | {
        name: convert(row[name])
        for name, convert in converters.items()
        if row.get(name) is not None
    }


def _field_converter(field: Any) -> Convert | None:
    metadata = field.metadata or {}
    if (
        getattr(field.type, "extension_name", "") == _JSON_EXTENSION
        or metadata.get(b"ARROW:extension:name") == _JSON_EXTENSION.encode()
    ):
        return lambda text: _decode(text, field.name)
    return _type_converter(field.type, field.name)


def _type_converter(kind: Any, name: str) -> Convert | None:
    import pyarrow as pa  # noqa: PLC0415 - only needed for Parquet files

    types = pa.types
    if types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind):
        item = _field_converter(kind.value_field.with_name(name))
        return None if item is None else lambda values: _convert_items(values, item)
    if types.is_struct(kind):
        converters = {field.name: _field_converter(field) for field in kind}
        present = {key: convert for key, convert in converters.items() if convert is not None}
        return None if not present else lambda value: _convert_fields(value, present)
    tests = (
        types.is_string,
        types.is_large_string,
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_null,
    )
    if any(test(kind) for test in tests):
        return None
    return lambda value: to_jsonable_python(value, bytes_mode="base64")


def _convert_items(values: list[Any], convert: Convert) -> list[Any]:
    return [None if value is None else convert(value) for value in values]


def _decode(text: Any, name: str) -> Any:
    try:
        value = from_json(text)
    except ValueError:
        return text
    is_text = name in _TEXT_FIELDS or meaning_of(name) in {"prompt", "answer"}
    return text if is_text and not _can_replace_text(value, name) else value


def _can_replace_text(value: Any, name: str) -> bool:
    """Return true if a value may be in place of a text: a text, messages or parts of one."""
    if value is None or name == "arguments":
        return isinstance(value, str)
    if isinstance(value, list):
        kinds = (dict,) if name == "content" else (dict, list, str)
        return all(isinstance(item, kinds) for item in value)
    return isinstance(value, str) or (isinstance(value, dict) and name not in {"content", "text"})


def nan_to_null(value: Any, *, infinity: str | None = None) -> Any:
    """Return JSON data with null in place of NaN, at any depth.

    Parameters
    ----------
    value : Any
        Data of a row.
    infinity : str, optional
        Text in place of an infinite number, after its sign.

    Raises
    ------
    ValueError
        If a number is infinite, and there is no text for it.
    """
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        if math.isnan(value):
            return None
        if infinity is None:
            raise ValueError("an infinite number, which JSON does not have")
        return infinity if value > 0 else f"-{infinity}"
    if isinstance(value, dict):
        return {name: nan_to_null(item, infinity=infinity) for name, item in value.items()}
    if isinstance(value, list):
        return [nan_to_null(item, infinity=infinity) for item in value]
    return value


def has_special_number(column: Any) -> bool:
    """Return true if an Arrow column has NaN or infinity at any depth.

    Parameters
    ----------
    column : pyarrow.Array
        Column of a batch.
    """
    import pyarrow as pa  # noqa: PLC0415 - only needed for Parquet files
    import pyarrow.compute as pc  # noqa: PLC0415

    kind = column.type
    if pa.types.is_floating(kind):
        return bool(pc.any(pc.invert(pc.is_finite(column))).as_py())
    if pa.types.is_struct(kind):
        return any(has_special_number(column.field(i)) for i in range(kind.num_fields))
    if pa.types.is_map(kind):
        return has_special_number(column.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return has_special_number(column.flatten())
    return False
