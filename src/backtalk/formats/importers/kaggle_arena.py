"""Kaggle's Chatbot Arena competitions: prompts and responses as JSON lists in cells."""

from __future__ import annotations

from typing import Any

from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.kinds import Verdict
from backtalk.formats.cell_values import is_json_cell, parse_cell
from backtalk.formats.content_ids import HUMAN, make_interaction, response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.chatbot_arena import read_winner, split_conversations, vote_case

_TEXT_COLUMNS = ("prompt", "response_a", "response_b")
_FLAGS: dict[str, Verdict] = {"winner_model_a": "a", "winner_model_b": "b", "winner_tie": "tie"}
_COLUMNS = ("id", *_TEXT_COLUMNS, "model_a", "model_b", "winner", *_FLAGS)


def _matches(row: RowData) -> bool:
    fields = set(row)
    return set(_TEXT_COLUMNS) <= fields and (set(_FLAGS) <= fields or "winner" in fields)


@import_format(
    "kaggle-arena",
    title="Kaggle's Chatbot Arena competitions: lmsys-chatbot-arena and the WSDM Cup",
    source="https://www.kaggle.com/competitions/lmsys-chatbot-arena/data",
    matches=_matches,
    columns=_COLUMNS,
)
def kaggle_arena(row: RowData) -> list[Case]:
    """Parse a vote between two responses; several turns are lists in the cells.

    The verdict is in three columns of zeros and a one, or in one column ``winner``. These files do
    not tell "both bad" from a tie.
    """
    fields = Fields(row)
    prompt, *answers = split_conversations(fields, *_conversations(fields))
    interaction = make_interaction(
        prompt,
        [
            response_from_messages(id_, messages, model=fields.optional_text(f"model_{side}"))
            for id_, side, messages in zip("01", "ab", answers, strict=True)
        ],
        metadata=fields.other_fields(_COLUMNS),
    )
    return [vote_case(fields, interaction, _verdict(fields), HUMAN)]


def _conversations(fields: Fields) -> tuple[Prompt, Prompt]:
    count = sum(_looks_like_list(fields.data.get(name)) for name in _TEXT_COLUMNS)
    read = _texts if count > 1 else _single_text
    questions, *sides = [read(fields, name) for name in _TEXT_COLUMNS]
    for name, side in zip(_TEXT_COLUMNS[1:], sides, strict=True):
        if len(side.data) != len(questions.data):
            raise fields.error(
                name, f"{len(side.data)} responses for {len(questions.data)} prompts"
            )
    a, b = (_turns(questions, side) for side in sides)
    return a, b


def _single_text(fields: Fields, name: str) -> Fields:
    return Fields({"0": fields.text(name)}, name)


def _texts(fields: Fields, name: str) -> Fields:
    """Return the texts of a list, or of a cell with a list, as fields named by their index."""
    value = fields.data.get(name)
    if isinstance(value, str):
        value = parse_cell(value, name)
    return Fields({name: value}).array_fields(name)


def _turns(questions: Fields, answers: Fields) -> Prompt:
    messages: list[Message] = []
    for index in questions.data:
        messages += [Message.user(questions.text(index)), Message.assistant(answers.text(index))]
    return tuple(messages)


def _looks_like_list(value: Any) -> bool:
    return isinstance(value, list) or (is_json_cell(value) and str(value).lstrip().startswith("["))


def _verdict(fields: Fields) -> Verdict:
    if "winner" in fields:
        return read_winner(fields)
    verdicts = [verdict for name, verdict in _FLAGS.items() if fields.boolean(name)]
    if len(verdicts) != 1:
        raise fields.error(
            "winner_model_a", f"exactly one of {', '.join(_FLAGS)} must be 1, not {len(verdicts)}"
        )
    return verdicts[0]
