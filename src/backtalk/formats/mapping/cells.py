"""The cells of a table: what stands in a column, and what it means."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from backtalk.errors import RecordError
from backtalk.feedback.record import Name
from backtalk.formats.fields import Fields

Column = Name
"""The name of a column. A dotted name goes into nested JSON: ``meta.rater``, ``answers.0.text``."""

_YAML_WORDS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}
"""What may have stood in a mapping file where YAML reads a truth value."""


def plain(value: Any) -> str:
    """Return a value as the text that it is compared by: ``2.0`` and ``" 2"`` are ``"2"``."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip().lower()


def _texts(value: Any) -> Any:
    listed = value if isinstance(value, list | tuple) else [value]
    results: list[str] = []
    for item in listed:
        results += _YAML_WORDS[item] if isinstance(item, bool) else [plain(item)]
    return tuple(results)


Values = Annotated[tuple[str, ...], BeforeValidator(_texts), Field(min_length=1)]
"""One value of a column or several, compared as texts, without regard to case."""


def value(row: Fields, column: str) -> Any:
    """Return what stands in a column, ``None`` if there is none."""
    if column in row.data:
        return row.data[column]
    result: Any = row.data
    for step in column.split("."):
        if isinstance(result, dict):
            result = result.get(step)
        elif isinstance(result, list) and step.isdigit() and int(step) < len(result):
            result = result[int(step)]
        else:
            return None
    return result


class _Cell(Fields):
    """One cell, under the name ``it``; messages name its column."""

    def where(self, name: str) -> str:  # noqa: ARG002 - there is one
        return self.path


def cell(row: Fields, column: str) -> Fields:
    """Return a column's cell, to be read as a field called ``it``."""
    return _Cell({"it": value(row, column)}, column)


def empty(row: Fields, column: str) -> bool:
    """Whether nothing stands in a column, or a blank text."""
    result = value(row, column)
    return result is None or (isinstance(result, str) and not result.strip())


def words(row: Fields, column: str | None) -> str | None:
    """Return what stands in a column as text, ``None`` where there is nothing."""
    if column is None or empty(row, column):
        return None
    result = value(row, column)
    return str(int(result) if isinstance(result, float) and result.is_integer() else result)


def number(row: Fields, column: str | None) -> float | None:
    """Return the number in a column, ``None`` where there is nothing."""
    if column is None or empty(row, column):
        return None
    return cell(row, column).number("it")


def timestamp(row: Fields, column: str | None) -> datetime | None:
    """Return the time in a column, ``None`` where there is nothing."""
    return cell(row, column).timestamp("it") if column is not None else None


def meaning(row: Fields, column: str, known: dict[str, tuple[str, ...]]) -> str:
    """Return which of the known things the value in a column stands for.

    Raises
    ------
    RecordError
        If it stands for none; the message lists the values that are known.
    """
    result = value(row, column)
    for name, values in known.items():
        if plain(result) in values:
            return name
    listed = "; ".join(f"{name}: {json.dumps(values)[1:-1]}" for name, values in known.items())
    raise RecordError(
        f"{column}: the mapping does not say what {result!r} means",
        f"It knows {listed}. Name other values there",
    )
