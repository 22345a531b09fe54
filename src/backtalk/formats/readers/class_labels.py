"""Class labels in Parquet files that ``datasets`` wrote: an index becomes the name of its label."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic_core import from_json

_METADATA = b"huggingface"


def class_label_converters(schema: Any) -> dict[str, Callable[[Any], Any]]:
    """Return functions from an index to the name of its label, by column.

    Parameters
    ----------
    schema : pyarrow.Schema
        Schema of the file, whose metadata describe the columns.

    Returns
    -------
    dict of str to callable
        Functions for the columns of type ``ClassLabel``. An index that has no name, such as -1 for
        a missing label, becomes ``None``.
    """
    features = _features(schema)
    names = {
        column: feature["names"]
        for column, feature in features.items()
        if isinstance(feature, dict)
        and feature.get("_type") == "ClassLabel"
        and isinstance(feature.get("names"), list)
    }
    return {column: _name_of(labels) for column, labels in names.items()}


def _features(schema: Any) -> dict[str, Any]:
    try:
        described = from_json((schema.metadata or {}).get(_METADATA, b"{}"))
        features = described["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    return features if isinstance(features, dict) else {}


def _name_of(labels: list[Any]) -> Callable[[Any], Any]:
    def convert(index: Any) -> Any:
        if not isinstance(index, int):
            return index
        return labels[index] if 0 <= index < len(labels) else None

    return convert
