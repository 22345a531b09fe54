"""Conversations in text cells, written as JSON or as Python prints them.

>>> cell = "[{'role': 'user', 'content': 'Open?'}]"
>>> read_conversations({"prompt": cell, "id": 1}, ["prompt"])
{'prompt': [{'role': 'user', 'content': 'Open?'}], 'id': 1}
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from backtalk.formats.cell_values import parse_cell

CONVERSATION_START = r"""^\s*(?:array\()?(?:\[\s*)?\{\s*["']\w+["']\s*:"""
"""Regular expression for the beginning of a list of objects or an object, also for RE2."""

_START = re.compile(CONVERSATION_START)
_FIRST_FIELD = re.compile(r"""\s*(?:array\()?\[\s*\{\s*["'](?:role|content|from|value)["']\s*:""")
"""Beginning of a list whose first item is a message, even if the rest is damaged."""
_SPEAKERS = ({"role"}, {"from"})
_SPEAKERS_AND_TEXTS = ({"role", "content"}, {"from", "value"})
_MESSAGE_FIELDS = tuple(
    tuple(re.compile(rf"""["']{name}["']\s*:""") for name in names) for names in _SPEAKERS_AND_TEXTS
)
"""Names of the fields of a message with a text, as they stand in a cell."""


def read_conversations(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a row with lists of messages in place of texts that are conversations or a message.

    Parameters
    ----------
    row : dict
        Row of the table.
    names : iterable of str
        Names of the columns to look at.

    Raises
    ------
    RecordError
        If a text begins as a conversation and cannot be parsed.
    """
    changes = {
        name: messages
        for name in names
        if (messages := _parse_conversation(row.get(name), name)) is not None
    }
    return row | changes if changes else row


def _parse_conversation(value: Any, name: str) -> list[Any] | None:
    if not isinstance(value, str) or not _START.match(value):
        return None
    if not _FIRST_FIELD.match(value) and not any(
        all(field.search(value) for field in fields) for fields in _MESSAGE_FIELDS
    ):
        return None
    parsed = parse_cell(value, name)
    messages = parsed if isinstance(parsed, list) else [parsed]
    speakers = _SPEAKERS if messages is parsed else _SPEAKERS_AND_TEXTS
    is_conversation = all(
        isinstance(item, dict) and any(item.keys() >= names for names in speakers)
        for item in messages
    )
    return messages if is_conversation else None
