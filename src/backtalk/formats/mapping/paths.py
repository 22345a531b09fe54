"""Paths into cells: ``meta.rater``, ``answers[0].text``, ``scores[name=helpful].value``.

>>> row = {"scores": '[{"name": "helpful", "value": 4}, {"name": "brief", "value": 2}]'}
>>> resolve(row, "scores[name=brief].value"), resolve(row, "scores[-2].value")
(2, 4)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from backtalk.errors import RecordError
from backtalk.formats.cell_values import parse_cell

_KEY = re.compile(r"[^.\[]+")
_INDEX = re.compile(r"\s*(-?\d+)\s*\]")
_NAME = re.compile(r"\s*([^\]=]+?)\s*\]")
_CONDITION = re.compile(
    r"""\s*([^=,\]]+?)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)"|([^,\]]*?))\s*([,\]])"""
)


class _Filter(NamedTuple):
    """Step to the item of a list whose fields have these values."""

    conditions: tuple[tuple[str, str], ...]


_Step = str | int | _Filter


def normalise(value: Any) -> str:
    """Return the text by which a value is compared: ``2.0`` and ``" 2.0"`` give ``"2"``."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value).strip().lower()
    return text.rstrip("0")[:-1] if _WHOLE.fullmatch(text) else text


_WHOLE = re.compile(r"[+-]?\d+\.0+")


def resolve(row: Mapping[str, Any], path: str) -> Any:
    """Return the value at a path, ``None`` if there is none.

    A step into a text parses it as JSON or as Python's notation.

    Raises
    ------
    RecordError
        If a step leads into a text that cannot be parsed, a condition is on no list, or several
        items fit it.
    """
    if path in row:
        return row[path]
    steps = _parse(path)
    value: Any = row if len(steps) > 1 else None
    for step in steps:
        if value is None:
            return None
        value = _take(value, step, path)
    return value


def head_of(path: str) -> str:
    """Return the column that a path begins with."""
    return str(_parse(path)[0])


def parse_text(text: str, path: str) -> Any:
    """Return the list or object that a text holds, ``None`` for a blank text.

    Parameters
    ----------
    text : str
        Text of a cell.
    path : str
        Path of the cell, for error messages.

    Raises
    ------
    RecordError
        If it is neither JSON nor Python's notation.
    """
    return _parse_cached(text, path) if text.strip() else None


@lru_cache(maxsize=64)
def _parse_cached(text: str, path: str) -> Any:
    return parse_cell(text, path)


def _take(value: Any, step: _Step, path: str) -> Any:
    if isinstance(value, str):
        value = parse_text(value, path)
    if isinstance(step, _Filter):
        return _matching_item(value, step, path)
    if isinstance(value, dict):
        return value.get(str(step))
    if isinstance(value, list):
        index = int(step) if isinstance(step, int) or step.isdecimal() else len(value)
        return value[index] if -len(value) <= index < len(value) else None
    return None


def _matching_item(value: Any, step: _Filter, path: str) -> Any:
    if not isinstance(value, (list, dict)):
        raise RecordError(f"{path}: expected a list of objects, got {value!r}")
    items = [
        item
        for item in (value if isinstance(value, list) else _rows(value, path))
        if isinstance(item, dict)
        and all(normalise(resolve(item, name)) == expected for name, expected in step.conditions)
    ]
    if len(items) > 1:
        raise RecordError(
            f"{path}: {len(items)} items fit",
            "Add a condition that tells them apart, such as [name=helpful, user=ada]",
        )
    return items[0] if items else None


def _rows(value: dict[str, Any], path: str) -> list[dict[str, Any]]:
    """Return the items of a list of objects that is stored as an object of lists."""
    if not all(isinstance(item, list) for item in value.values()):
        raise RecordError(
            f"{path}: expected a list of objects, got an object",
            "Name its field by a path such as scores.helpful",
        )
    if len(set(map(len, value.values()))) > 1:
        raise RecordError(f"{path}: the lists of {', '.join(value)} differ in length")
    return [dict(zip(value, items, strict=True)) for items in zip(*value.values(), strict=True)]


@lru_cache(maxsize=4096)
def _parse(path: str) -> tuple[_Step, ...]:
    """Return the steps of a path; a path that is not well formed is the name of a column."""
    steps: list[_Step] = []
    position = 0
    while position < len(path):
        step, position = _next_step(path, position, is_first=not steps)
        if step is None:
            return (path,)
        steps.append(step)
    return tuple(steps)


def _next_step(path: str, position: int, *, is_first: bool) -> tuple[_Step | None, int]:
    if path[position] == "[" and not is_first:
        return _bracket(path, position + 1)
    if path[position] == "." and not is_first:
        position += 1
    match = _KEY.match(path, position)
    return (None, position) if match is None else (match[0], match.end())


def _bracket(path: str, position: int) -> tuple[_Step | None, int]:
    if match := _INDEX.match(path, position):
        return int(match[1]), match.end()
    conditions: list[tuple[str, str]] = []
    while match := _CONDITION.match(path, position):
        quoted = match[2] if match[2] is not None else match[3]
        value = match[4] if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        conditions.append((match[1], normalise(value)))
        position = match.end()
        if match[5] == "]":
            return _Filter(tuple(conditions)), position
    match = _NAME.match(path, position) if not conditions else None
    return (None, position) if match is None else (match[1], match.end())
