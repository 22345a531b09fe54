"""HelpSteer and HelpSteer2: ratings on five attributes, and preferences of several people."""

from __future__ import annotations

import re
from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Message, Prompt, Response
from backtalk.feedback.kinds import AnyFeedback, Critique, Rating, Scale
from backtalk.formats.cell_values import parse_cell, read_cells
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import (
    make_preference,
    person_of_row,
    read_signed_preference,
)

PAGE = "https://huggingface.co/datasets/nvidia/HelpSteer2"
MAX_STRENGTH = 3
"""Absolute value of "much better" on the scale of preferences."""
INDIVIDUAL = "individual"
"""Aspect of the preferences that an overall preference is made of."""

_ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
_SCALE = Scale(name="zero-to-four", low=0, high=4)
_RATING_COLUMNS = frozenset({"prompt", "response", *_ATTRIBUTES})
_PAIR_COLUMNS = frozenset({"prompt", "response_1", "response_2", "preference_strength"})
_INDIVIDUAL_COLUMNS = ("all_preferences_unprocessed", "three_most_similar_preferences")
_OTHER_PAIR_COLUMNS = frozenset(
    {"preference_statement", "preference_elaboration", *_INDIVIDUAL_COLUMNS}
)
_NEITHER = -100
"""Strength that stands for "neither response is valid" in the unprocessed preferences."""
_TURN = re.compile(r"\s*<extra_id_1>(User|Assistant)\n")


@import_format(
    "helpsteer",
    title="HelpSteer and HelpSteer2 ratings, also by annotator (disagreements)",
    source=PAGE,
    matches=lambda row: set(row) >= _RATING_COLUMNS,
    columns=_RATING_COLUMNS,
)
def helpsteer(row: RowData) -> list[Case]:
    """Parse a rating from 0 to 4 for each of the five attributes, which are the aspects.

    An attribute may be a list, as in the published disagreements, with a rating of each annotator.
    """
    fields = Fields(row)
    interaction = make_interaction(
        read_turns(fields, "prompt"),
        [Response(id="0", text=fields.text("response"))],
        metadata=fields.other_fields(_RATING_COLUMNS),
    )
    feedback: list[AnyFeedback] = []
    for name in _ATTRIBUTES:
        value = row.get(name)
        if isinstance(value, str) and value.lstrip().startswith("["):
            value = parse_cell(value, name)
        if value == []:
            raise fields.error(name, "the list is empty")
        if isinstance(value, list):
            values = Fields({name: value}).array_fields(name)
            feedback += [
                _rating(interaction, person_of_row(int(index)), name, values.number(index))
                for index in values.data
            ]
        else:
            feedback.append(_rating(interaction, HUMAN, name, fields.number(name)))
    return [make_case(interaction, feedback)]


def _rating(interaction: Interaction, annotator: Annotator, aspect: str, value: float) -> Rating:
    if not _SCALE.low <= value <= _SCALE.high:
        raise RecordError(f"{aspect}: expected a number from 0 to 4, got {value:g}")
    return make_feedback(
        Rating, interaction, annotator, response="0", value=value, scale=_SCALE, aspect=aspect
    )


def read_turns(fields: Fields, name: str) -> Prompt:
    """Return the messages of a prompt in which ``<extra_id_1>`` separates the turns.

    Raises
    ------
    RecordError
        If the text is missing or its last turn is the assistant's.
    """
    first, *turns = _TURN.split(fields.text(name))
    messages = [Message.user(first)]
    for speaker, text in zip(turns[::2], turns[1::2], strict=True):
        messages.append(Message.user(text) if speaker == "User" else Message.assistant(text))
    if messages[-1].role != "user":
        raise fields.error(name, "the last turn is the assistant's, but the response is separate")
    return tuple(messages)


@import_format(
    "helpsteer2-preference",
    title="HelpSteer2-Preference: preference_strength from -3 to 3",
    source=PAGE,
    matches=lambda row: set(row) >= _PAIR_COLUMNS,
    columns=_PAIR_COLUMNS | _OTHER_PAIR_COLUMNS,
)
def helpsteer2_preference(row: RowData) -> list[Case]:
    """Parse the overall preference with its reason, and the preference of each annotator.

    Below 0 the first response is better; the strength is the number's absolute value divided by 3.
    The preferences of the annotators have the aspect "individual", as the overall preference is
    made of them. They are read from ``all_preferences_unprocessed``, and if that is missing from
    ``three_most_similar_preferences``, its subset.
    """
    fields = Fields(read_cells(row, _INDIVIDUAL_COLUMNS))
    interaction = make_interaction(
        read_turns(fields, "prompt"),
        [Response(id=str(i), text=fields.text(f"response_{i + 1}")) for i in range(2)],
        metadata=fields.other_fields(_PAIR_COLUMNS | _OTHER_PAIR_COLUMNS),
    )
    verdict, strength = read_signed_preference(fields, "preference_strength", limit=MAX_STRENGTH)
    feedback: list[AnyFeedback] = [
        make_preference(interaction, HUMAN, verdict, strength=strength),
        *_reason(interaction, HUMAN, fields, "preference_statement", "preference_elaboration"),
    ]
    source = next((name for name in _INDIVIDUAL_COLUMNS if fields.data.get(name)), None)
    for index, item in enumerate(fields.objects(source) if source else []):
        feedback += _individual(interaction, index, item)
    return [make_case(interaction, feedback)]


def _individual(interaction: Interaction, index: int, item: Fields) -> list[AnyFeedback]:
    annotator = person_of_row(index)
    reason = _reason(interaction, annotator, item, "justification", "statement", "elaboration")
    if item.number("strength") == _NEITHER:
        return [make_preference(interaction, annotator, "both_bad", aspect=INDIVIDUAL), *reason]
    verdict, strength = read_signed_preference(item, "strength", limit=MAX_STRENGTH)
    return [
        make_preference(interaction, annotator, verdict, strength=strength, aspect=INDIVIDUAL),
        *reason,
    ]


def _reason(
    interaction: Interaction, annotator: Annotator, fields: Fields, *names: str
) -> list[Any]:
    """Return the critique that the texts of several fields make up, if there is one."""
    texts = [text for name in names if (text := fields.optional_text(name))]
    if not texts:
        return []
    return [make_feedback(Critique, interaction, annotator, text=" ".join(texts))]
