r"""Prompts whose parts are in several columns: a system prompt, an instruction and its input.

>>> row = {"system": "Be brief.", "instruction": "Translate.", "input": "Guten Tag"}
>>> [message.text for message in read_prompt(Fields(row))]
['Be brief.', 'Translate.\nGuten Tag']
"""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Message, Prompt
from backtalk.formats.cell_values import is_json_cell, parse_cell
from backtalk.formats.chat import as_messages, plain_text
from backtalk.formats.columns import is_empty, is_person_column, is_user_column
from backtalk.formats.content_ids import HUMAN
from backtalk.formats.fields import Fields

QUESTION_COLUMNS = ("prompt", "question", "query", "instruction")
"""Columns of the question itself; a row has one of them."""
CONTEXT_COLUMNS = ("input", "context")
"""Columns of a text that follows the question, or that is the question if there is no other."""
SYSTEM_COLUMNS = ("system", "system_prompt", "system_message")
"""Columns of the system prompt."""
PROMPT_COLUMNS = (*QUESTION_COLUMNS, *CONTEXT_COLUMNS, *SYSTEM_COLUMNS, "history")
"""All columns that make up a prompt."""

_SEPARATOR = "\n"


def has_prompt(fields: Fields) -> bool:
    """Return true if a row has a question in one of the columns of a prompt."""
    return any(
        not is_empty(fields.data.get(name)) for name in (*QUESTION_COLUMNS, *CONTEXT_COLUMNS)
    )


def read_prompt(fields: Fields) -> Prompt:
    """Return the prompt that a row's columns make up.

    ``input`` and ``context`` follow the question on a new line, as in LLaMA-Factory's Alpaca
    layout; ``system`` becomes the first message, and ``history``, a list of pairs or of messages,
    precedes the question.

    Raises
    ------
    RecordError
        If there is no question, or two columns have different ones.
    """
    named = [name for name in QUESTION_COLUMNS if not is_empty(fields.data.get(name))]
    repeated = [name for name in named[1:] if fields.data[name] == fields.data[named[0]]]
    named = [name for name in named if name not in repeated]
    parts = [name for name in CONTEXT_COLUMNS if not is_empty(fields.data.get(name))]
    if len(named) > 1:
        raise fields.error(
            named[1],
            f"both {named[0]} and {named[1]} could be the prompt",
            "Name the column of the prompt in a mapping",
        )
    question = (named or parts or ["prompt"])[0]
    if not named and not parts:
        raise fields.error(question, "missing", "Give the prompt in a column prompt")
    messages = fields.messages(question)
    contexts = [name for name in parts if name != question]
    if contexts:
        text = _SEPARATOR.join(_text(fields, name) for name in (question, *contexts))
        messages = (Message.user(text),)
    return with_system(fields, (*_history(fields), *messages))


def with_system(fields: Fields, messages: Prompt) -> Prompt:
    """Return messages with the system prompt of its column at the beginning.

    Raises
    ------
    RecordError
        If the messages begin with another system prompt, or two columns have different ones.
    """
    texts = {
        name: fields.text(name) for name in SYSTEM_COLUMNS if not is_empty(fields.data.get(name))
    }
    if not texts:
        return messages
    name, text = next(iter(texts.items()))
    if len(set(map(plain_text, texts.values()))) > 1:
        raise fields.error(name, f"differs from {', '.join(list(texts)[1:])}")
    if messages[0].role not in {"system", "developer"}:
        return (Message.system(text), *messages)
    if plain_text(messages[0].text) != plain_text(text):
        raise fields.error(name, "differs from the system message in the conversation")
    return messages


def read_annotator(fields: Fields) -> Annotator:
    """Return the person who gave a row's feedback, an unknown person if it names none.

    A user is that person if there is no column of an annotator besides.

    Raises
    ------
    RecordError
        If two columns name a person.
    """
    names = _person_columns(fields)
    others = [name for name in names if not is_user_column(name)]
    return _only_person(fields, others or names)


def read_author(fields: Fields) -> Annotator:
    """Return the person who wrote a row's answer, an unknown person if it names none.

    A column of a user names the person who put the question, and does not count.

    Raises
    ------
    RecordError
        If two columns name a person.
    """
    return _only_person(
        fields, [name for name in _person_columns(fields) if not is_user_column(name)]
    )


def _person_columns(fields: Fields) -> list[str]:
    return [
        name for name in fields.data if is_person_column(name) and not is_empty(fields.data[name])
    ]


def _only_person(fields: Fields, names: list[str]) -> Annotator:
    if not names:
        return HUMAN
    if len(names) > 1:
        raise fields.error(
            names[1],
            f"both {names[0]} and {names[1]} name a person",
            "Name the column of the annotator in a mapping",
        )
    value = fields.data[names[0]]
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise fields.error(names[0], f"expected the id of a person, got {value!r}")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return Annotator.human(str(value).strip())


def _text(fields: Fields, name: str) -> str:
    if not isinstance(fields.data[name], str):
        raise fields.error(name, "a text is needed to join columns to one prompt")
    return fields.text(name).strip("\r\n")


def _history(fields: Fields) -> Prompt:
    history = fields.data.get("history")
    if is_json_cell(history):
        history = parse_cell(history, fields.field_path("history"))
    return () if is_empty(history) else read_history(history, fields.field_path("history"))


def read_history(turns: Any, path: str) -> Prompt:
    """Return earlier turns from a list of pairs of texts, or of messages.

    Parameters
    ----------
    turns : Any
        JSON data.
    path : str
        Path of the list, for error messages.

    Raises
    ------
    RecordError
        If it is neither.
    """
    if isinstance(turns, list) and turns and all(isinstance(turn, dict) for turn in turns):
        return as_messages(turns, path)
    if not isinstance(turns, list):
        raise RecordError(f"{path}: expected a list of pairs or of messages")
    messages: list[Message] = []
    for index, turn in enumerate(turns):
        is_pair = isinstance(turn, list) and len(turn) == 2
        if not is_pair or not all(isinstance(text, str) for text in turn):
            raise RecordError(f"{path}.{index}: expected a pair of texts or a message")
        messages += [Message.user(turn[0]), Message.assistant(turn[1])]
    return tuple(messages)
