"""LLaMA-Factory's version 1 layouts: messages whose parts have ``type`` and ``value``."""

from __future__ import annotations

from typing import Any

from pydantic_core import from_json

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.formats.chat import as_messages, split_common_prefix
from backtalk.formats.content_ids import make_case, make_interaction, response_from_messages
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference
from backtalk.formats.importers.openai import TOOLS, demonstrations
from backtalk.formats.prompts import read_annotator

_PAIR_COLUMNS = ("chosen_messages", "rejected_messages")
_MEDIA_TYPES = ("image_url", "video_url", "audio_url")


def _matches(row: RowData) -> bool:
    if set(_PAIR_COLUMNS) <= set(row):
        return True
    messages = row.get("messages")
    return (
        isinstance(messages, list)
        and any(_has_values(message) for message in messages)
        and {"chosen", "rejected", "label", "kto_tag"}.isdisjoint(row)
    )


def _has_values(message: Any) -> bool:
    parts = message.get("content") if isinstance(message, dict) else None
    return isinstance(parts, list) and any(
        isinstance(part, dict) and {"type", "value"} <= set(part) for part in parts
    )


@import_format(
    "llama-factory-v1",
    title="LLaMA-Factory version 1: messages, or chosen_messages and rejected_messages",
    source="https://github.com/hiyouga/LLaMA-Factory/tree/main/data",
    matches=_matches,
    columns=("messages", *_PAIR_COLUMNS, *TOOLS),
    reads_person=True,
)
def llama_factory_v1(row: RowData) -> list[Case]:
    """Parse demonstrations, or a preference between the ends of two conversations.

    Answers with a ``loss_weight`` of 0 are not imitated. Parts with reasoning are kept as parts of
    their message, which are not in its text.
    """
    fields = Fields(row)
    if "messages" in fields:
        messages = [_message(message) for message in fields.objects("messages")]
        return demonstrations({**row, "messages": messages}, "messages")
    chosen, rejected = (_conversation(fields, name) for name in _PAIR_COLUMNS)
    prompt, a, b = split_common_prefix(chosen, rejected)
    interaction = make_interaction(
        prompt,
        [response_from_messages("0", a), response_from_messages("1", b)],
        metadata=fields.other_fields(_PAIR_COLUMNS),
    )
    preference = make_preference(interaction, read_annotator(fields), "a")
    return [make_case(interaction, [preference])]


def _conversation(fields: Fields, name: str) -> Prompt:
    return as_messages([_message(message) for message in fields.objects(name)], name)


def _message(message: Fields) -> dict[str, Any]:
    """Return a message in OpenAI's layout."""
    content = message.data.get("content")
    data = {name: item for name, item in message.data.items() if name != "loss_weight"}
    if "loss_weight" in message:
        data["weight"] = message.data["loss_weight"]
    if not isinstance(content, list):
        return data
    parts = message.objects("content")
    calls = [_call(part) for part in parts if part.data.get("type") == "tool_call"]
    others = [_part(part) for part in parts if part.data.get("type") != "tool_call"]
    if len(others) == 1 and "text" in others[0]:
        data["content"] = others[0]["text"]
    else:
        data["content"] = others or None
    return {**data, "tool_calls": calls} if calls else data


def _part(part: Fields) -> dict[str, Any]:
    kind, value = part.text("type"), part.text("value")
    if kind in _MEDIA_TYPES:
        return {"type": kind, kind: {"url": value}}
    return {"type": kind, "text" if kind == "text" else "value": value}


def _call(part: Fields) -> dict[str, Any]:
    try:
        call = from_json(part.text("value"))
    except ValueError:
        raise RecordError(f"{part.field_path('value')}: a tool call must be JSON") from None
    return {"type": "function", "function": call}
