"""Chatbot Arena and MT-Bench: votes of people and verdicts of GPT-4 between two conversations."""

from __future__ import annotations

import re
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Prompt
from backtalk.feedback.kinds import Verdict
from backtalk.formats.cell_values import is_json_cell, parse_cell
from backtalk.formats.chat import as_messages, split_common_prefix
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import (
    HUMAN,
    make_case,
    make_interaction,
    response_from_messages,
)
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import make_preference

_VERDICTS: dict[str, Verdict] = {
    "model_a": "a",
    "model_b": "b",
    "a": "a",
    "b": "b",
    "tie": "tie",
    "tie (inconsistent)": "tie",
    "tie (bothbad)": "both_bad",
    "tie (both bad)": "both_bad",
    "bothbad": "both_bad",
    "both_bad": "both_bad",
}
"""Verdicts by the text in the column ``winner``."""
_MODEL_NAME = re.compile(
    r"(?:chatgpt|claude|command|deepseek|gemini|gpt|llama|mistral|mixtral|o\d|prometheus|qwen)",
    re.IGNORECASE,
)
"""Beginning of a judge's name that is a model's."""
_PART_FIELDS = ("type", "text", "image", "mimeType")

_READ_COLUMNS = (
    "conversation_a",
    "conversation_b",
    "model_a",
    "model_b",
    "winner",
    "judge",
    "turn",
    "full_conversation",
)
_VOTE_COLUMNS = (
    "id",
    "question_id",
    "evaluation_session_id",
    "evaluation_order",
    "tstamp",
    "timestamp",
    "anony",
)
"""Columns about the vote, which are metadata of the preference."""
_LEFT_OUT_COLUMNS = (
    "conv_metadata",
    "openai_moderation",
    "toxic_chat_tag",
    "dedup_tag",
    "judge_hash",
)


def _matches(row: RowData) -> bool:
    return {"conversation_a", "conversation_b", "winner"} <= set(row)


@import_format(
    "chatbot-arena",
    title="Chatbot Arena conversations, arena-human-preference and MT-Bench judgements",
    source="https://huggingface.co/datasets/lmsys/chatbot_arena_conversations",
    matches=_matches,
    columns=(*_READ_COLUMNS, *_VOTE_COLUMNS, *_LEFT_OUT_COLUMNS),
)
def chatbot_arena(row: RowData) -> list[Case]:
    """Parse a preference between two conversations, up to the turn that was judged.

    The prompt is what both share, up to the first answer that differs; later turns belong to the
    answers. Tags of moderation, counts of tokens and other statistics are left out. Earlier turns
    of a session, which other models answered, are part of the prompt if both sides had the same,
    and metadata otherwise.
    """
    fields = Fields(row)
    conversations = [_conversation(fields, f"conversation_{side}") for side in "ab"]
    earlier = _earlier_turns(fields, conversations[0])
    shared = _shared_turns(earlier)
    prompt, *answers = split_conversations(fields, *conversations)
    metadata = fields.other_fields((*_READ_COLUMNS, *_VOTE_COLUMNS, *_LEFT_OUT_COLUMNS))
    metadata |= fields.select("turn")
    if earlier and shared is None:
        metadata["earlier_turns"] = earlier
    interaction = make_interaction(
        (*(shared or ()), *prompt),
        [
            response_from_messages(id_, messages, model=fields.optional_text(f"model_{side}"))
            for id_, side, messages in zip("01", "ab", answers, strict=True)
        ],
        session=_optional_id(fields, "evaluation_session_id"),
        time=_time(fields),
        metadata=metadata,
    )
    return [vote_case(fields, interaction, read_winner(fields), _judge(fields))]


def vote_case(
    fields: Fields, interaction: Interaction, verdict: Verdict, annotator: Annotator
) -> Case:
    """Return a case with a preference between two responses.

    Parameters
    ----------
    fields : Fields
        The row, whose id distinguishes equal votes.
    interaction : Interaction
        Interaction with both responses.
    verdict : Verdict
        Verdict of the annotator.
    annotator : Annotator
        Person or model that judged.

    Raises
    ------
    RecordError
        If the better response is empty or the same as the other.
    """
    metadata = fields.select(
        *(name for name in _VOTE_COLUMNS if name not in {"tstamp", "timestamp", "id"})
    )
    if str(fields.data.get("winner")).strip().lower() == "tie (inconsistent)":
        metadata["winner"] = fields.data["winner"]
    id_ = _optional_id(fields, "id") or _optional_id(fields, "question_id")
    preference = make_preference(
        interaction,
        annotator,
        verdict,
        time=interaction.time,
        metadata=metadata,
        distinct=id_,
    )
    return make_case(interaction, [preference])


def split_conversations(fields: Fields, a: Prompt, b: Prompt) -> tuple[Prompt, Prompt, Prompt]:
    """Return the common prompt of two conversations, and the continuation of each.

    Parameters
    ----------
    fields : Fields
        The row, for error messages.
    a, b : tuple of Message
        The conversations.

    Raises
    ------
    RecordError
        If they begin with different questions, or have no answer.
    """
    try:
        return split_common_prefix(a, b)
    except RecordError:
        raise RecordError(
            f"{fields.field_path('conversation_b')}: it has no question in common with "
            "conversation_a that both answer"
        ) from None


def read_winner(fields: Fields) -> Verdict:
    """Return the verdict of the column ``winner``, which may name the model.

    Raises
    ------
    RecordError
        If it is missing or unknown.
    """
    winner = fields.text("winner").strip()
    known = _VERDICTS.get(winner.lower())
    if known is not None:
        return known
    names = [fields.data.get(f"model_{side}") for side in "ab"]
    if winner and names.count(winner) == 1:
        return "a" if names[0] == winner else "b"
    raise fields.error(
        "winner", f"expected one of {', '.join(_VERDICTS)} or a model, got {winner!r}"
    )


def _conversation(fields: Fields, name: str) -> Prompt:
    """Return a conversation up to the answer of the turn that was judged."""
    value = fields.data.get(name)
    if isinstance(value, str) and is_json_cell(value):
        value = parse_cell(value, name)
    if not isinstance(value, list):
        raise fields.error(name, "expected a list of messages")
    messages = as_messages([_without_nulls(item) for item in value], name)
    if "turn" not in fields:
        return messages
    turn = fields.integer("turn")
    questions = [i for i, message in enumerate(messages) if message.role == "user"]
    if not 1 <= turn <= len(questions):
        raise fields.error("turn", f"{turn}, but {name} has {len(questions)} turns")
    return messages[: questions[turn]] if turn < len(questions) else messages


def _without_nulls(message: Any) -> Any:
    """Return a message without the empty fields of its parts; a single text is its content."""
    parts = message.get("content") if isinstance(message, dict) else None
    if not isinstance(parts, list) or not all(isinstance(part, dict) for part in parts):
        return message
    parts = [{name: item for name, item in part.items() if item is not None} for part in parts]
    texts = [part["text"] for part in parts if part.get("type") == "text" and "text" in part]
    return {**message, "content": texts[0] if len(parts) == len(texts) == 1 else parts}


def _earlier_turns(fields: Fields, conversation: Prompt) -> list[dict[str, Any]]:
    """Return the turns of a session before the conversation that was judged."""
    value = fields.data.get("full_conversation")
    if is_empty(value):
        return []
    if isinstance(value, str):
        value = parse_cell(value, "full_conversation")
    turns = [
        turn.data for turn in Fields({"full_conversation": value}).objects("full_conversation")
    ]
    judged = sum(message.role == "user" for message in conversation)
    return [dict(turn) for turn in turns[: max(len(turns) - judged, 0)]]


def _shared_turns(turns: list[dict[str, Any]]) -> Prompt | None:
    """Return earlier turns as messages, ``None`` if the two sides differ."""
    messages: list[Any] = []
    for turn in turns:
        if turn.get("model_side_a") != turn.get("model_side_b"):
            return None
        messages += [_without_nulls(turn.get(name)) for name in ("user", "model_side_a")]
    return as_messages(messages, "full_conversation") if messages else ()


def _judge(fields: Fields) -> Annotator:
    judge = fields.data.get("judge")
    if is_json_cell(judge):
        judge = parse_cell(judge, fields.field_path("judge"))
    if is_empty(judge):
        return HUMAN
    if isinstance(judge, list) and all(isinstance(item, str) for item in judge):
        return Annotator.model(judge[0], revision=", ".join(judge[1:]) or None)
    name = fields.text("judge").strip()
    return Annotator.model(name) if _MODEL_NAME.match(name) else Annotator.human(name)


def _time(fields: Fields) -> Any:
    return fields.timestamp("tstamp") or fields.timestamp("timestamp")


def _optional_id(fields: Fields, name: str) -> str | None:
    return None if is_empty(fields.data.get(name)) else str(fields.data[name])
