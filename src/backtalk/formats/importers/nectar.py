"""Nectar: the answers of several models to a dialogue, ranked by GPT-4."""

from __future__ import annotations

import re
from collections import defaultdict

from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Message, Prompt, Response, as_prompt
from backtalk.feedback.kinds import Ranking
from backtalk.formats.cell_values import is_json_cell, read_cells
from backtalk.formats.content_ids import make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format

_JUDGE = Annotator.model("gpt-4")
_COLUMNS = frozenset({"prompt", "answers"})
_ATTRIBUTES = frozenset({"turns", "num_responses", "good_natured"})
"""Facts about the prompt, which are metadata."""
_ANSWER_COLUMNS = ("answer", "model", "rank")
_TURN = re.compile(r"(?:^|\n\n)(Human|Assistant):")


def _matches(row: RowData) -> bool:
    answers = row.get("answers")
    if isinstance(answers, str):
        return "prompt" in row and is_json_cell(answers) and "rank" in answers
    first = answers[0] if isinstance(answers, list) and answers else None
    return "prompt" in row and isinstance(first, dict) and set(first) >= {"answer", "rank"}


@import_format(
    "nectar",
    title="Nectar: answers with model and rank",
    source="https://huggingface.co/datasets/berkeley-nest/Nectar",
    matches=_matches,
    columns=_COLUMNS | _ATTRIBUTES,
)
def nectar(row: RowData) -> list[Case]:
    """Parse a ranking of the answers, best first; equal ranks are a tie.

    The turns of the prompt begin with "Human:" and "Assistant:". A prompt without them is one
    message of the user.
    """
    fields = Fields(read_cells(row, ("answers", "source")))
    answers = fields.objects("answers")
    interaction = make_interaction(
        _messages(fields.text("prompt")),
        [
            Response(
                id=str(i),
                text=answer.text("answer"),
                model=answer.optional_text("model"),
                metadata=answer.other_fields(_ANSWER_COLUMNS),
            )
            for i, answer in enumerate(answers)
        ],
        metadata=fields.other_fields(_COLUMNS),
    )
    tiers: dict[float, list[str]] = defaultdict(list)
    for i, answer in enumerate(answers):
        tiers[answer.number("rank")].append(str(i))
    if len(answers) < 2:
        raise fields.error("answers", "a ranking needs at least two answers")
    in_order = tuple(tuple(tiers[rank]) for rank in sorted(tiers))
    return [make_case(interaction, [make_feedback(Ranking, interaction, _JUDGE, tiers=in_order)])]


def _messages(text: str) -> Prompt:
    before, *turns = _TURN.split(text.replace("\r\n", "\n").lstrip("\n"))
    if before or not turns:
        return as_prompt(text)
    messages = [
        Message.user(words) if speaker == "Human" else Message.assistant(words)
        for speaker, words in zip(turns[::2], (turn.strip() for turn in turns[1::2]), strict=True)
    ]
    if messages[-1].role == "assistant" and not messages[-1].text:
        messages.pop()
    return tuple(messages) or as_prompt(text)
