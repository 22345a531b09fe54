"""Conversions to labels: a response that is good or bad, on its own."""

from __future__ import annotations

from backtalk.feedback.answers import response_key
from backtalk.feedback.base import OVERALL, BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.conversions.provenance import completion, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.kinds import Edit, Label, Outcome, Preference, Rating, Steps
from backtalk.feedback.views import LabelView


def _label_view(
    case: Case, item: BaseFeedback, response: str, good: bool, aspect: str
) -> LabelView:
    return LabelView(
        **completion(case, response), good=good, aspect=aspect, **provenance(case, item)
    )


@conversion(LabelView, "label")
def label_labels(case: Case) -> list[LabelView]:
    """Convert labels."""
    return [
        _label_view(case, item, item.response, item.good, item.aspect) for item in case.of(Label)
    ]


@conversion(LabelView, "preference", condition="not a tie, and not between equal answers")
def preference_labels(case: Case) -> list[LabelView]:
    """Convert preferences: the chosen response is good, the rejected one bad.

    "Both bad" makes two bad responses; a preference between two equal answers makes no label. KTO
    splits pairs in this way (Ethayarajh et al., 2024, section 4.2).
    """
    labels = []
    for item in case.of(Preference):
        a, b = (case.interaction.response(id_) for id_ in (item.a, item.b))
        if item.verdict == "tie" or (
            item.verdict != "both_bad" and response_key(a) == response_key(b)
        ):
            continue
        labels += [
            _label_view(case, item, item.a, item.verdict == "a", item.aspect),
            _label_view(case, item, item.b, item.verdict == "b", item.aspect),
        ]
    return labels


@conversion(LabelView, "rating", condition="not at the middle of the scale")
def rating_labels(case: Case) -> list[LabelView]:
    """Convert ratings: above the middle of the scale is good, below it bad."""
    return [
        _label_view(case, item, item.response, item.normalised > 0.5, item.aspect)
        for item in case.of(Rating)
        if item.normalised != 0.5
    ]


@conversion(LabelView, "outcome", condition="passed or failed, not only scored")
def outcome_labels(case: Case) -> list[LabelView]:
    """Convert outcomes: passed is good, failed is bad."""
    return [
        _label_view(case, item, item.response, item.passed, OVERALL)
        for item in case.of(Outcome)
        if item.passed is not None
    ]


@conversion(LabelView, "steps", condition="no step neutral, or some step wrong")
def steps_labels(case: Case) -> list[LabelView]:
    """Convert steps: a wrong step makes the response bad, only right ones make it good."""
    labels = []
    for item in case.of(Steps):
        verdicts = {step.verdict for step in item.steps}
        if "wrong" in verdicts or verdicts == {"right"}:
            labels.append(_label_view(case, item, item.response, "wrong" not in verdicts, OVERALL))
    return labels


@conversion(LabelView, "edit", condition="the text was changed")
def edit_labels(case: Case) -> list[LabelView]:
    """Convert edits: the edited text is good, the original bad."""
    labels = []
    for item in case.of(Edit):
        if item.text != case.text(item.response):
            labels += [
                LabelView(completion=item.text, good=True, **provenance(case, item)),
                _label_view(case, item, item.response, False, OVERALL),
            ]
    return labels
