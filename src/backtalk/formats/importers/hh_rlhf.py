"""Anthropic's HH-RLHF: two transcripts of a dialogue, one preferred."""

from __future__ import annotations

import re
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Message, Prompt, Response
from backtalk.feedback.kinds import Preference
from backtalk.formats.chat import split_common_prefix
from backtalk.formats.columns import is_empty
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.prompts import SYSTEM_COLUMNS, read_annotator, with_system

_TURN = re.compile(r"\n\n(Human|Assistant):")
_FIRST_TURN = "\n\nHuman:"


_LAST_TURN = "\n\nAssistant:"
_SIDES = ("chosen", "rejected")
_COLUMNS = ("prompt", *_SIDES, "response", *SYSTEM_COLUMNS)


def _matches(row: RowData) -> bool:
    prompt, *sides = (row.get(name) for name in ("prompt", *_SIDES))
    if not all(isinstance(side, str) for side in sides):
        return False
    if is_empty(prompt):
        return all(map(_is_transcript, sides))
    if not isinstance(prompt, str) or not _is_transcript(prompt):
        return False
    return all(map(_is_transcript, sides)) or prompt.rstrip().endswith("Assistant:")


def _is_transcript(value: Any) -> bool:
    return isinstance(value, str) and value.lstrip().startswith("Human:")


@import_format(
    "hh-rlhf",
    title="Anthropic HH-RLHF dialogues",
    source="https://github.com/anthropics/hh-rlhf",
    matches=_matches,
    columns=_COLUMNS,
    reads_person=True,
)
def hh_rlhf(row: RowData) -> list[Case]:
    """Parse a preference between two continuations of a dialogue.

    The prompt is the common part of the transcripts, up to an assistant's turn. If they differ
    before the last turn, a response has several turns, and its text has all of them. Line ends may
    be CRLF, and the line feeds before the first turn may be missing. The prompt may be in a column
    of its own, with the answers or whole transcripts beside it; a column ``response`` then repeats
    the chosen one.
    """
    fields = Fields(row)
    if not is_empty(row.get("response")) and row["response"] != row.get("chosen"):
        raise fields.error("response", "it is not the same as chosen", "Leave the column out")
    chosen, rejected = (_whole_transcript(fields, name) for name in _SIDES)
    if chosen == rejected:
        raise RecordError("rejected: the same as chosen")
    prompt, *continuations = split_common_prefix(
        _messages(chosen, "chosen"), _messages(rejected, "rejected")
    )
    interaction = make_interaction(
        with_system(fields, prompt),
        [
            _response("0", chosen, len(prompt), continuations[0]),
            _response("1", rejected, len(prompt), continuations[1]),
        ],
        metadata=fields.other_fields(_COLUMNS),
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


def _whole_transcript(fields: Fields, name: str) -> str:
    text = _transcript(fields.text(name))
    if is_empty(fields.data.get("prompt")):
        return text
    prompt = _transcript(fields.text("prompt")).rstrip()
    if text.startswith(prompt):
        return text
    if _is_transcript(text) or not prompt.endswith(_LAST_TURN):
        raise fields.error(name, "it does not begin with the prompt")
    return prompt + text if text[:1].isspace() else f"{prompt} {text}"


def _transcript(text: str) -> str:
    text = text.replace("\r\n", "\n")
    return _FIRST_TURN.removesuffix("Human:") + text.lstrip("\n") if text[:1] in "\nH" else text


def _messages(transcript: str, name: str) -> Prompt:
    before, *turns = _TURN.split(transcript)
    if before or not turns:
        raise RecordError(f"{name}: a transcript begins with {_FIRST_TURN!r}")
    roles: dict[str, Any] = {"Human": "user", "Assistant": "assistant"}
    return tuple(
        Message(role=roles[speaker], content=text.removeprefix(" "))
        for speaker, text in zip(turns[::2], turns[1::2], strict=True)
    )


def _response(id_: str, transcript: str, turn: int, messages: Prompt) -> Response:
    if len(messages) == 1:
        return Response(id=id_, text=messages[0].text)
    start = list(_TURN.finditer(transcript))[turn].end()
    return Response(id=id_, text=transcript[start:].removeprefix(" "), messages=messages)
