"""Reasoning in exported messages: left out, or under the name that chat templates read."""

from __future__ import annotations

from typing import Any

REASONING_LEFT_OUT = "reasoning, which --reasoning exports where the layout holds it"
"""Reason for reasoning that was not written."""


def move_reasoning(value: Any, *, include: bool) -> int:
    """Rename the reasoning of messages to ``reasoning_content``, or remove it.

    Parameters
    ----------
    value : Any
        Row of an export, which is changed in place.
    include : bool
        If true, rename it.

    Returns
    -------
    int
        Number of messages whose reasoning was removed.
    """
    if isinstance(value, list):
        return sum(move_reasoning(item, include=include) for item in value)
    if not isinstance(value, dict):
        return 0
    if "role" not in value:
        return sum(move_reasoning(item, include=include) for item in value.values())
    reasoning = value.pop("reasoning", None)
    if reasoning is None:
        return 0
    if include:
        value["reasoning_content"] = reasoning
    return int(not include)
