"""Typed access to the fields of a row; errors name the path of the field.

>>> row = Fields({"answer": {"score": "4"}})
>>> row.object("answer").number("score")
4.0
>>> row.object("answer").text("text")
Traceback (most recent call last):
    ...
backtalk.errors.RecordError: answer.text: missing
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from backtalk.errors import RecordError
from backtalk.feedback import Prompt
from backtalk.formats.chat import as_messages

_SECONDS = re.compile(r"\s*\d{9,10}(\.\d*)?\s*")
"""Seconds since 1970 as text, from 1973 on; shorter numbers are dates, such as 20240531."""

_MAX_SHOWN = 60
"""Maximum length, in characters, of a value in an error message."""


class Fields:
    """Fields of a row, or of an object nested in one.

    All getters raise :class:`~backtalk.errors.RecordError` if the field is missing or of another
    type, except where they return ``None`` for a missing one.

    Parameters
    ----------
    data : Mapping[str, Any]
        The object, as JSON data.
    path : str, default ""
        Path of the object within its row, for error messages; empty for the row itself.
    """

    __slots__ = ("data", "path")

    def __init__(self, data: Mapping[str, Any], path: str = "") -> None:
        self.data = data
        self.path = path

    def __contains__(self, name: str) -> bool:
        return self.data.get(name) is not None

    def text(self, name: str) -> str:
        """Return a text, which may be empty."""
        value = self._required(name)
        return value if isinstance(value, str) else self._type_error(name, "a text", value)

    def optional_text(self, name: str) -> str | None:
        """Return a text, ``None`` if it is missing or blank."""
        if name not in self:
            return None
        text = self.text(name)
        return text if text.strip() else None

    def number(self, name: str) -> float:
        """Return a finite number, which may be written as a text."""
        value = self._required(name)
        try:
            number = math.nan if type(value) is bool else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        return number if math.isfinite(number) else self._type_error(name, "a number", value)

    def integer(self, name: str) -> int:
        """Return a whole number, which may be written as a text."""
        value = self.number(name)
        return int(value) if value.is_integer() else self._type_error(name, "a whole number", value)

    def optional_number(self, name: str) -> float | None:
        """Return a number, ``None`` if it is missing, blank, "n/a", "none" or "nan"."""
        value = self.data.get(name)
        blank = isinstance(value, str) and value.strip().lower() in {"", "n/a", "none", "nan"}
        return None if value is None or blank else self.number(name)

    def boolean(self, name: str) -> bool:
        """Return true or false, which may be written as 1 or 0, also 1.0 or 0.0, or as a text."""
        value = self._required(name)
        known = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
        text = str(value).strip().lower()
        if text not in known:
            self._type_error(
                name, "true or false", value, "Write true or false, or map the values in a mapping"
            )
        return known[text]

    def array(self, name: str) -> list[Any]:
        """Return a list."""
        value = self._required(name)
        return value if isinstance(value, list) else self._type_error(name, "a list", value)

    def object(self, name: str) -> Fields:
        """Return the fields of a nested object."""
        value = self._required(name)
        if not isinstance(value, dict):
            self._type_error(name, "an object", value)
        return Fields(value, self.field_path(name))

    def array_fields(self, name: str) -> Fields:
        """Return the items of a list as fields named by their index, from ``"0"``."""
        items = {str(i): value for i, value in enumerate(self.array(name))}
        return Fields(items, self.field_path(name))

    def objects(self, name: str) -> list[Fields]:
        """Return the fields of each object in a list."""
        items = self.array_fields(name)
        return [items.object(index) for index in items.data]

    def messages(self, name: str) -> Prompt:
        """Return chat messages: a list of them, or a text, which is one user message."""
        return as_messages(self._required(name), self.field_path(name))

    def timestamp(self, name: str) -> datetime | None:
        """Return a time as :func:`parse_time` reads it, ``None`` if it is missing or empty."""
        if name not in self or self.data[name] == "":
            return None
        return parse_time(self.data[name], self.field_path(name))

    def other_fields(self, names: Iterable[str]) -> dict[str, Any]:
        """Return all fields except those named and those that are empty."""
        known = set(names)
        return {
            name: value
            for name, value in self.data.items()
            if name not in known and value is not None and value not in ("", [], {})
        }

    def select(self, *names: str) -> dict[str, Any]:
        """Return the named fields, without those that are missing."""
        return {name: self.data[name] for name in names if name in self}

    def field_path(self, name: str) -> str:
        """Return the path of a field within the row."""
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, what: str, mend: str = "") -> RecordError:
        """Return an error about a field.

        Parameters
        ----------
        name : str
            Name of the field.
        what : str
            Problem with its value.
        mend : str, default ""
            Remedy, as a sentence.
        """
        return RecordError(f"{self.field_path(name)}: {what}", mend)

    def _required(self, name: str) -> Any:
        value = self.data.get(name)
        if value is None:
            raise self.error(name, "missing")
        return value

    def _type_error(self, name: str, expected: str, value: Any, mend: str = "") -> NoReturn:
        shown = repr(value)
        shown = shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 3] + "..."
        raise self.error(name, f"expected {expected}, got {shown}", mend)


def parse_time(value: Any, path: str) -> datetime:
    """Parse an ISO 8601 text or seconds since 1970; a time without a zone is in UTC.

    Parameters
    ----------
    value : Any
        A text or a number.
    path : str
        Path of the field, for error messages.

    Raises
    ------
    RecordError
        If it is neither.
    """
    try:
        if isinstance(value, str) and not _SECONDS.fullmatch(value):
            timestamp = datetime.fromisoformat(value.strip())
        else:
            timestamp = datetime.fromtimestamp(float(value), UTC)
    except (TypeError, ValueError, OverflowError, OSError):
        raise RecordError(
            f"{path}: expected a time, such as 2024-05-31T12:00:00Z or seconds since 1970, "
            f"got {value!r}"
        ) from None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
