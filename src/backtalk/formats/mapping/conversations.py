"""Prompts and answers from the columns of a row, among them whole conversations."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile
from typing import Annotated, Any

from pydantic import BeforeValidator

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Message, Prompt, Response, as_prompt
from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.formats.chat import as_messages, plain_text, same_message
from backtalk.formats.content_ids import response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.mapping.cells import (
    AnySource,
    empty,
    is_empty,
    is_null,
    text,
    value,
)
from backtalk.formats.mapping.paths import parse_text
from backtalk.formats.mapping.sources import Source, Template, name_of


class ResponseColumns(Record):
    """Columns of one response."""

    text: Source
    """Column of the text, of a message or of a list of messages."""
    model: OptionalField[Source] = None
    """Column with the name of the model that generated it."""
    written_by: OptionalField[Name] = None
    """Name of the model that generated all responses of this column."""
    separator: OptionalField[str] = None
    """Text between the items of a list of texts, such as steps, that make up the response."""

    def read(self, row: Fields, id_: str) -> Response | None:
        """Return the response of a row, ``None`` if the cell is empty.

        Raises
        ------
        RecordError
            If it is neither a text nor a list of messages, or stands for a missing value.
        """
        cell_value = value(row, self.text)
        if is_empty(cell_value):
            return None
        if is_null(cell_value):
            raise RecordError(f"{name_of(self.text)}: {cell_value!r} stands for a missing answer")
        model = (text(row, self.model) if self.model is not None else None) or self.written_by
        if type(cell_value) is str and self.separator is None and not _begins_list(cell_value):
            return Response(id=id_, text=cell_value, model=model)
        return self._parse(cell_value, id_, model)

    def _parse(self, cell_value: Any, id_: str, model: str | None) -> Response:
        path = name_of(self.text)
        if isinstance(cell_value, str) and self.separator is not None:
            cell_value = parse_text(cell_value, path)
        if isinstance(cell_value, list) and all(isinstance(item, str) for item in cell_value):
            return Response(id=id_, text=self._join(cell_value, path), model=model)
        if isinstance(cell_value, dict) and "role" in cell_value:
            cell_value = [cell_value]
        messages = read_messages(cell_value, path)
        if messages is None:
            plain = Fields({path: cell_value}).text(path)
            return Response(id=id_, text=plain, model=model)
        return response_from_messages(id_, messages, model=model)

    def _join(self, texts: list[str], path: str) -> str:
        if self.separator is None:
            raise RecordError(
                f"{path}: expected one answer, got a list of {len(texts)} texts",
                f"Name one of them, as in {path}[0], or join them: {{text: {path}, separator: "
                '"\\n"}',
            )
        return self.separator.join(texts)


class ConversationColumns(Record):
    """Column of a conversation that ends with an answer."""

    messages: Source
    """Column of the list of messages."""
    model: OptionalField[Source] = None
    """Column with the name of the model that generated the answer."""
    written_by: OptionalField[Name] = None
    """Name of the model that generated all answers of this column."""


def _response_from_column(value: Any) -> Any:
    is_columns = isinstance(value, ResponseColumns) or (
        isinstance(value, dict) and not {"template", "constant"} & set(value)
    )
    return value if is_columns else {"text": value}


def _conversation_from_column(value: Any) -> Any:
    return {"messages": value} if isinstance(value, str) else value


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | dict) else value


Responses = tuple[Annotated[ResponseColumns, BeforeValidator(_response_from_column)], ...]
"""Columns of the responses, each a name or an object."""
Conversations = Annotated[
    tuple[Annotated[ConversationColumns, BeforeValidator(_conversation_from_column)], ...],
    BeforeValidator(_as_list),
]
"""Columns of one or several conversations, each a name or an object."""


def read_messages(cell_value: Any, path: str) -> Prompt | None:
    """Return the messages of a cell, ``None`` if it is a plain text."""
    if isinstance(cell_value, str):
        cell_value = _messages_in_text(cell_value, path)
    return as_messages(cell_value, path) if isinstance(cell_value, list) else None


def _messages_in_text(cell_text: str, path: str) -> list[Any] | None:
    """Return the list of messages that a text holds in JSON or in Python's notation, if it does."""
    if not _begins_list(cell_text) or not _looks_like_messages(cell_text):
        return None
    parsed = parse_text(cell_text, path)
    return parsed if isinstance(parsed, list) else None


def _begins_list(cell_text: str) -> bool:
    return cell_text.lstrip()[:1] == "["


def _looks_like_messages(cell_text: str) -> bool:
    names = ("role", "content"), ("from", "value")
    return any(
        all(f'"{name}"' in cell_text or f"'{name}'" in cell_text for name in pair) for pair in names
    )


def read_prompt_source(row: Fields, source: AnySource) -> Prompt:
    """Return the prompt of a row.

    Raises
    ------
    RecordError
        If it is missing or blank, or neither a text nor messages.
    """
    if isinstance(source, Template):
        rendered = source.render(row.data)
        if rendered is None:
            raise RecordError(f"{name_of(source)}: missing, the prompt is empty")
        return as_prompt(rendered)
    cell_value, path = value(row, source), name_of(source)
    if is_null(cell_value):
        raise RecordError(f"{path}: missing")
    if is_empty(cell_value):
        raise RecordError(f"{path}: the prompt is empty")
    return read_messages(cell_value, path) or as_messages(cell_value, path)


def read_conversations(row: Fields, columns: Conversations) -> tuple[Prompt, list[Response]]:
    """Return the prompt that conversations share, and the answer at the end of each.

    The answer of a single conversation is its last message. Of several, it is all that follows the
    messages that they share.

    Raises
    ------
    RecordError
        If there is no conversation, one has no answer, or they share no prompt.
    """
    present = {
        str(index): (item, _read_conversation(row, item))
        for index, item in enumerate(columns)
        if not empty(row, item.messages)
    }
    if not present:
        raise RecordError(f"{name_of(columns[0].messages)}: missing")
    length = _prompt_length([messages for _, messages in present.values()])
    if length == 0:
        listed = " and ".join(name_of(item.messages) for item, _ in present.values())
        raise RecordError(f"{listed}: there is no prompt before the answer")
    responses = [
        response_from_messages(
            id_, messages[length:], model=text(row, item.model) or item.written_by
        )
        for id_, (item, messages) in present.items()
    ]
    _, first = next(iter(present.values()))
    return first[:length], responses


def _read_conversation(row: Fields, columns: ConversationColumns) -> Prompt:
    path = name_of(columns.messages)
    messages = read_messages(value(row, columns.messages), path)
    if messages is None:
        raise RecordError(f"{path}: expected a list of messages")
    if messages[-1].role != "assistant":
        raise RecordError(
            f"{path}: the conversation ends with a message of role {messages[-1].role}, not with "
            "an answer"
        )
    return messages


def _prompt_length(conversations: Sequence[Prompt]) -> int:
    first, *others = conversations
    if not others:
        return len(first) - 1
    length = min(
        sum(1 for _ in takewhile(lambda pair: same_message(*pair), zip(first, other, strict=False)))
        for other in others
    )
    while length > 0 and not all(_is_answer(messages, length) for messages in conversations):
        length -= 1
    return length


def _is_answer(messages: Prompt, index: int) -> bool:
    return index < len(messages) and messages[index].role == "assistant"


def with_system(system: str | None, messages: Prompt, path: str) -> Prompt:
    """Return messages that begin with a system prompt.

    Parameters
    ----------
    system : str or None
        Text of the system prompt; ``None`` if the row has none.
    messages : tuple of Message
        Messages of the prompt.
    path : str
        Path of the system prompt, for error messages.

    Raises
    ------
    RecordError
        If the messages begin with another system prompt.
    """
    if system is None:
        return messages
    if messages[0].role not in {"system", "developer"}:
        return (Message.system(system), *messages)
    if plain_text(messages[0].text) != plain_text(system):
        raise RecordError(f"{path}: differs from the system message in the prompt")
    return messages
