"""Conversion of chat completions to messages of Anthropic's API."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic_core import from_json

from backtalk.feedback.chat_answer import answer_reasoning, answer_text, answer_tool_calls
from backtalk.serve.gateway.messages.request import is_thinking_shown
from backtalk.serve.gateway.translation.chunks import first_choice

PREFIX = "msg_"
"""Prefix of the ids of messages."""

_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "function_call": "tool_use",
    "content_filter": "refusal",
}


@dataclass(frozen=True)
class MessageContext:
    """Request that a message answers."""

    id: str
    """Id of the message and of the interaction."""
    body: Mapping[str, Any]
    """Body of the request."""

    @property
    def is_thinking_shown(self) -> bool:
        """If true, the caller asks for the model's thinking."""
        return is_thinking_shown(self.body)

    def message(self, **fields: Any) -> dict[str, Any]:
        """Return a message with the fields that do not depend on the answer."""
        return {
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.body.get("model"),
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": {"input_tokens": 0, "output_tokens": 0},
            **fields,
        }

    def stop(
        self, finish_reason: Any, stop_reason: Any = None, *, has_calls: bool = False
    ) -> dict[str, Any]:
        """Return the reason for which a message ended.

        Parameters
        ----------
        finish_reason : Any
            Finish reason of the completion.
        stop_reason : Any, optional
            Stop sequence that the server names.
        has_calls : bool, default False
            If true, the answer calls tools, which some servers do not say in the finish reason.
        """
        if has_calls and not is_cut(finish_reason):
            finish_reason = "tool_calls"
        sequences = self.body.get("stop_sequences")
        if (
            isinstance(stop_reason, str)
            and isinstance(sequences, list)
            and stop_reason in sequences
        ):
            return {"stop_reason": "stop_sequence", "stop_sequence": stop_reason}
        reason = _STOP_REASONS.get(finish_reason) if isinstance(finish_reason, str) else None
        return {"stop_reason": reason or "end_turn", "stop_sequence": None}


def to_message(completion: Mapping[str, Any], context: MessageContext) -> dict[str, Any]:
    """Return a chat completion as a message.

    Thinking is part of it if the request asks for it.

    Parameters
    ----------
    completion : Mapping[str, Any]
        Chat completion; only its first choice is converted.
    context : MessageContext
        Request that it answers.
    """
    choice = first_choice(completion)
    answer = choice.get("message")
    answer = answer if isinstance(answer, dict) else {}
    content: list[dict[str, Any]] = []
    if context.is_thinking_shown and (thinking := answer_reasoning(answer)):
        content.append({"type": "thinking", "thinking": thinking, "signature": ""})
    calls = answer_tool_calls(answer)
    text = answer_text(answer)
    if text or not calls:
        content.append({"type": "text", "text": text, "citations": None})
    reason = choice.get("finish_reason")
    partial = is_cut(reason)
    content += [tool_use(call, context, index, partial=partial) for index, call in enumerate(calls)]
    if answer.get("refusal") and not answer.get("content"):
        reason = "content_filter"
    return context.message(
        **({"model": completion["model"]} if completion.get("model") else {}),
        content=content,
        **context.stop(reason, choice.get("stop_reason"), has_calls=bool(calls)),
        usage=message_usage(completion.get("usage")),
    )


def is_cut(finish_reason: Any) -> bool:
    """Return true if an answer ended before its tool calls were complete."""
    return finish_reason in ("length", "content_filter")


def tool_use(
    call: Mapping[str, Any],
    context: MessageContext,
    index: int,
    *,
    with_input: bool = True,
    partial: bool = False,
) -> dict[str, Any]:
    """Return a tool call of a chat message as a block.

    Parameters
    ----------
    call : Mapping[str, Any]
        Tool call.
    context : MessageContext
        Request that it answers.
    index : int
        Position among the calls of the answer.
    with_input : bool, default True
        If false, the input is left empty, as it is when a block begins.
    partial : bool, default False
        If true, the arguments may break off.
    """
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return {
        "type": "tool_use",
        "id": call.get("id") or f"toolu_{context.id.removeprefix(PREFIX)}_{index}",
        "name": function.get("name") or "",
        "input": tool_input(function.get("arguments"), partial=partial) if with_input else {},
    }


def tool_input(arguments: Any, *, partial: bool = False) -> dict[str, Any]:
    """Return the arguments of a call as an object.

    Arguments that are no JSON object are in the field ``arguments`` of it.

    Parameters
    ----------
    arguments : Any
        Arguments, as a rule JSON.
    partial : bool, default False
        If true, they may break off. The input is then what is complete of them.

    Examples
    --------
    >>> tool_input('{"a": 1, "b": "x', partial=True)
    {'a': 1}
    """
    try:
        if partial and isinstance(arguments, str) and arguments:
            value = from_json(arguments, allow_partial=True)
            return value if isinstance(value, dict) else {}
        value = json.loads(arguments) if isinstance(arguments, str) and arguments else arguments
    except (ValueError, RecursionError):
        return {"arguments": arguments}
    if value is None or value == "":
        return {}
    return value if isinstance(value, dict) else {"arguments": value}


def message_usage(usage: Any) -> dict[str, Any]:
    """Return the usage of a completion as a message has it; zeros if it is unknown."""
    usage = usage if isinstance(usage, dict) else {}
    details = usage.get("prompt_tokens_details")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    cached = cached if isinstance(cached, int) else 0
    return {
        "input_tokens": max((usage.get("prompt_tokens") or 0) - cached, 0),
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": cached,
        "output_tokens": usage.get("completion_tokens") or 0,
    }
