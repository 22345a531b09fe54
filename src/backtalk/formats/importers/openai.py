"""OpenAI's fine-tuning files: conversations to imitate, and preferences."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Response
from backtalk.feedback.kinds import Demonstration, Preference
from backtalk.formats.chat import as_messages, unknown_fields
from backtalk.formats.content_ids import (
    make_case,
    make_feedback,
    make_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.prompts import read_annotator, with_system

TOOLS = ("tools", "parallel_tool_calls", "functions")
"""Columns of the tools that a model could call; kept as metadata."""


@import_format(
    "openai-chat",
    title="OpenAI supervised fine-tuning: messages",
    source="https://platform.openai.com/docs/guides/supervised-fine-tuning",
    matches=lambda row: "messages" in row and not {"chosen", "prompt", "completion"} & set(row),
    columns=("messages", "system", *TOOLS),
    reads_person=True,
    fallback=True,
)
def openai_chat(row: RowData) -> list[Case]:
    """Parse the last assistant message as a demonstration; the messages before it are the prompt.

    Messages with weight 0 are skipped. Earlier messages are demonstrations too if they have an
    explicit weight of 1. Tools are metadata. A column ``system`` is the first message.
    """
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
    weights = [part.optional_number("weight") for part in fields.objects(column)]
    replies = [i for i, message in enumerate(messages) if message.role == "assistant" and i > 0]
    candidates = [i for i in replies if weights[i] != 0]
    if not candidates:
        raise fields.error(column, "there is no assistant message to imitate")
    common = fields.other_fields((column, "system")) | unknown_fields(row[column], column)
    annotator = read_annotator(fields)
    cases = []
    for i in [i for i in candidates[:-1] if weights[i]] + candidates[-1:]:
        if not messages[i].text:
            raise fields.error(
                f"{column}.{i}", "a message to imitate needs text, not only tool calls"
            )
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
    fields = Fields(row)
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
