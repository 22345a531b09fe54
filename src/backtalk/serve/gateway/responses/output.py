"""Conversion of chat completions to responses of the Responses API."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backtalk.feedback.chat_answer import answer_reasoning, answer_tool_calls, content_text
from backtalk.serve.errors import APIError
from backtalk.serve.gateway.translation.chunks import first_choice, logprobs_of

PREFIX = "resp_"
"""Prefix of the ids of responses."""

_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Reason for which a response is incomplete, by finish reason of the completion."""

_ECHOED: Mapping[str, Any] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": None,
    "store": True,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
"""Fields of a request that its response repeats, with their default values."""


@dataclass(frozen=True)
class ResponseContext:
    """Request that a response answers."""

    id: str
    """Id of the response and of the interaction."""
    body: Mapping[str, Any]
    """Body of the request."""
    created: int = field(default_factory=lambda: int(time.time()))
    """Time of the request in Unix seconds."""

    def item_id(self, kind: str, index: int | None = None) -> str:
        """Return the id of an item of the output.

        It contains the id of the response, so that a later input can refer to it.

        Parameters
        ----------
        kind : str
            Prefix: ``rs`` for reasoning, ``msg`` for a message, ``fc`` for a function call.
        index : int, optional
            Position among several items of the kind.
        """
        suffix = "" if index is None else f"_{index}"
        return f"{kind}_{self.id.removeprefix(PREFIX)}{suffix}"

    def response(self, **fields: Any) -> dict[str, Any]:
        """Return a response with the fields that do not depend on the answer."""
        echoed = {
            name: self.body[name] if self.body.get(name) is not None else default
            for name, default in _ECHOED.items()
        }
        return {
            "id": self.id,
            "object": "response",
            "created_at": self.created,
            "status": "in_progress",
            "background": False,
            "error": None,
            "incomplete_details": None,
            "model": self.body.get("model"),
            "output": [],
            **echoed,
            "usage": None,
            **fields,
        }


def response_id_of_item(item: str) -> str | None:
    """Return the id of the response that an item is part of, ``None`` if it is not the gateway's.

    >>> response_id_of_item("fc_0123456789abcdef0123456789abcdef_1")
    'resp_0123456789abcdef0123456789abcdef'
    """
    kind, _, rest = item.partition("_")
    if kind not in {"rs", "msg", "fc"} or not rest:
        return None
    last = rest.rpartition(":")[2]
    own = last.partition("_")[0]
    is_id = len(own) == 32 and all(letter in "0123456789abcdef" for letter in own)
    return PREFIX + rest.removesuffix(last) + own if is_id else None


def to_response(completion: Mapping[str, Any], context: ResponseContext) -> dict[str, Any]:
    """Return a chat completion as a response.

    Parameters
    ----------
    completion : Mapping[str, Any]
        Chat completion; only its first choice is converted.
    context : ResponseContext
        Request that it answers.
    """
    choice = first_choice(completion)
    message = choice.get("message")
    message = message if isinstance(message, dict) else {}
    output = output_items(
        context,
        reasoning=answer_reasoning(message),
        text=content_text(message.get("content")),
        refusal=message.get("refusal") or "",
        calls=answer_tool_calls(message),
        logprobs=logprobs_of(choice),
    )
    return {
        **context.response(),
        **final_fields(choice.get("finish_reason"), completion.get("usage"), output),
        **({"model": completion["model"]} if completion.get("model") else {}),
        "output": output,
    }


def output_items(
    context: ResponseContext,
    *,
    reasoning: str,
    text: str,
    refusal: str,
    calls: Sequence[Mapping[str, Any]],
    logprobs: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """Return the items of an answer.

    Parameters
    ----------
    context : ResponseContext
        Request that it answers.
    reasoning, text, refusal : str
        Reasoning, text and refusal of the answer, empty if it has none.
    calls : sequence of Mapping[str, Any]
        Tool calls of the chat message.
    logprobs : sequence of Mapping[str, Any], default ()
        Log-probabilities of the tokens of the text.
    """
    items = [reasoning_item(context, reasoning)] if reasoning else []
    parts = [output_text(text, logprobs)] if text else []
    if refusal:
        parts.append({"type": "refusal", "refusal": refusal})
    if not parts and not calls and not reasoning:
        parts.append(output_text(""))
    if parts:
        items.append(message_item(context, parts))
    return items + [call_item(context, call, index) for index, call in enumerate(calls)]


def reasoning_item(
    context: ResponseContext, text: str, *, status: str = "completed"
) -> dict[str, Any]:
    """Return a reasoning item.

    Parameters
    ----------
    context : ResponseContext
        Request that the response answers.
    text : str
        Reasoning, empty while it begins.
    status : str, default "completed"
        Status of the item.
    """
    content = [{"type": "reasoning_text", "text": text}] if text else []
    item = {"id": context.item_id("rs"), "type": "reasoning", "summary": [], "content": content}
    return {**item, "encrypted_content": None, "status": status}


def message_item(
    context: ResponseContext, parts: Sequence[Mapping[str, Any]], *, status: str = "completed"
) -> dict[str, Any]:
    """Return a message item.

    Parameters
    ----------
    context : ResponseContext
        Request that the response answers.
    parts : sequence of Mapping[str, Any]
        Parts with text or a refusal.
    status : str, default "completed"
        Status of the item.
    """
    item = {"id": context.item_id("msg"), "type": "message", "status": status}
    return {**item, "role": "assistant", "content": list(parts)}


def call_item(
    context: ResponseContext, call: Mapping[str, Any], index: int, *, status: str = "completed"
) -> dict[str, Any]:
    """Return a function call item for a tool call of a chat message.

    Parameters
    ----------
    context : ResponseContext
        Request that the response answers.
    call : Mapping[str, Any]
        Tool call.
    index : int
        Position among the calls of the answer.
    status : str, default "completed"
        Status of the item.
    """
    function = call.get("function")
    function = function if isinstance(function, dict) else {}
    return {
        "id": context.item_id("fc", index),
        "type": "function_call",
        "status": status,
        "call_id": call.get("id") or context.item_id("call", index),
        "name": function.get("name") or "",
        "arguments": function.get("arguments") or "{}",
    }


def output_text(text: str, logprobs: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """Return a part with text."""
    return {
        "type": "output_text",
        "text": text,
        "annotations": [],
        "logprobs": [logprob(token) for token in logprobs],
    }


def logprob(token: Mapping[str, Any]) -> dict[str, Any]:
    """Return the log-probability of a token as a response has it."""
    top = token.get("top_logprobs")
    return {
        "token": token.get("token"),
        "bytes": token.get("bytes") or [],
        "logprob": token.get("logprob"),
        "top_logprobs": [
            {name: other.get(name) for name in ("token", "bytes", "logprob")}
            for other in (top if isinstance(top, list) else ())
            if isinstance(other, dict)
        ],
    }


def final_fields(
    finish_reason: Any, usage: Any, output: Sequence[dict[str, Any]]
) -> dict[str, Any]:
    """Return the status and the usage of a response that has ended.

    Parameters
    ----------
    finish_reason : Any
        Finish reason of the completion.
    usage : Any
        Usage of the completion.
    output : sequence of dict
        Items; the last one is marked as incomplete if the response is.
    """
    reason = _INCOMPLETE.get(finish_reason) if isinstance(finish_reason, str) else None
    if reason is not None and output:
        output[-1]["status"] = "incomplete"
    return {
        "status": "completed" if reason is None else "incomplete",
        "incomplete_details": None if reason is None else {"reason": reason},
        "usage": response_usage(usage),
        **({"completed_at": int(time.time())} if reason is None else {}),
    }


def failed_fields(error: APIError) -> dict[str, Any]:
    """Return the status and the error of a response that failed."""
    return {"status": "failed", "error": {"code": "server_error", "message": error.message}}


def response_usage(usage: Any) -> dict[str, Any] | None:
    """Return the usage of a completion as a response has it, ``None`` if it is unknown."""
    if not isinstance(usage, dict):
        return None
    prompt, completion = usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0
    return {
        "input_tokens": prompt,
        "input_tokens_details": {
            "cached_tokens": _detail(usage, "prompt", "cached_tokens"),
            "cache_write_tokens": 0,
        },
        "output_tokens": completion,
        "output_tokens_details": {
            "reasoning_tokens": _detail(usage, "completion", "reasoning_tokens")
        },
        "total_tokens": usage.get("total_tokens") or prompt + completion,
    }


def _detail(usage: Mapping[str, Any], side: str, name: str) -> int:
    details = usage.get(f"{side}_tokens_details")
    value = details.get(name) if isinstance(details, dict) else None
    return value if isinstance(value, int) else 0
