"""Conversions to critiques: text about a response, and a refinement where there is one."""

from __future__ import annotations

from backtalk.feedback.case import Case
from backtalk.feedback.conversions.provenance import completion, provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.kinds import Critique, Edit, FollowUp, Outcome
from backtalk.feedback.views import CritiqueView


@conversion(CritiqueView, "critique", condition="about a response")
def critique_critiques(case: Case) -> list[CritiqueView]:
    """Convert critiques of responses, with the edit by the same annotator as refinement."""
    edits = {(edit.annotator, edit.response): edit for edit in case.of(Edit)}
    critiques = []
    for item in case.of(Critique):
        if item.response is None:
            continue
        edit = edits.get((item.annotator, item.response))
        critiques.append(
            CritiqueView(
                **completion(case, item.response),
                critique=item.text,
                refinement=None if edit is None else edit.text,
                **provenance(case, item, *([] if edit is None else [edit])),
            )
        )
    return critiques


@conversion(CritiqueView, "outcome", condition="the run had output")
def outcome_critiques(case: Case) -> list[CritiqueView]:
    """Convert the output of a run to a critique of the response."""
    return [
        CritiqueView(
            **completion(case, item.response), critique=item.text, **provenance(case, item)
        )
        for item in case.of(Outcome)
        if item.text
    ]


@conversion(CritiqueView, "follow_up", condition="about a response")
def follow_up_critiques(case: Case) -> list[CritiqueView]:
    """Convert follow-ups, except thanks, to critiques of the response that was shown."""
    critiques = []
    for item in case.of(FollowUp):
        response = item.response or _single_shown(case)
        if response is not None and item.act != "thanks":
            critiques.append(
                CritiqueView(
                    **completion(case, response), critique=item.text, **provenance(case, item)
                )
            )
    return critiques


def _single_shown(case: Case) -> str | None:
    shown = case.interaction.shown
    if shown is None:
        shown = tuple(response.id for response in case.interaction.responses)
    return shown[0] if len(shown) == 1 else None
