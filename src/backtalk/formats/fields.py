"""A row's fields, asked for by name and type; what is wrong with one is said with its path.

>>> row = Fields({"answer": {"score": "4"}})
>>> row.part("answer").number("score")
4.0
>>> row.part("answer").text("text")
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
from backtalk.feedback.interaction import Message
from backtalk.formats.chat import as_messages

_SECONDS = re.compile(r"\s*\d{9,10}(\.\d*)?\s*")
"""Seconds since 1970 as text, from 1973 on; shorter numbers are dates, such as 20240531."""


class Fields:
    """A row, or an object within one.

    Parameters
    ----------
    data : Mapping[str, Any]
        The object.
    path : str, default ""
        Where it stands in its row, for messages; empty for the row itself.
    """

    __slots__ = ("data", "path")

    def __init__(self, data: Mapping[str, Any], path: str = "") -> None:
        self.data = data
        self.path = path

    def __contains__(self, name: str) -> bool:
        return self.data.get(name) is not None

    def text(self, name: str) -> str:
        """Return a text, which must be there; it may be empty."""
        value = self._there(name)
        return value if isinstance(value, str) else self._wrong(name, "a text", value)

    def words(self, name: str) -> str | None:
        """Return a text, ``None`` if there is none or if it is blank."""
        if name not in self:
            return None
        text = self.text(name)
        return text if text.strip() else None

    def number(self, name: str) -> float:
        """Return a finite number, which may be written as a text."""
        value = self._there(name)
        try:
            number = math.nan if type(value) is bool else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        return number if math.isfinite(number) else self._wrong(name, "a number", value)

    def integer(self, name: str) -> int:
        """Return a whole number, which may be written as a text."""
        value = self.number(name)
        return int(value) if value.is_integer() else self._wrong(name, "a whole number", value)

    def maybe_number(self, name: str) -> float | None:
        """Return a number, ``None`` if there is none or it says that it is not applicable."""
        value = self.data.get(name)
        blank = isinstance(value, str) and value.strip().lower() in {"", "n/a", "none", "nan"}
        return None if value is None or blank else self.number(name)

    def flag(self, name: str) -> bool:
        """Return true or false, which may be written as 1 or 0 or as a text."""
        value = self._there(name)
        known = {"true": True, "1": True, "false": False, "0": False}
        text = str(value).lower()
        return known[text] if text in known else self._wrong(name, "true or false", value)

    def items(self, name: str) -> list[Any]:
        """Return a list."""
        value = self._there(name)
        return value if isinstance(value, list) else self._wrong(name, "a list", value)

    def part(self, name: str) -> Fields:
        """Return an object within this one."""
        value = self._there(name)
        if not isinstance(value, dict):
            self._wrong(name, "an object", value)
        return Fields(value, self.where(name))

    def entries(self, name: str) -> Fields:
        """Return the entries of a list as fields named by their places, from ``"0"`` on."""
        entries = {str(i): value for i, value in enumerate(self.items(name))}
        return Fields(entries, self.where(name))

    def parts(self, name: str) -> list[Fields]:
        """Return a list of objects."""
        entries = self.entries(name)
        return [entries.part(place) for place in entries.data]

    def messages(self, name: str) -> tuple[Message, ...]:
        """Return chat messages: a list of them, or a text, which is one user message."""
        return as_messages(self._there(name), self.where(name))

    def timestamp(self, name: str) -> datetime | None:
        """Return a time, ``None`` if there is none. See :func:`as_moment`."""
        if name not in self or self.data[name] == "":
            return None
        return as_moment(self.data[name], self.where(name))

    def rest(self, names: Iterable[str]) -> dict[str, Any]:
        """Return what stands in the fields not named here, but for those that are empty."""
        known = set(names)
        return {
            name: value
            for name, value in self.data.items()
            if name not in known and value is not None and value not in ("", [], {})
        }

    def some(self, *names: str) -> dict[str, Any]:
        """Return what stands in the fields named, but for those that are empty."""
        return {name: self.data[name] for name in names if name in self}

    def where(self, name: str) -> str:
        """Return the path of a field within the row."""
        return f"{self.path}.{name}" if self.path else name

    def error(self, name: str, what: str, mend: str = "") -> RecordError:
        """Return the error that says what is wrong with a field."""
        return RecordError(f"{self.where(name)}: {what}", mend)

    def _there(self, name: str) -> Any:
        value = self.data.get(name)
        if value is None:
            raise self.error(name, "missing")
        return value

    def _wrong(self, name: str, expected: str, value: Any) -> NoReturn:
        shown = repr(value)
        shown = shown if len(shown) <= 60 else shown[:57] + "..."
        raise self.error(name, f"expected {expected}, got {shown}")


def as_moment(value: Any, where: str) -> datetime:
    """Return a time from an ISO 8601 text or from seconds since 1970; UTC where no zone is given.

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
            f"{where}: expected a time, such as 2024-05-31T12:00:00Z or seconds since 1970, "
            f"got {value!r}"
        ) from None
    return timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
