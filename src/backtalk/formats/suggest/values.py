"""Types of the values in a column of sample rows."""

from __future__ import annotations

import ast
import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

_BLANK = frozenset({"", "nan", "none", "null", "<na>", "n/a"})
_FLAGS = frozenset({"true", "false"})
_ISO_TIME = re.compile(r"\s*\d{4}-\d{2}-\d{2}([T ].*)?")
_MAX_WORD = 24
"""Number of characters up to which a text counts as a word, such as a verdict."""


@dataclass(frozen=True)
class ColumnValues:
    """Name of a column, and its values in the sample rows without the empty ones."""

    name: str
    values: tuple[Any, ...]
    in_text: bool = False
    """If true, the lists or objects are written as text in the cells."""

    @classmethod
    def of(cls, name: str, values: Sequence[Any]) -> ColumnValues:
        """Return the values of a column; lists and objects in text are parsed."""
        filled = [item for item in values if not _is_blank(item)]
        parsed = [_parse(item) if isinstance(item, str) else None for item in filled]
        in_text = bool(filled) and all(isinstance(item, list | dict) for item in parsed)
        return cls(name, tuple(parsed if in_text else filled), in_text)

    def _all(self, *types: type) -> bool:
        return bool(self.values) and all(isinstance(item, types) for item in self.values)

    @cached_property
    def numbers(self) -> tuple[float, ...]:
        """The values as numbers; empty if one of them is not a number."""
        numbers = [_number(item) for item in self.values]
        finite = [item for item in numbers if item is not None]
        return tuple(finite) if len(finite) == len(numbers) else ()

    @cached_property
    def words(self) -> tuple[str, ...]:
        """The different values as texts, in order of first appearance."""
        return tuple(dict.fromkeys(_as_text(item) for item in self.values))

    @property
    def is_flag(self) -> bool:
        """True if all values are true or false."""
        return bool(self.values) and {word.lower() for word in self.words} <= _FLAGS

    @property
    def is_text(self) -> bool:
        """True if all values are texts, and not all of them numbers or flags."""
        return self._all(str) and not self.numbers and not self.is_flag

    @property
    def is_word(self) -> bool:
        """True if all values are short texts of one line."""
        return self.is_text and all(
            len(item) <= _MAX_WORD and "\n" not in item for item in self.values
        )

    @property
    def is_time(self) -> bool:
        """True if all values are times in ISO 8601 or seconds since 1970."""
        if self.numbers:
            return all(1e9 <= item < 1e10 for item in self.numbers)
        return self._all(str) and all(_ISO_TIME.fullmatch(item) for item in self.values)

    @property
    def is_messages(self) -> bool:
        """True if all values are lists of chat messages."""
        return self._all(list) and all(item and _are_messages(item) for item in self.values)

    @property
    def is_object(self) -> bool:
        """True if all values are objects."""
        return self._all(dict)

    @property
    def item_fields(self) -> frozenset[str]:
        """The fields that all objects of all lists share; empty if there are other values."""
        if not self._all(list):
            return frozenset()
        items = [item for value in self.values for item in value]
        if not items or not all(isinstance(item, dict) for item in items):
            return frozenset()
        return frozenset.intersection(*(frozenset(map(str, item)) for item in items))

    @property
    def is_text_list(self) -> bool:
        """True if all values are lists of texts."""
        return self._all(list) and all(
            value and all(isinstance(item, str) for item in value) for value in self.values
        )

    def has_lengths_of(self, other: ColumnValues) -> bool:
        """Return true if both columns have lists of the same lengths."""
        both = self._all(list) and other._all(list) and len(self.values) == len(other.values)
        return both and all(
            len(own) == len(others) for own, others in zip(self.values, other.values, strict=True)
        )

    @property
    def length(self) -> float:
        """Mean number of characters of the texts."""
        texts = [item for item in self.values if isinstance(item, str)]
        return sum(map(len, texts)) / len(texts) if texts else 0.0


def columns_of(rows: Sequence[dict[str, Any]]) -> dict[str, ColumnValues]:
    """Return the columns of sample rows that have a name and a value, in their order."""
    names = dict.fromkeys(name for row in rows for name in row if name.strip())
    columns = (ColumnValues.of(name, [row.get(name) for row in rows]) for name in names)
    return {column.name: column for column in columns if column.values}


def _is_blank(value: Any) -> bool:
    if isinstance(value, str):
        return value.strip().lower() in _BLANK
    return value is None or (isinstance(value, float) and math.isnan(value))


def _parse(text: str) -> Any:
    if text.lstrip()[:1] not in {"[", "{"}:
        return None
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _as_text(value: Any) -> str:
    number = _number(value)
    return f"{number:g}" if number is not None else str(value).strip()


def _are_messages(items: list[Any]) -> bool:
    return all(
        isinstance(item, dict)
        and ({"role", "content"} <= set(item) or {"from", "value"} <= set(item))
        for item in items
    )
