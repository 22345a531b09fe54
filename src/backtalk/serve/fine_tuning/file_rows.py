"""Rows of training files in OpenAI's layouts: their checks, and their conversion to feedback."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic_core import from_json

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import Demonstration, Label
from backtalk.formats.importers.openai import demonstrations, openai_preference

Row = dict[str, Any]

_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_MESSAGE_KEYS = frozenset(
    {
        "role", "content", "name", "weight", "function_call", "tool_calls", "tool_call_id",
        "refusal", "reasoning_content",
    }
)  # fmt: skip
_PREFERENCE_KEYS = ("input", "preferred_output", "non_preferred_output")
_EXCERPT = 40


def read_rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Yield each line's number from 1, with its row, or with the reason why it has none.

    Empty lines are skipped.
    """
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")  # noqa: PLW2901
            if line.strip():
                yield number, _read_row(line)


def _read_row(line: bytes) -> Row | str:
    try:
        text = line.decode("utf-8").strip()
    except UnicodeDecodeError:
        return "it is not UTF-8"
    start = text[:_EXCERPT]
    try:
        row = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        return f"it is not a JSON object: {error} (the line starts with {start!r})"
    if not isinstance(row, dict):
        return f"it is not a JSON object (the line starts with {start!r})"
    return row


def is_preference(row: Mapping[str, Any]) -> bool:
    """Return true if a row has the fields of a preference."""
    return any(name in row for name in _PREFERENCE_KEYS[1:])


def supervised_cases(row: Row, *, reasoning: bool = False) -> list[Case]:
    """Return the demonstrations of a row of a supervised job: one for each answer.

    An answer is an assistant's message, unless its weight is 0. The messages before it are its
    prompt. A row with ``prompt`` and ``completion`` is a conversation of two messages.

    Parameters
    ----------
    row : Row
        Row.
    reasoning : bool, default False
        If true, return good responses with their reasoning, which demonstrations do not have.

    Raises
    ------
    RecordError
        If the row is not such a conversation.
    """
    if is_preference(row):
        raise RecordError(
            "it is a preference", 'Use the method {"type": "dpo"}, or give conversations'
        )
    messages = _conversation(row)
    _check_messages(messages, "messages")
    if messages[-1]["role"] != "assistant":
        raise RecordError(
            f"messages: the last message is by the {messages[-1]['role']}; it must be by the "
            "assistant"
        )
    weighted = [
        {**message, "weight": 1} if _has_default_weight(message) else message
        for message in messages
    ]
    if not any(message["role"] == "assistant" and message["weight"] for message in weighted):
        raise RecordError("messages: all assistant messages have weight 0")
    answers = []
    for index, message in enumerate(weighted):
        if message["role"] == "assistant" and message["weight"]:
            _check_answer(message, f"messages.{index}")
            if index:
                answers.append(message)
    other = {name: value for name, value in row.items() if name not in _TEXT_KEYS}
    cases = demonstrations({**other, "messages": weighted}, "messages")
    if not reasoning:
        return cases
    return [
        _good_response(case, answer.get("reasoning_content"))
        for case, answer in zip(cases, answers, strict=True)
    ]


def _good_response(case: Case, reasoning: str | None) -> Case:
    """Return a demonstration as a good response, which may have reasoning."""
    (demonstration,) = case.feedback
    assert isinstance(demonstration, Demonstration)
    response = Response(id="0", text=demonstration.text, reasoning=reasoning or None)
    interaction = case.interaction.model_copy(update={"responses": (response,)})
    label = Label(
        interaction=interaction.id,
        annotator=demonstration.annotator,
        response=response.id,
        good=True,
    )
    return Case(interaction, (label,))


def has_reasoning(row: Row) -> bool:
    """Return true if an answer to learn in a valid row has reasoning."""
    outputs = [row[name][0] for name in _PREFERENCE_KEYS[1:] if name in row]
    messages = outputs or row.get("messages") or ()
    return any(
        message.get("reasoning_content") and message.get("weight") != 0 for message in messages
    )


_TEXT_KEYS = ("messages", "prompt", "completion")


def _has_default_weight(message: Mapping[str, Any]) -> bool:
    return message["role"] == "assistant" and message.get("weight") is None


def _conversation(row: Row) -> list[Any]:
    if "messages" not in row and "prompt" in row and "completion" in row:
        prompt, completion = row["prompt"], row["completion"]
        if not isinstance(prompt, str) or not isinstance(completion, str):
            raise RecordError("prompt and completion: expected texts")
        if not prompt.strip():
            raise RecordError("prompt: it is empty")
        return [
            {"role": "user", "content": prompt},
            {"role": "assistant", "content": completion.strip()},
        ]
    if "messages" not in row:
        keys = ", ".join(map(repr, row)) or "none"
        raise RecordError(f"the key 'messages' is missing; its keys are {keys}")
    if not isinstance(row["messages"], list) or not row["messages"]:
        raise RecordError("messages: expected a list with at least one message")
    return row["messages"]


def preference_cases(row: Row) -> list[Case]:
    """Return the preference of a row of a ``dpo`` job.

    Raises
    ------
    RecordError
        If the row is no preference.
    """
    missing = [name for name in _PREFERENCE_KEYS if name not in row]
    if missing:
        hint = 'Use the method {"type": "supervised"}' if "messages" in row else ""
        raise RecordError(f"the key {missing[0]!r} is missing", hint)
    messages = row["input"].get("messages") if isinstance(row["input"], dict) else None
    if not isinstance(messages, list) or not messages:
        raise RecordError("input.messages: expected a list with at least one message")
    _check_messages(messages, "input.messages")
    for name in _PREFERENCE_KEYS[1:]:
        _check_output(row[name], name)
    return [case for case in openai_preference(row) if isinstance(case, Case)]


def _check_output(output: Any, path: str) -> None:
    if not isinstance(output, list) or not output:
        raise RecordError(f"{path}: expected a list with a message of the assistant")
    _check_messages(output, path)
    if len(output) != 1 or output[0]["role"] != "assistant":
        raise RecordError(f"{path}: expected one message, of the assistant")
    _check_answer(output[0], f"{path}.0")


def _check_messages(messages: list[Any], path: str) -> None:
    for index, message in enumerate(messages):
        _check_message(message, f"{path}.{index}")


def _check_message(message: Any, path: str) -> None:
    if not isinstance(message, dict):
        raise RecordError(f"{path}: expected an object with role and content")
    if "role" not in message:
        raise RecordError(f"{path}: the key 'role' is missing")
    if not isinstance(message["role"], str) or message["role"] not in _ROLES:
        known = ", ".join(sorted(_ROLES))
        raise RecordError(f"{path}.role: {message['role']!r} is not one of {known}")
    for name in message:
        if name not in _MESSAGE_KEYS:
            raise RecordError(f"{path}: the key {name!r} is not known")
    calls = message.get("tool_calls") or message.get("function_call") or message.get("refusal")
    if message.get("content") is None and not calls:
        raise RecordError(f"{path}: the key 'content' is missing")
    _check_content(message.get("content"), f"{path}.content")
    if message.get("weight") is not None:
        _check_weight(message, path)
    if message.get("reasoning_content") is not None:
        _check_reasoning(message, f"{path}.reasoning_content")


def _check_content(content: Any, path: str) -> None:
    if content is None or isinstance(content, str):
        return
    if not isinstance(content, list):
        raise RecordError(f"{path}: expected a text")
    for index, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            kind = part.get("type") if isinstance(part, dict) else part
            raise RecordError(
                f"{path}.{index}: models here are fine-tuned on texts, not on {kind!r}"
            )


def _check_weight(message: Mapping[str, Any], path: str) -> None:
    if message["role"] != "assistant":
        raise RecordError(f"{path}.weight: only messages of the assistant have a weight")
    if message["weight"] not in (0, 1):
        raise RecordError(f"{path}.weight: expected 0 or 1, got {message['weight']!r}")


def _check_reasoning(message: Mapping[str, Any], path: str) -> None:
    if message["role"] != "assistant":
        raise RecordError(f"{path}: only messages of the assistant have reasoning")
    if not isinstance(message["reasoning_content"], str):
        raise RecordError(f"{path}: expected a text")


def _check_answer(message: Mapping[str, Any], path: str) -> None:
    if message.get("tool_calls") or message.get("function_call"):
        raise RecordError(
            f"{path}: models here are not fine-tuned on tool calls",
            'Give the message "weight": 0',
        )
    content = message.get("content")
    text = content if isinstance(content, str) else "".join(p["text"] for p in content or ())
    if not text.strip():
        raise RecordError(f"{path}.content: a message to learn needs text")
