"""Messages for display: their text, tool calls and media."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass

from backtalk.feedback import Message
from backtalk.feedback.describe import tool_call_parts


@dataclass(frozen=True)
class MessageExtra:
    """Part of a message that is not text: a tool call, or media."""

    title: str
    """``"calls"`` with the name of the tool, or the type of the media."""
    body: str = ""
    """Arguments of the tool call, as indented JSON if they are JSON."""


def message_parts(messages: Iterable[Message]) -> Iterator[tuple[str, str, list[MessageExtra]]]:
    """Yield the role, the text and the other parts of each message."""
    for message in messages:
        extras = [_tool_call(*tool_call_parts(call)) for call in message.tool_calls]
        if isinstance(message.content, tuple):
            extras += [
                MessageExtra(str(part.get("type", "other")))
                for part in message.content
                if "text" not in part
            ]
        role = f"{message.role} {message.name}" if message.name else message.role
        yield role, message.text, extras


def _tool_call(name: str, arguments: str) -> MessageExtra:
    with suppress(ValueError):
        arguments = json.dumps(json.loads(arguments), indent=1, ensure_ascii=False)
    return MessageExtra(f"calls {name}", "" if arguments == "{}" else arguments)
