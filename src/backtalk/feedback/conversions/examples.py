"""What can be seen as examples: completions to imitate."""

from __future__ import annotations

from backtalk.feedback.conversions.provenance import provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.judgements import OVERALL, Label
from backtalk.feedback.signals import Outcome
from backtalk.feedback.views import Case, SFTExample
from backtalk.feedback.words import Demonstration, Edit


@conversion(SFTExample, "demonstration")
def demonstration_examples(case: Case) -> list[SFTExample]:
    """A demonstration is an example."""
    return [
        SFTExample(completion=item.text, **provenance(case, item))
        for item in case.of(Demonstration)
    ]


@conversion(SFTExample, "edit")
def edit_examples(case: Case) -> list[SFTExample]:
    """What a person made of a response is an example."""
    return [SFTExample(completion=item.text, **provenance(case, item)) for item in case.of(Edit)]


@conversion(SFTExample, "label", condition="labelled good")
def label_examples(case: Case) -> list[SFTExample]:
    """A response labelled good is an example."""
    return [
        SFTExample(completion=case.text(item.response), **provenance(case, item))
        for item in case.of(Label)
        if item.good and item.aspect == OVERALL
    ]


@conversion(SFTExample, "outcome", condition="passed")
def outcome_examples(case: Case) -> list[SFTExample]:
    """A response that passed is an example."""
    return [
        SFTExample(completion=case.text(item.response), **provenance(case, item))
        for item in case.of(Outcome)
        if item.passed
    ]
