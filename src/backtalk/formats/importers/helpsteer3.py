"""HelpSteer3: preferences, feedback, edits and principles on the answer to a conversation."""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import AnyFeedback, Critique, Edit, Label, Preference
from backtalk.formats.cell_values import read_cells
from backtalk.formats.content_ids import HUMAN, make_case, make_feedback, make_interaction
from backtalk.formats.fields import Fields
from backtalk.formats.format import RowData, import_format
from backtalk.formats.importers.comparisons import (
    check_better,
    make_preference,
    person_of_row,
    read_signed_preference,
)
from backtalk.formats.importers.helpsteer import INDIVIDUAL, MAX_STRENGTH

_PRINCIPLE_JUDGE = Annotator.model("deepseek-v3")
_FOLLOWS_FEEDBACK = "feedback_following"
"""Aspect of the preference between a good and a bad edit."""
_SUBSETS = (
    frozenset({"response1", "response2", "overall_preference"}),
    frozenset({"response1", "response2", "feedback1", "feedback2"}),
    frozenset({"original_response", "edited_response"}),
    frozenset({"original_response", "good_edited_response", "bad_edited_response"}),
    frozenset({"response", "principle", "fulfilment"}),
)
_LIST_COLUMNS = ("context", "individual_preference", "feedback", "feedback1", "feedback2")
_COLUMNS = frozenset().union(*_SUBSETS, _LIST_COLUMNS, {"change_summary"})


def _matches(row: RowData) -> bool:
    names = set(row)
    return "context" in names and any(names >= subset for subset in _SUBSETS)


@import_format(
    "helpsteer3",
    title="HelpSteer3: preference, feedback, edit, edit_quality and principle",
    source="https://huggingface.co/datasets/nvidia/HelpSteer3",
    matches=_matches,
    columns=_COLUMNS,
)
def helpsteer3(row: RowData) -> list[Case]:
    """Parse a row of one of the five subsets; ``context`` has the messages of the prompt.

    The preferences of single annotators have the aspect "individual", as the overall preference is
    made of them. A good edit is better than a bad one in following the feedback, which is the
    aspect of that preference. A principle is the aspect of a label.
    """
    fields = Fields(read_cells(row, _LIST_COLUMNS))
    names = set(row)
    if "principle" in names:
        return [_principle_case(fields)]
    if "good_edited_response" in names:
        return [_edit_quality_case(fields)]
    if "original_response" in names:
        return [_edit_case(fields)]
    return [_pair_case(fields)]


def _interaction(fields: Fields, *columns: str) -> Interaction:
    return make_interaction(
        fields.messages("context"),
        [Response(id=str(i), text=fields.text(name)) for i, name in enumerate(columns)],
        metadata=fields.other_fields(_COLUMNS),
    )


def _pair_case(fields: Fields) -> Case:
    interaction = _interaction(fields, "response1", "response2")
    feedback: list[AnyFeedback] = []
    if "overall_preference" in fields.data:
        verdict, strength = read_signed_preference(fields, "overall_preference", limit=MAX_STRENGTH)
        feedback.append(make_preference(interaction, HUMAN, verdict, strength=strength))
    individual = "individual_preference"
    for index, item in enumerate(fields.objects(individual) if individual in fields else []):
        feedback += _individual(interaction, index, item)
    for response, name in (("0", "feedback1"), ("1", "feedback2")):
        feedback += _critiques(interaction, response, fields, name)
    if not feedback:
        raise RecordError("feedback1: neither a preference nor feedback is given")
    return make_case(interaction, feedback)


def _individual(interaction: Interaction, index: int, item: Fields) -> list[AnyFeedback]:
    annotator = person_of_row(index)
    verdict, strength = read_signed_preference(item, "score", limit=MAX_STRENGTH)
    feedback: list[AnyFeedback] = [
        make_preference(interaction, annotator, verdict, strength=strength, aspect=INDIVIDUAL)
    ]
    reasons = (("reasoning", None), ("feedback1", "0"), ("feedback2", "1"))
    for name, response in reasons:
        if text := item.optional_text(name):
            feedback.append(
                make_feedback(Critique, interaction, annotator, text=text, response=response)
            )
    return feedback


def _critiques(
    interaction: Interaction, response: str, fields: Fields, name: str
) -> list[AnyFeedback]:
    """Return the critiques of a response in a list, one of each annotator."""
    if name not in fields:
        return []
    texts = fields.array_fields(name)
    return [
        make_feedback(
            Critique, interaction, person_of_row(int(index)), text=text, response=response
        )
        for index in texts.data
        if (text := texts.optional_text(index))
    ]


def _edit_case(fields: Fields) -> Case:
    interaction = _interaction(fields, "original_response")
    edit = make_feedback(
        Edit,
        interaction,
        HUMAN,
        response="0",
        text=fields.text("edited_response"),
        metadata=fields.select("change_summary"),
    )
    return make_case(interaction, [edit, *_critiques(interaction, "0", fields, "feedback")])


def _edit_quality_case(fields: Fields) -> Case:
    interaction = _interaction(
        fields, "original_response", "good_edited_response", "bad_edited_response"
    )
    check_better(*interaction.responses[1:])
    common: dict[str, Any] = {"a": "1", "b": "2", "aspect": _FOLLOWS_FEEDBACK}
    preference = make_feedback(Preference, interaction, HUMAN, verdict="a", **common)
    return make_case(interaction, [preference, *_critiques(interaction, "0", fields, "feedback")])


def _principle_case(fields: Fields) -> Case:
    interaction = _interaction(fields, "response")
    answers = {"yes": True, "no": False}
    answer = fields.text("fulfilment").strip().lower()
    if answer not in answers:
        raise fields.error("fulfilment", f"expected Yes or No, got {answer!r}")
    label = make_feedback(
        Label,
        interaction,
        _PRINCIPLE_JUDGE,
        response="0",
        good=answers[answer],
        aspect=fields.text("principle"),
    )
    return make_case(interaction, [label])
