"""Anthropic's HH-RLHF: two transcripts of a dialogue, one preferred."""

from __future__ import annotations

import re
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.interaction import Message, Response
from backtalk.feedback.judgements import Preference
from backtalk.feedback.views import Case
from backtalk.formats.chat import parting
from backtalk.formats.content_ids import HUMAN, case, feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import Data, import_format

_TURN = re.compile(r"\n\n(Human|Assistant):")
_BEGIN = "\n\nHuman:"


def _looks_like(row: Data) -> bool:
    both = (str(row.get(name, "")) for name in ("chosen", "rejected"))
    return "prompt" not in row and all(transcript.startswith(_BEGIN) for transcript in both)


@import_format(
    "hh-rlhf",
    title="Anthropic HH-RLHF dialogues",
    source="https://github.com/anthropics/hh-rlhf",
    looks_like=_looks_like,
)
def hh_rlhf(row: Data) -> list[Case]:
    """A preference between the two ways in which a dialogue goes on.

    The prompt is what the transcripts share, up to an assistant's turn. Where they part earlier
    than at the last turn, a response has several turns, and its text is all of them.
    """
    fields = Fields(row)
    chosen, rejected = fields.text("chosen"), fields.text("rejected")
    if chosen == rejected:
        raise RecordError("rejected: the same as chosen, so that nothing is preferred")
    prompt, one, other = parting(_messages(chosen, "chosen"), _messages(rejected, "rejected"))
    interaction = make_interaction(
        prompt,
        [_response("0", chosen, len(prompt), one), _response("1", rejected, len(prompt), other)],
        metadata=fields.rest(("chosen", "rejected")),
    )
    return [
        case(interaction, [feedback(Preference, interaction, HUMAN, a="0", b="1", verdict="a")])
    ]


def _messages(transcript: str, name: str) -> tuple[Message, ...]:
    before, *turns = _TURN.split(transcript)
    if before or not turns:
        raise RecordError(f"{name}: a transcript begins with {_BEGIN!r}")
    roles: dict[str, Any] = {"Human": "user", "Assistant": "assistant"}
    return tuple(
        Message(role=roles[speaker], content=text.removeprefix(" "))
        for speaker, text in zip(turns[::2], turns[1::2], strict=True)
    )


def _response(id_: str, transcript: str, turn: int, messages: tuple[Message, ...]) -> Response:
    if len(messages) == 1:
        return Response(id=id_, text=messages[0].text)
    begin = list(_TURN.finditer(transcript))[turn].end()
    return Response(id=id_, text=transcript[begin:].removeprefix(" "), messages=messages)
