"""What can be seen as critiques: words about a response, with a better one where there is one."""

from __future__ import annotations

from backtalk.feedback.conversions.provenance import provenance
from backtalk.feedback.conversions.registry import conversion
from backtalk.feedback.signals import FollowUp, Outcome
from backtalk.feedback.views import Case, CritiqueView
from backtalk.feedback.words import Critique, Edit


@conversion(CritiqueView, "critique", condition="about a response")
def critique_critiqued(case: Case) -> list[CritiqueView]:
    """A critique, with the refinement where the same annotator also edited the response."""
    edits = {(edit.annotator, edit.response): edit for edit in case.of(Edit)}
    results = []
    for item in case.of(Critique):
        if item.response is None:
            continue
        edit = edits.get((item.annotator, item.response))
        results.append(
            CritiqueView(
                completion=case.text(item.response),
                critique=item.text,
                refinement=None if edit is None else edit.text,
                **provenance(case, item, *([] if edit is None else [edit])),
            )
        )
    return results


@conversion(CritiqueView, "outcome", condition="the run printed something")
def outcome_critiqued(case: Case) -> list[CritiqueView]:
    """What a run printed is a critique of the response."""
    return [
        CritiqueView(
            completion=case.text(item.response), critique=item.text, **provenance(case, item)
        )
        for item in case.of(Outcome)
        if item.text
    ]


@conversion(CritiqueView, "follow_up", condition="about a response")
def follow_up_critiqued(case: Case) -> list[CritiqueView]:
    """What the user said next, unless it was thanks, is a critique of what was shown."""
    results = []
    for item in case.of(FollowUp):
        response = item.response or _only_shown(case)
        if response is not None and item.act != "thanks":
            results.append(
                CritiqueView(
                    completion=case.text(response), critique=item.text, **provenance(case, item)
                )
            )
    return results


def _only_shown(case: Case) -> str | None:
    shown = case.interaction.shown
    if shown is None:
        shown = tuple(response.id for response in case.interaction.responses)
    return shown[0] if len(shown) == 1 else None
