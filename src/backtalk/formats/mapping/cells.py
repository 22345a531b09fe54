"""Cells of a table: access by column name, and lookup of known values."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from backtalk.errors import RecordError
from backtalk.feedback.record import Name
from backtalk.formats.fields import Fields

Column = Name
"""Name of a column. A dotted name refers to nested JSON: ``meta.rater``, ``answers.0.text``."""

_YAML_WORDS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}
"""Words in a mapping file that YAML reads as a boolean."""


def normalise(value: Any) -> str:
    """Return the text by which a value is compared: ``2.0`` and ``" 2"`` give ``"2"``."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _normalise_all(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    texts: list[str] = []
    for item in items:
        texts += _YAML_WORDS[item] if isinstance(item, bool) else [normalise(item)]
    return tuple(texts)


Values = Annotated[tuple[str, ...], BeforeValidator(_normalise_all), Field(min_length=1)]
"""One or several values of a column, compared as texts, ignoring case."""


def value(row: Fields, column: str) -> Any:
    """Return the value of a column, ``None`` if there is none."""
    if column in row.data:
        return row.data[column]
    nested: Any = row.data
    for key in column.split("."):
        if isinstance(nested, dict):
            nested = nested.get(key)
        elif isinstance(nested, list) and key.isdigit() and int(key) < len(nested):
            nested = nested[int(key)]
        else:
            return None
    return nested


class _Cell(Fields):
    """Single cell as a field called ``it``; error messages name its column."""

    def field_path(self, name: str) -> str:  # noqa: ARG002 - there is one field
        return self.path


def cell(row: Fields, column: str) -> Fields:
    """Return the cell of a column as a field called ``it``."""
    return _Cell({"it": value(row, column)}, column)


def empty(row: Fields, column: str) -> bool:
    """Return true if a column is missing or blank."""
    cell_value = value(row, column)
    return cell_value is None or (isinstance(cell_value, str) and not cell_value.strip())


def text(row: Fields, column: str | None) -> str | None:
    """Return the value of a column as text, ``None`` if it is empty."""
    if column is None or empty(row, column):
        return None
    cell_value = value(row, column)
    if isinstance(cell_value, float) and cell_value.is_integer():
        cell_value = int(cell_value)
    return str(cell_value)


def number(row: Fields, column: str | None) -> float | None:
    """Return the number in a column, ``None`` if it is empty."""
    if column is None or empty(row, column):
        return None
    return cell(row, column).number("it")


def timestamp(row: Fields, column: str | None) -> datetime | None:
    """Return the time in a column, ``None`` if it is empty."""
    return cell(row, column).timestamp("it") if column is not None else None


def meaning(row: Fields, column: str, known: dict[str, tuple[str, ...]]) -> str:
    """Return the meaning of the value in a column.

    Parameters
    ----------
    row : Fields
        Row of the table.
    column : str
        Name of the column.
    known : dict of str to tuple of str
        Values for each meaning, as :func:`normalise` returns them.

    Raises
    ------
    RecordError
        If the value has no meaning; the message lists the known values.
    """
    cell_value = value(row, column)
    for name, values in known.items():
        if normalise(cell_value) in values:
            return name
    listed = "; ".join(f"{name}: {json.dumps(values)[1:-1]}" for name, values in known.items())
    raise RecordError(
        f"{column}: the mapping does not define the value {cell_value!r}",
        f"Add the value to the mapping. Known values: {listed}",
    )
