"""Prompts and answers inside the objects of a cell, such as logged requests to a model.

>>> request = {"model": "m", "messages": [{"role": "user", "content": "Open?"}]}
>>> path_to_prompt(ColumnValues.of("request", [request]))
'request.messages'
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from backtalk.formats.suggest.values import ColumnValues

_PROMPTS = ("messages", "prompt", "input", "question", "query", "text", "content")
_ANSWERS = (
    "choices[0].message.content",
    "choices[0].message",
    "choices[0].text",
    "message.content",
    "output_text",
    "text",
    "content",
    "answer",
    "completion",
    "response",
    "output",
)


def path_to_prompt(column: ColumnValues) -> str | None:
    """Return the path to the prompt in a column of objects, ``None`` if it has none."""
    return _path(column, _PROMPTS)


def path_to_answer(column: ColumnValues) -> str | None:
    """Return the path to the answer in a column of objects, ``None`` if it has none."""
    if _is_message(column) and not column.in_text:
        return column.name
    return _path(column, _ANSWERS)


def _path(column: ColumnValues, candidates: Sequence[str]) -> str | None:
    if not column.is_object:
        return None
    for candidate in candidates:
        inner = ColumnValues.of("", [_follow(value, candidate) for value in column.values])
        if len(inner.values) == len(column.values) and (
            inner.is_text or inner.is_messages or _is_message(inner)
        ):
            return f"{column.name}.{candidate}"
    return None


def _is_message(column: ColumnValues) -> bool:
    return column.is_object and all("role" in value for value in column.values)


def _follow(value: Any, path: str) -> Any:
    for step in path.replace("[0]", ".0").split("."):
        if isinstance(value, list) and step == "0":
            value = value[0] if value else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value
