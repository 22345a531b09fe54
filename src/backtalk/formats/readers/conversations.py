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

CONVERSATION_START = r"""^\s*(?:array\()?\[\s*\{\s*["'](?:role|content|from|value)["']\s*:"""
"""Regular expression for the beginning of a conversation, also for RE2."""

_START = re.compile(CONVERSATION_START)
_SPEAKERS = ("role", "from")


def read_conversations(row: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """Return a row with lists of messages in place of the texts that are conversations.

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
    messages = parse_cell(value, name)
    is_conversation = isinstance(messages, list) and all(
        isinstance(item, dict) and any(speaker in item for speaker in _SPEAKERS)
        for item in messages
    )
    return messages if is_conversation else None
