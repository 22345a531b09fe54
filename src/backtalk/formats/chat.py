"""Chat messages in OpenAI's and ShareGPT's layouts: parsing, and splitting two conversations."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, get_args

from backtalk.errors import RecordError
from backtalk.feedback.chat_answer import (
    REASONING_FIELDS,
    answer_reasoning,
    content_text,
    is_reasoning_part,
)
from backtalk.feedback.interaction import Message, Prompt, Role, as_prompt

_ROLES = {**{role: role for role in get_args(Role)}, "function": "tool"}
_SHAREGPT_CALL = "function_call"
_SHAREGPT_ROLES = {
    **_ROLES,
    **dict.fromkeys(("human", "prompter"), "user"),
    **dict.fromkeys(
        ("gpt", "model", "chatgpt", "bing", "bard", "bot", _SHAREGPT_CALL), "assistant"
    ),
    **dict.fromkeys(("observation", "function_response"), "tool"),
}
_PARSED_FIELDS = {
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "weight",
    "from",
    "value",
    *REASONING_FIELDS,
}


def as_messages(value: Any, path: str) -> Prompt:
    """Parse a list of messages, or a text, which is one user message.

    A message has ``role`` and ``content``, or ShareGPT's ``from`` and ``value``. A
    ``function_call``, the older form, becomes a tool call.

    Parameters
    ----------
    value : Any
        JSON data.
    path : str
        Path of the value, for error messages.

    Raises
    ------
    RecordError
        If it is neither; the message names the position in the list.
    """
    if isinstance(value, str):
        return as_prompt(value)
    if not isinstance(value, list) or not value:
        raise RecordError(f"{path}: expected a text or a list of messages")
    return tuple(_parse_message(item, f"{path}.{i}") for i, item in enumerate(value))


def _parse_message(item: Any, path: str) -> Message:
    if not isinstance(item, dict):
        raise RecordError(f"{path}: expected a message, with role and content")
    if "role" not in item and "from" in item:
        item = _from_sharegpt(item, path)
    role = item.get("role")
    role = _ROLES.get(role) if isinstance(role, str) else None
    if role is None:
        raise RecordError(
            f"{path}.role: expected one of {', '.join(_ROLES)}, got {item.get('role')!r}"
        )
    content = item.get("content")
    if content is not None and not isinstance(content, (str, list)):
        raise RecordError(f"{path}.content: expected a text or a list of parts")
    calls = item.get("tool_calls") or []
    if not isinstance(calls, list):
        raise RecordError(f"{path}.tool_calls: expected a list")
    if item.get("function_call"):
        calls = [{"type": "function", "function": item["function_call"]}]
    has_other = item.get("refusal") or item.get("audio") or answer_reasoning(item)
    if content is None and not calls and role != "tool" and not has_other:
        raise RecordError(
            f"{path}.content: missing", "Give the text of a message in the field content"
        )
    reasoning = (answer_reasoning(item) or None) if role == "assistant" else None
    if reasoning is not None:
        content = _without_reasoning(content)
    return Message.model_validate(
        {
            "role": role,
            "content": tuple(content) if isinstance(content, list) else content,
            "name": item.get("name") or None,
            "tool_calls": tuple(calls),
            "tool_call_id": item.get("tool_call_id") or None,
            "reasoning": reasoning,
        }
    )


def _without_reasoning(content: Any) -> Any:
    """Return the content of a message without its reasoning, which has a field of its own.

    Signed or encrypted reasoning stays: without it, the message cannot be sent again.
    """
    if not isinstance(content, list) or any(
        is_reasoning_part(part) and (part.get("signature") or part.get("data")) for part in content
    ):
        return content
    parts = [part for part in content if not is_reasoning_part(part)]
    is_text = all(isinstance(part, dict) and part.get("type") == "text" for part in parts)
    return content_text(parts) if is_text else parts


def _from_sharegpt(item: dict[str, Any], path: str) -> dict[str, Any]:
    speaker, value = item["from"], item.get("value")
    role = _SHAREGPT_ROLES.get(speaker) if isinstance(speaker, str) else None
    if role is None:
        raise RecordError(
            f"{path}.from: expected one of {', '.join(_SHAREGPT_ROLES)}, got {speaker!r}"
        )
    if value is None:
        raise RecordError(f"{path}.value: missing", "Give the text of a message in the field value")
    if speaker != _SHAREGPT_CALL:
        return {**item, "role": role, "content": value}
    try:
        calls = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        raise RecordError(f"{path}.value: a function call must be JSON") from None
    calls = calls if isinstance(calls, list) else [calls]
    if not calls or not all(isinstance(call, dict) and "name" in call for call in calls):
        raise RecordError(f"{path}.value: expected a function call with name and arguments")
    return {
        **item,
        "role": role,
        "content": None,
        "tool_calls": [{"type": "function", "function": call} for call in calls],
    }


def plain_text(text: str) -> str:
    """Return a text with line feeds as line ends, without white space around it."""
    return text.replace("\r\n", "\n").strip()


def same_message(a: Message, b: Message) -> bool:
    """Return true if two messages say the same.

    Text as a string and as parts is the same, and white space around it does not count.
    """
    if a == b:
        return True
    # Reasoning is not what is said.
    same = (a.role, a.tool_calls, a.tool_call_id) == (b.role, b.tool_calls, b.tool_call_id)
    return same and _content(a) == _content(b)


def _content(message: Message) -> tuple[str, list[Any]]:
    parts = message.content if isinstance(message.content, tuple) else ()
    return plain_text(message.text), [part for part in parts if part.get("type") != "text"]


def unknown_fields(value: Any, path: str) -> dict[str, Any]:
    """Return the fields of messages for which ``Message`` has no place, by path."""
    if not isinstance(value, list):
        return {}
    return {
        f"{path}.{i}.{name}": content
        for i, item in enumerate(value)
        if isinstance(item, dict)
        for name, content in item.items()
        if name not in _PARSED_FIELDS and content is not None
    }


def split_common_prefix(a: Prompt, b: Prompt) -> tuple[Prompt, Prompt, Prompt]:
    """Split two conversations into their common prompt and the continuation of each.

    The common prompt ends before an assistant's turn, so that both continuations answer it.

    Raises
    ------
    RecordError
        If they have no common prompt.
    """
    length = 0
    for message_a, message_b in zip(a, b, strict=False):
        if not same_message(message_a, message_b):
            break
        length += 1
    while length > 0 and not (_is_assistant(a, length) and _is_assistant(b, length)):
        length -= 1
    if length == 0:
        raise RecordError(
            "chosen and rejected have no common prompt that both answer",
            "Give the prompt in a field of its own",
        )
    return a[:length], a[length:], b[length:]


def split_at_prompt(a: Prompt, b: Prompt, prompt: Prompt | None) -> tuple[Prompt, Prompt, Prompt]:
    """Split two conversations, given their prompt if it has a column of its own.

    Conversations that begin with an assistant's turn continue the prompt. Others must contain it.

    Parameters
    ----------
    a, b : tuple of Message
        The conversations.
    prompt : tuple of Message or None
        The prompt that the row states.

    Raises
    ------
    RecordError
        If the conversations have no common prompt, or another one.
    """
    if prompt is None:
        return split_common_prefix(a, b)
    if a[0].role == "assistant" and b[0].role == "assistant":
        return prompt, a, b
    common, a, b = split_common_prefix(a, b)
    if not _contains(common, [message for message in prompt if message.role == "user"]):
        raise RecordError(
            "prompt: it is not in the conversations of chosen and rejected",
            "Leave the prompt out, or begin the conversations with it",
        )
    return _with_stated_system(common, prompt), a, b


def split_answer(messages: Prompt, prompt: Prompt, path: str) -> tuple[Prompt, Prompt]:
    """Return the prompt and the answer to it, given an answer that may repeat the prompt.

    Parameters
    ----------
    messages : tuple of Message
        The answer, or a conversation of the prompt and the answer.
    prompt : tuple of Message
        The prompt that the row states.
    path : str
        Path of the answer, for error messages.

    Raises
    ------
    RecordError
        If the answer has turns of others before it that are not those of the prompt, or it ends
        with such a turn.
    """
    require_answer(messages, path)
    if messages[0].role == "assistant":
        return prompt, messages
    questions = [message for message in prompt if message.role == "user"]
    ends = (i for i in range(1, len(messages)) if messages[i].role == "assistant")
    end = next((i for i in ends if _contains(messages[:i], questions)), 0)
    if not end:
        raise RecordError(
            f"{path}: it begins with a turn of the {messages[0].role} that is not in the prompt",
            "Begin it with the answer of the assistant",
        )
    return _with_stated_system(messages[:end], prompt), messages[end:]


def require_answer(messages: Prompt, path: str) -> None:
    """Check that messages end with an answer.

    Raises
    ------
    RecordError
        If the last message is by the user or the system.
    """
    if messages[-1].role not in {"assistant", "tool"}:
        raise RecordError(f"{path}: it ends with a turn of the {messages[-1].role}, not an answer")


def _with_stated_system(common: Prompt, prompt: Prompt) -> Prompt:
    """Return the beginning of a conversation with the system message that the prompt states."""
    systems = [message for message in prompt[:1] if message.role in {"system", "developer"}]
    if systems and common[0].role not in {"system", "developer"}:
        return (*systems, *common)
    if systems and not same_message(systems[0], common[0]):
        raise RecordError("prompt: the conversations begin with another system message")
    return common


def _contains(messages: Prompt, questions: Sequence[Message]) -> bool:
    """Return true if messages have all questions, in order."""
    rest = iter(messages)
    return all(any(same_message(item, question) for item in rest) for question in questions)


def _is_assistant(messages: Prompt, index: int) -> bool:
    return index < len(messages) and messages[index].role == "assistant"
