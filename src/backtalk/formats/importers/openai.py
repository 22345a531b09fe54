"""OpenAI's fine-tuning files: conversations to imitate, and preferences."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Message, Response
from backtalk.feedback.kinds import Demonstration, Preference
from backtalk.formats.cell_values import read_cells
from backtalk.formats.chat import as_messages, plain_text, unknown_fields
from backtalk.formats.columns import is_empty, meaning_of
from backtalk.formats.content_ids import (
    make_case,
    make_feedback,
    make_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.prompts import SYSTEM_COLUMNS, read_annotator, read_author, with_system

TOOLS = ("tools", "parallel_tool_calls", "functions")
"""Columns of the tools that a model could call; kept as metadata."""

_NOT_IMITATED = ("train", "training")
"""Fields of a message that are false if it is not imitated, in axolotl's files."""


def _matches_chat(row: RowData) -> bool:
    return (
        "messages" in row
        and "chosen" not in row
        and is_empty(row.get("completion"))
        and (is_empty(row.get("prompt")) or _is_first_question(row["prompt"], row["messages"]))
    )


def _is_first_question(prompt: Any, messages: Any) -> bool:
    """Return true if a prompt is the text of the first user message."""
    if not isinstance(messages, list) or not all(isinstance(item, dict) for item in messages):
        return False
    question = next((item.get("content") for item in messages if item.get("role") == "user"), None)
    if not isinstance(prompt, str) or not isinstance(question, str):
        return False
    return plain_text(prompt) == plain_text(question)


@import_format(
    "openai-chat",
    title="OpenAI supervised fine-tuning: messages",
    source="https://platform.openai.com/docs/guides/supervised-fine-tuning",
    matches=_matches_chat,
    columns=("messages", "prompt", "completion", *SYSTEM_COLUMNS, *TOOLS),
    reads_person=True,
    fallback=True,
)
def openai_chat(row: RowData) -> list[Case]:
    """Parse the last assistant message as a demonstration; the messages before it are the prompt.

    Messages with weight 0 are skipped. Earlier messages are demonstrations too if they have an
    explicit weight of 1. Tools are metadata. A column ``system`` is the first message; a column
    ``prompt`` that repeats the first question, as in UltraChat and No Robots, is left out.
    """
    prompt = row.get("prompt")
    if not is_empty(prompt) and not _is_first_question(prompt, row.get("messages")):
        raise RecordError("prompt: it is not the first question in messages")
    return demonstrations(row, "messages")


def demonstrations(row: RowData, column: str) -> list[Case]:
    """Parse the conversation in a column as :func:`openai_chat` does.

    Raises
    ------
    RecordError
        If it has no answer to imitate.
    """
    fields = Fields(row)
    messages = as_messages(fields.array(column), column)
    weights = [_weight(part) for part in fields.objects(column)]
    replies = [i for i, message in enumerate(messages) if message.role == "assistant" and i > 0]
    candidates = [i for i in replies if weights[i] != 0]
    if not candidates:
        raise fields.error(column, "there is no assistant message to imitate")
    common = fields.other_fields((column, *SYSTEM_COLUMNS, "prompt")) | unknown_fields(
        row[column], column
    )
    annotator = read_author(fields)
    cases = []
    for i in [i for i in candidates[:-1] if weights[i]] + candidates[-1:]:
        _check_imitated(messages[i], row[column][i], f"{column}.{i}")
        after = row[column][i + 1 :] if i == candidates[-1] else []
        metadata = {**common, "after": after} if after else common
        prompt = with_system(fields, messages[:i])
        interaction = make_interaction(prompt, [], metadata=metadata)
        cases.append(
            make_case(
                interaction,
                [make_feedback(Demonstration, interaction, annotator, text=messages[i].text)],
            )
        )
    return cases


def _weight(message: Fields) -> float | None:
    if any(message.data.get(name) is False for name in _NOT_IMITATED):
        return 0
    return message.optional_number("weight")


def _check_imitated(message: Message, data: dict[str, Any], path: str) -> None:
    """Check that a message has text, and no verdict, which may be that it is bad."""
    if not message.text.strip():
        raise RecordError(f"{path}: a message to imitate needs text, not only tool calls")
    for name, value in data.items():
        if meaning_of(name) == "verdict" and not is_empty(value):
            raise RecordError(
                f"{path}.{name}: a verdict about a message is not read",
                f"Read it with a mapping, from the column {path}.{name}",
            )


@import_format(
    "openai-preference",
    title="OpenAI preference fine-tuning: input, preferred and non-preferred output",
    source="https://platform.openai.com/docs/guides/direct-preference-optimization",
    matches=lambda row: {"input", "preferred_output", "non_preferred_output"} <= set(row),
    columns=("input", "preferred_output", "non_preferred_output"),
    reads_person=True,
)
def openai_preference(row: RowData) -> list[Case]:
    """Parse a preference between two outputs; tools are metadata."""
    fields = Fields(read_cells(row, ("input",)))
    request = fields.object("input")
    chosen = _output(fields, "preferred_output", "0")
    rejected = _output(fields, "non_preferred_output", "1")
    if chosen.text == rejected.text and chosen.messages == rejected.messages:
        raise RecordError("non_preferred_output: the same as preferred_output")
    names = ("input", "preferred_output", "non_preferred_output")
    metadata: dict[str, Any] = request.other_fields(("messages",)) | fields.other_fields(names)
    metadata |= unknown_fields(request.data.get("messages"), "input.messages")
    interaction = make_interaction(
        request.messages("messages"), [chosen, rejected], metadata=metadata
    )
    return [
        make_case(
            interaction,
            [
                make_feedback(
                    Preference, interaction, read_annotator(fields), a="0", b="1", verdict="a"
                )
            ],
        )
    ]


def _output(fields: Fields, name: str, id_: str) -> Response:
    return response_from_messages(id_, as_messages(fields.array(name), name))
