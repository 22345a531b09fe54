"""LLaMA-Factory and axolotl: a conversation with two answers, or a label of its last answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.kinds import Label
from backtalk.formats.cell_values import parse_cell
from backtalk.formats.chat import (
    as_messages,
    same_message,
    split_answer,
    split_at_prompt,
    unknown_fields,
)
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import (
    make_case,
    make_feedback,
    make_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference
from backtalk.formats.importers.openai import TOOLS
from backtalk.formats.importers.scored_preference import has_scored_pair, is_conversation
from backtalk.formats.prompts import (
    PROMPT_COLUMNS,
    SYSTEM_COLUMNS,
    has_prompt,
    read_annotator,
    read_prompt,
    with_system,
)

_PAGE = "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md"
_CONVERSATION_COLUMNS = ("messages", "conversations")
_RANKING_COLUMNS = (*_CONVERSATION_COLUMNS, *SYSTEM_COLUMNS, "chosen", "rejected")
_ANSWER_COLUMNS = ("completion", "output", "response")
_LABEL_COLUMNS = ("kto_tag", "label")
_TEXT_PROMPT_COLUMNS = tuple(name for name in PROMPT_COLUMNS if name not in SYSTEM_COLUMNS)
_KTO_COLUMNS = (
    *_CONVERSATION_COLUMNS,
    *PROMPT_COLUMNS,
    *_ANSWER_COLUMNS,
    *_LABEL_COLUMNS,
    "rating",
)


_MESSAGE = re.compile(r"""\s*\{\s*["'](?:role|content|from|value)["']\s*:""")
"""Beginning of a cell with one message."""


def _matches_ranking(row: RowData) -> bool:
    return (
        {"chosen", "rejected"} <= set(row)
        and _conversation_column(row) is not None
        and _all_empty(row, _TEXT_PROMPT_COLUMNS)
        and not has_scored_pair(row)
    )


def _all_empty(row: Mapping[str, Any], names: Iterable[str]) -> bool:
    return all(is_empty(row.get(name)) for name in names)


def _conversation_column(row: Mapping[str, Any]) -> str | None:
    return next((name for name in _CONVERSATION_COLUMNS if not is_empty(row.get(name))), None)


@import_format(
    "llama-factory-ranking",
    title="LLaMA-Factory ranking and axolotl chat_template: a conversation, chosen, rejected",
    source=f"{_PAGE}#preference-dataset-1",
    matches=_matches_ranking,
    columns=(*_RANKING_COLUMNS, *TOOLS),
    reads_person=True,
)
def llama_factory_ranking(row: RowData) -> list[Case]:
    """Parse a preference between two answers to a conversation.

    The answers are messages, lists of messages or texts. A conversation that ends with the chosen
    answer is its prompt without that answer.
    """
    fields = Fields(row)
    name = _conversation_column(row) or "conversations"
    conversation = fields.messages(name)
    chosen, rejected = (_answer(fields, side) for side in ("chosen", "rejected"))
    if len(conversation) > 1 and same_message(conversation[-1], chosen[-1]):
        conversation = conversation[:-1]
    if conversation[-1].role == "assistant":
        raise fields.error(name, "it ends with an answer that is not the chosen one")
    prompt, a, b = split_at_prompt(chosen, rejected, with_system(fields, conversation))
    responses = [response_from_messages("0", a), response_from_messages("1", b)]
    interaction = make_interaction(prompt, responses, metadata=_metadata(fields, _RANKING_COLUMNS))
    preference = make_preference(interaction, read_annotator(fields), "a")
    return [make_case(interaction, [preference])]


def _answer(fields: Fields, name: str) -> Prompt:
    """Return the messages of an answer: one message, a list of them, or the text of one."""
    value = fields.data.get(name)
    if is_empty(value):
        raise fields.error(name, "missing")
    if isinstance(value, str) and _MESSAGE.match(value):
        value = parse_cell(value, name)
    elif isinstance(value, str):
        value = {"role": "assistant", "content": value}
    messages = as_messages(value if isinstance(value, list) else [value], name)
    if messages[-1].role != "assistant":
        raise fields.error(name, f"an answer is an assistant's message, not {messages[-1].role}'s")
    return messages


def _metadata(fields: Fields, columns: tuple[str, ...]) -> dict[str, Any]:
    metadata = fields.other_fields(columns)
    for name in columns:
        metadata |= unknown_fields(fields.data.get(name), name)
    return metadata


def _matches_kto(row: RowData) -> bool:
    if not any(name in row for name in _LABEL_COLUMNS) or {"chosen", "rejected"} & set(row):
        return False
    if _conversation_column(row) is not None:
        return _all_empty(row, (*_TEXT_PROMPT_COLUMNS, *_ANSWER_COLUMNS))
    answers = [name for name in _ANSWER_COLUMNS if not is_empty(row.get(name))]
    if "kto_tag" in row:
        return len(answers) == 1 and has_prompt(Fields(row))
    if answers != ["completion"]:
        return False
    return "rating" in row or (
        is_conversation(row["completion"]) and _all_empty(row, _TEXT_PROMPT_COLUMNS)
    )


@import_format(
    "kto",
    title="KTO: LLaMA-Factory's kto_tag, messages and label, Argilla's kto sets",
    source=f"{_PAGE}#kto-dataset-1",
    matches=_matches_kto,
    columns=(*_KTO_COLUMNS, "status", *TOOLS),
    reads_person=True,
)
def kto(row: RowData) -> list[Case]:
    """Parse a label, good or bad, of the last answer of a conversation or of an instruction.

    A judge's ``rating`` is metadata of the answer.
    """
    fields = Fields(row)
    prompt, answer = _prompt_and_answer(fields)
    response = response_from_messages("0", answer, metadata=fields.select("rating"))
    interaction = make_interaction(prompt, [response], metadata=_metadata(fields, _KTO_COLUMNS))
    good = fields.boolean(_only_label(fields))
    label = make_feedback(Label, interaction, read_annotator(fields), response="0", good=good)
    return [make_case(interaction, [label])]


def _only_label(fields: Fields) -> str:
    names = [name for name in _LABEL_COLUMNS if not is_empty(fields.data.get(name))]
    if len(names) > 1:
        raise fields.error(names[1], f"both {names[0]} and {names[1]} could be the label")
    return (
        names[0]
        if names
        else next((name for name in _LABEL_COLUMNS if name in fields.data), _LABEL_COLUMNS[0])
    )


def _prompt_and_answer(fields: Fields) -> tuple[Prompt, Prompt]:
    name = _conversation_column(fields.data)
    if name is None:
        filled = [name for name in _ANSWER_COLUMNS if not is_empty(fields.data.get(name))]
        if not filled:
            raise fields.error(_ANSWER_COLUMNS[0], "missing")
        name = filled[0]
        value = fields.data[name]
        messages = as_messages(
            value if isinstance(value, list) else [{"role": "assistant", "content": value}], name
        )
        if len(messages) == 1 or not _all_empty(fields.data, _TEXT_PROMPT_COLUMNS):
            return split_answer(messages, read_prompt(fields), name)
    else:
        messages = fields.messages(name)
    if messages[-1].role != "assistant" or len(messages) == 1:
        raise fields.error(name, "the label is about the last answer, but there is no answer")
    return with_system(fields, messages[:-1]), messages[-1:]
