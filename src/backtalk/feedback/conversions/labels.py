"""What can be seen as labels: a response good or bad, on its own."""

from __future__ import annotations

from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.conversions.provenance import provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.judgements import OVERALL, Label, Preference, Rating
from backtalk.feedback.parts import Steps
from backtalk.feedback.signals import Outcome
from backtalk.feedback.views import Case, LabelView


def _labelled(case: Case, item: BaseFeedback, response: str, good: bool, aspect: str) -> LabelView:
    return LabelView(
        completion=case.text(response), good=good, aspect=aspect, **provenance(case, item)
    )


@conversion(LabelView, "label")
def label_labels(case: Case) -> list[LabelView]:
    """A label is a label."""
    return [_labelled(case, item, item.response, item.good, item.aspect) for item in case.of(Label)]


@conversion(LabelView, "preference", condition="not a tie")
def preference_labels(case: Case) -> list[LabelView]:
    """The preferred response is good and the other bad; of "both bad", both are bad.

    The reading of KTO (Ethayarajh et al., 2024, section 4.2), which splits pairs so.
    """
    labels = []
    for item in case.of(Preference):
        if item.verdict == "tie":
            continue
        labels += [
            _labelled(case, item, item.a, item.verdict == "a", item.aspect),
            _labelled(case, item, item.b, item.verdict == "b", item.aspect),
        ]
    return labels


@conversion(LabelView, "rating", condition="off the middle of the scale")
def rating_labels(case: Case) -> list[LabelView]:
    """A rating above the middle of its scale is good, one below it bad."""
    return [
        _labelled(case, item, item.response, item.normalised > 0.5, item.aspect)
        for item in case.of(Rating)
        if item.normalised != 0.5
    ]


@conversion(LabelView, "outcome", condition="passed or failed, not only scored")
def outcome_labels(case: Case) -> list[LabelView]:
    """What passed is good, what failed bad."""
    return [
        _labelled(case, item, item.response, item.passed, OVERALL)
        for item in case.of(Outcome)
        if item.passed is not None
    ]


@conversion(LabelView, "steps", condition="no step neutral, or some step wrong")
def steps_labels(case: Case) -> list[LabelView]:
    """A worked answer with a wrong step is bad, one whose steps are all right is good."""
    labels = []
    for item in case.of(Steps):
        verdicts = {step.verdict for step in item.steps}
        if "wrong" in verdicts or verdicts == {"right"}:
            labels.append(_labelled(case, item, item.response, "wrong" not in verdicts, OVERALL))
    return labels
