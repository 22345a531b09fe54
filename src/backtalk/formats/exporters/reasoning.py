"""Reasoning in exported messages: left out, or under the name that chat templates read."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.chat_answer import answer_reasoning, content_text, is_reasoning_part

REASONING_LEFT_OUT = "reasoning, which --reasoning exports where the layout holds it"
"""Reason for reasoning that was not written."""


def move_reasoning(value: Any, *, include: bool) -> int:
    """Rename the reasoning of messages to ``reasoning_content``, or remove it.

    Parts of the content that hold reasoning are removed: no layout has a place for them.

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
    if not isinstance(value.get("role"), str):
        return sum(move_reasoning(item, include=include) for item in value.values())
    has_parts = _remove_parts(value)
    reasoning = value.pop("reasoning", None)
    if include and reasoning:
        value["reasoning_content"] = reasoning
    return int((has_parts or reasoning is not None) and not include)


def _remove_parts(message: dict[str, Any]) -> bool:
    """Move the parts of the content that hold reasoning to ``reasoning``, if there are any."""
    content = message.get("content")
    if not isinstance(content, (list, tuple)) or not any(map(is_reasoning_part, content)):
        return False
    reasoning = answer_reasoning({"content": list(content)})
    if reasoning and message.get("reasoning") is None:
        message["reasoning"] = reasoning
    parts = [part for part in content if not is_reasoning_part(part)]
    is_text = all(isinstance(part, dict) and part.get("type") == "text" for part in parts)
    message["content"] = content_text(parts) if is_text else parts
    return True
