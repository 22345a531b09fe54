"""Cells of a table as texts, numbers and times, and the meaning of known values."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag

from backtalk.errors import RecordError
from backtalk.feedback.kinds import Scale
from backtalk.feedback.record import Record
from backtalk.formats.fields import Fields
from backtalk.formats.mapping import sources
from backtalk.formats.mapping.paths import normalise, parse_text
from backtalk.formats.mapping.sources import Constant, Source, Template, name_of
from backtalk.formats.options import parse_scale

AnySource = str | Constant | Template
"""Source of a value, as :data:`~backtalk.formats.mapping.sources.Source` validates it."""

_MAX_SHOWN = 60
"""Maximum length, in characters, of a value in an error message."""
_NULLS = frozenset({"nan", "<na>", "nat"})
"""Texts that pandas writes for a missing value."""
_MAX_NULL = 8
_YAML_WORDS = {True: ("true", "yes", "on"), False: ("false", "no", "off")}
"""Words in a mapping file that YAML reads as a boolean."""


def _normalise_all(value: Any) -> Any:
    items = value if isinstance(value, list | tuple) else [value]
    texts: list[str] = []
    for item in items:
        texts += _YAML_WORDS[item] if isinstance(item, bool) else [normalise(item)]
    return tuple(texts)


Values = Annotated[tuple[str, ...], BeforeValidator(_normalise_all), Field(min_length=1)]
"""One or several values of a column, compared as texts, ignoring case."""


def _scale_from_text(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2:
        value = " to ".join(map(str, value))
    return parse_scale(value) if isinstance(value, str) else value


ScaleText = Annotated[Scale, BeforeValidator(_scale_from_text)]
"""Worst and best value, such as ``1-5``, ``-3 to 3`` or ``[0, 10]``."""


class ScaledColumn(Record):
    """Number with its scale: ``{column: certainty, scale: 1-9}``."""

    column: Source
    scale: ScaleText


def degree_tag(value: Any) -> str:
    """Return the tag of a column with a scale, or of one without."""
    is_scaled = isinstance(value, dict) and {"column"} < set(value)
    return "scaled" if is_scaled or isinstance(value, ScaledColumn) else "source"


Degree = Annotated[
    Annotated[Source, Tag("source")] | Annotated[ScaledColumn, Tag("scaled")],
    Discriminator(degree_tag),
]
"""Column of a number in [0, 1], or a column with its scale."""


def degree_column(source: AnySource | ScaledColumn | None) -> AnySource | None:
    """Return the source of a number, without its scale."""
    return source.column if isinstance(source, ScaledColumn) else source


def value(row: Fields, source: AnySource) -> Any:
    """Return the value of a source, ``None`` if there is none."""
    data = row.data
    if type(source) is str and source in data:
        return data[source]
    return sources.value(data, source)


class _Cell(Fields):
    """Single cell as a field called ``it``; error messages name its column."""

    __slots__ = ("_row", "_source")

    def __init__(self, row: Fields, source: AnySource) -> None:
        super().__init__({"it": value(row, source)})
        self._row = row
        self._source = source

    def field_path(self, name: str) -> str:  # noqa: ARG002 - there is one field
        return self._row.field_path(name_of(self._source))


def cell(row: Fields, source: AnySource) -> Fields:
    """Return the cell of a source as a field called ``it``."""
    return _Cell(row, source)


def empty(row: Fields, source: AnySource) -> bool:
    """Return true if a source has no value, or a blank one."""
    return is_empty(value(row, source))


def is_empty(cell_value: Any) -> bool:
    """Return true if a value is null or a blank text."""
    return cell_value is None or (type(cell_value) is str and not cell_value.strip())


def is_null(cell_value: Any) -> bool:
    """Return true if a value stands for a missing one: null, NaN, or pandas' text for it."""
    if type(cell_value) is str:
        return len(cell_value) <= _MAX_NULL and cell_value.strip().lower() in _NULLS
    return cell_value is None or (isinstance(cell_value, float) and math.isnan(cell_value))


def text(row: Fields, source: AnySource | None) -> str | None:
    """Return the value of a source as text, ``None`` if it is empty or stands for a missing one."""
    if source is None:
        return None
    cell_value = value(row, source)
    if is_empty(cell_value) or is_null(cell_value):
        return None
    if isinstance(cell_value, float) and cell_value.is_integer():
        cell_value = int(cell_value)
    return str(cell_value)


def number(row: Fields, source: AnySource | None) -> float | None:
    """Return the number of a source, ``None`` if it is empty."""
    if source is None or empty(row, source):
        return None
    return cell(row, source).number("it")


def degree(row: Fields, source: AnySource | ScaledColumn | None, name: str) -> float | None:
    """Return a number in [0, 1], ``None`` if its cell is empty.

    Parameters
    ----------
    row : Fields
        Row of the table.
    source : str, Constant, Template, ScaledColumn or None
        Source of the number.
    name : str
        Name of the field of the mapping, for error messages.

    Raises
    ------
    RecordError
        If the number is not on its scale, or not in [0, 1] where there is none.
    """
    if not isinstance(source, ScaledColumn):
        plain = number(row, source)
        if plain is not None and source is not None and not 0 <= plain <= 1:
            column = name_of(source)
            raise RecordError(
                f"{row.field_path(column)}: {plain:g} is not in [0, 1]",
                f"Name its scale in the mapping: {name}: {{column: {column}, scale: LOW-HIGH}}",
            )
        return plain
    scaled = number(row, source.column)
    if scaled is None:
        return None
    check_on_scale(scaled, source.scale, row.field_path(name_of(source.column)))
    return source.scale.normalise(scaled)


def check_on_scale(scaled: float, scale: Scale, column: str) -> None:
    """Check that a number is on its scale.

    Parameters
    ----------
    scaled : float
        The number.
    scale : Scale
        Scale of the column.
    column : str
        Name of the column, for error messages.

    Raises
    ------
    RecordError
        If it is not.
    """
    if not scale.low <= scaled <= scale.high:
        raise RecordError(
            f"{column}: {scaled:g} is not on the scale {scale.low:g} to {scale.high:g}",
            "Name the scale of the column in the mapping: scale: LOW-HIGH",
        )


def timestamp(row: Fields, source: AnySource | None) -> datetime | None:
    """Return the time of a source, ``None`` if it is empty."""
    return cell(row, source).timestamp("it") if source is not None else None


def undefined(cell_value: Any, path: str, known: dict[str, str]) -> RecordError:
    """Return the error about a value without a meaning.

    Parameters
    ----------
    cell_value : Any
        The value.
    path : str
        Path of the value.
    known : dict of str to str
        Meanings by value.
    """
    values: dict[str, list[str]] = {}
    for text, name in known.items():
        values.setdefault(name, []).append(text)
    listed = "; ".join(
        f"{name}: {json.dumps(texts, ensure_ascii=False)[1:-1]}" for name, texts in values.items()
    )
    return RecordError(
        f"{path}: the mapping does not define the value {cell_value!r}",
        f"Add the value to the mapping. Known values: {listed}",
    )


def counted(cell_value: Any) -> str | None:
    """Return a number as :func:`normalise` does, ``None`` for anything else."""
    if isinstance(cell_value, bool):
        return None
    normal = normalise(cell_value)
    try:
        return normal if math.isfinite(float(normal)) else None
    except ValueError:
        return None


def read_list(row: Fields, source: AnySource) -> list[Any]:
    """Return the list in a cell, which may be written as text.

    Raises
    ------
    RecordError
        If it is no list.
    """
    items, path = value(row, source), name_of(source)
    if isinstance(items, str):
        items = parse_text(items, path)
    if not isinstance(items, list):
        raise RecordError(f"{path}: expected a list, got {shorten(items)}")
    return items


def shorten(item: Any) -> str:
    """Return a value for an error message."""
    shown = repr(item)
    return shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
