"""Prompt and responses among the texts that an annotation tool showed to people."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Prompt, Response
from backtalk.formats.chat import as_messages
from backtalk.formats.columns import is_empty, meaning_of, unread_columns
from backtalk.formats.content_ids import response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.prompts import PROMPT_COLUMNS, QUESTION_COLUMNS, has_prompt, read_prompt

_CONVERSATIONS = ("messages", "chat", "conversation", "conversations", "dialogue", "dialog")
_DOCUMENTS = ("document", "article", "text", "post", "passage")
"""Names of a text that is the prompt if a response to it has a field of its own."""
_RESPONSES = ("response", "completion", "answer", "output", "generation", "reply")
_NUMBERED = re.compile(
    r"(candidate|summary|translation)s?([-_ ]?(\d+|[a-z]))?|(pair)?(text|option)[-_ ]?(\d+|[a-d])|"
    r"left|right"
)
"""Other names of responses, in lower case."""
_ITEM_TEXTS = ("body", "html", "text", "title")
"""Fields of the text of a list's item, as Label Studio's Ranker shows them."""
_MEND = (
    "Name the fields with the options prompt=FIELD and responses=FIELD,FIELD; the others are then "
    "metadata"
)


@dataclass(frozen=True)
class Texts:
    """Prompt and responses of a record, and its other fields."""

    prompt: Prompt
    prompt_fields: tuple[str, ...]
    responses: tuple[Response, ...]
    """Responses; their ids are the names of their fields."""
    metadata: dict[str, Any]

    @property
    def is_dialogue(self) -> bool:
        """Return true if the response is the last turn of a dialogue."""
        return self.names == self.prompt_fields[:1]

    @property
    def names(self) -> tuple[str, ...]:
        """Ids of the responses."""
        return tuple(response.id for response in self.responses)


def read_texts(fields: Fields, prompt: str | None, responses: tuple[str, ...]) -> Texts:
    """Return the prompt and the responses of a record.

    If neither is named, they are found by the names of the fields, and no other field may look
    like a prompt, an answer, a verdict or a person. Without a field of its own, the response is
    the last reply of the conversation.

    Parameters
    ----------
    fields : Fields
        Texts of the record by name.
    prompt : str or None
        Name of the field of the prompt.
    responses : tuple of str
        Names of the fields of the responses; empty to find them by name.

    Raises
    ------
    RecordError
        If there is no prompt, or a field has no place.
    """
    names = responses or tuple(name for name in fields.data if _is_response(fields, name, prompt))
    prompt_names = _prompt_names(fields, prompt, names)
    messages = (
        read_prompt(Fields({name: fields.data[name] for name in prompt_names}, fields.path))
        if prompt is None and prompt_names[0] in PROMPT_COLUMNS
        else _read_messages(fields, prompt_names[0])
    )
    items = tuple(item for name in names for item in _read_responses(fields, name))
    if not items and len(messages) > 1 and messages[-1].role == "assistant":
        items = (response_from_messages(prompt_names[0], messages[-1:]),)
        messages = messages[:-1]
    others = fields.other_fields((*prompt_names, *names))
    unread = [*unread_columns(others, ()), *(name for name in _DOCUMENTS if name in others)]
    if prompt is None and not responses and unread:
        raise fields.error(unread[0], "it is neither the prompt nor a response", _MEND)
    return Texts(messages, prompt_names, items, others)


def _prompt_names(
    fields: Fields, prompt: str | None, responses: tuple[str, ...]
) -> tuple[str, ...]:
    if prompt is not None:
        names: tuple[str, ...] = (prompt,) if prompt in fields else ()
    elif has_prompt(fields):
        names = tuple(
            name
            for name in PROMPT_COLUMNS
            if name not in responses and not is_empty(fields.data.get(name))
        )
    else:
        others = (*_CONVERSATIONS, *(_DOCUMENTS if responses else ()))
        names = tuple(name for name in others if not is_empty(fields.data.get(name)))
    if not names:
        raise RecordError(
            f"the prompt is in none of the fields {', '.join(fields.data)}",
            "Name the field with the option prompt=FIELD",
        )
    if len(names) > 1 and (
        names[0] not in PROMPT_COLUMNS or len(set(names) & set(QUESTION_COLUMNS)) > 1
    ):
        raise fields.error(names[1], f"both {names[0]} and {names[1]} could be the prompt", _MEND)
    return names


def _is_response(fields: Fields, name: str, prompt: str | None) -> bool:
    value = fields.data[name]
    if name in {prompt, *PROMPT_COLUMNS} or is_empty(value) or not isinstance(value, str | list):
        return False
    if _NUMBERED.fullmatch(name.lower()) or _is_item_list(value):
        return True
    word = re.sub(r"[\W_]+", "", name.lower())
    return word.startswith(_RESPONSES) and meaning_of(name) == "answer"


def _is_item_list(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(item, dict) and "id" in item and any(key in item for key in _ITEM_TEXTS)
        for item in value
    )


def _read_responses(fields: Fields, name: str) -> list[Response]:
    """Return the response of a field, or those of a list of items with ids."""
    value = fields.data.get(name)
    if not isinstance(value, list):
        return [Response(id=name, text=fields.text(name))]
    if not value or not _is_item_list(value):
        return [response_from_messages(name, _read_messages(fields, name))]
    responses = []
    for item in fields.objects(name):
        key = next(key for key in _ITEM_TEXTS if key in item.data)
        metadata = item.other_fields(("id", key))
        responses.append(Response(id=str(item.data["id"]), text=item.text(key), metadata=metadata))
    return responses


def _read_messages(fields: Fields, name: str) -> Prompt:
    """Return the messages of a field; speakers may be called author, and a text may be a list."""
    value = fields.data.get(name)
    if not isinstance(value, list) or not value:
        return fields.messages(name)
    if all(isinstance(item, str) for item in value):
        return as_messages("\n".join(value), name)
    turns = [
        {"from": str(item["author"]).strip(" :").lower(), "value": item["text"]}
        if isinstance(item, dict) and {"author", "text"} <= set(item)
        else item
        for item in value
    ]
    return as_messages(turns, fields.field_path(name))
