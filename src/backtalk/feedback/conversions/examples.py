"""Conversions to supervised fine-tuning examples: completions to imitate."""

from __future__ import annotations

from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case
from backtalk.feedback.conversions.provenance import completion, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.kinds import Choice, Demonstration, Edit, Label, Outcome
from backtalk.feedback.views import SFTExample


@conversion(SFTExample, "demonstration")
def demonstration_examples(case: Case) -> list[SFTExample]:
    """Convert demonstrations to examples."""
    return [
        SFTExample(completion=item.text, **provenance(case, item))
        for item in case.of(Demonstration)
    ]


@conversion(SFTExample, "edit")
def edit_examples(case: Case) -> list[SFTExample]:
    """Convert edited responses to examples."""
    return [SFTExample(completion=item.text, **provenance(case, item)) for item in case.of(Edit)]


@conversion(SFTExample, "label", condition="labelled good")
def label_examples(case: Case) -> list[SFTExample]:
    """Convert responses with an overall label "good" to examples."""
    return [
        SFTExample(**completion(case, item.response), **provenance(case, item))
        for item in case.of(Label)
        if item.good and item.aspect == OVERALL
    ]


@conversion(SFTExample, "outcome", condition="passed")
def outcome_examples(case: Case) -> list[SFTExample]:
    """Convert responses that passed to examples."""
    return [
        SFTExample(**completion(case, item.response), **provenance(case, item))
        for item in case.of(Outcome)
        if item.passed
    ]


@conversion(SFTExample, "choice", condition="one response was picked")
def choice_examples(case: Case) -> list[SFTExample]:
    """Convert picked responses to examples."""
    return [
        SFTExample(**completion(case, item.chosen), **provenance(case, item))
        for item in case.of(Choice)
        if item.chosen is not None
    ]
