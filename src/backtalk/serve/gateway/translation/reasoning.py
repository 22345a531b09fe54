"""Reasoning in the messages of a chat completion."""

from __future__ import annotations

from typing import Any


def without_old_reasoning(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return messages with no reasoning before the last message of the user."""
    users = [i for i, message in enumerate(messages) if message["role"] == "user"]
    last = users[-1] if users else -1
    return [
        {name: value for name, value in message.items() if name != "reasoning_content"}
        if i < last
        else message
        for i, message in enumerate(messages)
    ]
