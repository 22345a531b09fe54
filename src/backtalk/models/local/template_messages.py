"""Messages and settings of a request, as chat templates read them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from pydantic import JsonValue

from backtalk.feedback.chat_answer import is_reasoning_part
from backtalk.feedback.interaction import Message
from backtalk.models.errors import BadRequest

SANITIZE = "sanitize_control_tokens"
"""Parameter of transformers since 5.20 that encodes control tokens in messages as text."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_RESERVED = frozenset(
    {
        "messages", "tools", "conversation", "chat_template", "add_generation_prompt", "tokenize",
        "continue_final_message", "padding", "truncation", "max_length", "return_tensors",
        "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", SANITIZE,
    }
)  # fmt: skip
"""Parameters of the rendering that no request may set."""


def is_begun(messages: Sequence[Message]) -> bool:
    """Return true if the last message is an answer that the assistant began and can continue."""
    last = messages[-1]
    return last.role == "assistant" and not last.tool_calls and bool(last.text.strip())


def check_encodable(text: str, what: str) -> None:
    """Check that a text is one that tokenizers read.

    Parameters
    ----------
    text : str
        Text of a message.
    what : str
        Name of the text in the error message.

    Raises
    ------
    BadRequest
        If it holds half of a pair of surrogates.
    """
    match = _SURROGATE.search(text)
    if match is not None:
        raise BadRequest(
            f"{what} has a lone surrogate, U+{ord(match.group()):04X}, at character "
            f"{match.start()}",
            "Remove it: it is half of a character that was cut",
        )


def template_settings(request: Mapping[str, JsonValue]) -> tuple[Any, dict[str, JsonValue]]:
    """Return the tools of a request, and its variables of the template.

    Raises
    ------
    BadRequest
        If it sets what the rendering itself sets.
    """
    variables = dict(request)
    tools, own = variables.pop("tools", None), variables.pop("chat_template_kwargs", None)
    if isinstance(own, dict):
        variables |= own
    for name in _RESERVED & variables.keys():
        raise BadRequest(
            f"The request sets {name!r} in chat_template_kwargs, which the server itself sets",
            "Leave it out",
        )
    return tools or None, variables


def template_message(message: Message, *, reasoning: bool = False) -> dict[str, Any]:
    """Return a message as templates read it: content as text, tool arguments as objects.

    A call without arguments has an empty object.

    Parameters
    ----------
    message : Message
        Message.
    reasoning : bool, default False
        If true, the reasoning of the message is part of it.

    Raises
    ------
    BadRequest
        If it has parts that are no text, such as images.
    """
    fields = message.model_dump(mode="json", exclude={"reasoning"})
    if reasoning and message.reasoning:
        fields["reasoning_content"] = message.reasoning
    if isinstance(message.content, tuple):
        for part in message.content:
            if "text" not in part and not is_reasoning_part(part):
                raise BadRequest(
                    f"A part of type {part.get('type')!r} cannot be read by a local model",
                    "Send text only, or use an endpoint",
                )
        fields["content"] = message.text
    for call in fields.get("tool_calls", ()):
        function = call.get("function")
        if not isinstance(function, dict):
            continue
        arguments = function.get("arguments")
        if arguments is None or (isinstance(arguments, str) and not arguments.strip()):
            # Servers write a call without arguments so.
            function["arguments"] = {}
        elif isinstance(arguments, str):
            with suppress(ValueError):
                function["arguments"] = json.loads(arguments)
    return fields
