"""Views of feedback of every kind, for the page of its interaction."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from backtalk.feedback import (
    AnyFeedback,
    Choice,
    Critique,
    Demonstration,
    Edit,
    FollowUp,
    Instruction,
    Interaction,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Spans,
    Steps,
)
from backtalk.feedback.base import OVERALL
from backtalk.serve.pages.text_diff import DiffPiece, diff_words, split_at_marks
from backtalk.store.detail import StoredFeedback

_MAX_CHARACTERS, _MAX_LINES = 50_000, 1_000
"""Limits of texts that are compared; longer ones are shown without differences."""
_MAX_MARKS = 300
"""Maximum number of marks shown on a text; time is quadratic in their number."""


@dataclass(frozen=True)
class MarkedPassage:
    """Part of a response, with its marks."""

    text: str
    notes: tuple[str, ...] = ()
    """Labels of its marks."""
    tone: str = ""
    """``"good"``, ``"bad"``, ``"neutral"``, or empty without marks."""


@dataclass(frozen=True)
class FeedbackBody:
    """Content of a feedback item; fields that it does not have are empty."""

    headline: str
    tone: str = ""
    """``"good"``, ``"bad"`` or empty."""
    about: str = ""
    """Id of the response that it is about."""
    text: str = ""
    verbatim: bool = False
    """True if the text is the output of a program."""
    quote: str = ""
    """Quotation of the part of the response that it is about."""
    changes: Sequence[DiffPiece] = ()
    passages: Sequence[MarkedPassage] = ()
    order: Sequence[Sequence[str]] = ()
    """Response ids by rank, best first."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeedbackView:
    """View of a feedback item: content, annotator and time."""

    item: AnyFeedback
    stored: StoredFeedback
    body: FeedbackBody
    metadata: str
    """Metadata as JSON; empty if there is none."""

    @property
    def kind(self) -> str:
        """Name of its kind, for display."""
        return kind_name(self.item.kind)


def kind_name(name: str) -> str:
    """Return the name of a kind, for display.

    >>> kind_name("follow_up")
    'follow-up'
    """
    return name.replace("_", "-")


def format_metadata(value: Mapping[str, Any]) -> str:
    """Return metadata as indented JSON, the empty string if there is none."""
    return json.dumps(value, indent=1, ensure_ascii=False) if value else ""


def make_feedback_view(stored: StoredFeedback, interaction: Interaction) -> FeedbackView:
    """Return the view of a feedback item."""
    item = stored.feedback
    return FeedbackView(
        item, stored, _DESCRIBE[type(item)](item, interaction), format_metadata(item.metadata)
    )


def _response_text(interaction: Interaction, response: str | None) -> str:
    return "" if response is None else interaction.response(response).text


def _aspect(aspect: str | None) -> tuple[str, ...]:
    return () if aspect in {None, OVERALL} else (f"aspect: {aspect}",)


def _rating(item: Rating, interaction: Interaction) -> FeedbackBody:
    del interaction
    scale = item.scale
    headline = f"{item.value:g} on {scale.name}, {scale.low:g} to {scale.high:g}"
    return FeedbackBody(headline, about=item.response, notes=_aspect(item.aspect))


def _label(item: Label, interaction: Interaction) -> FeedbackBody:
    del interaction
    headline, tone = ("Good", "good") if item.good else ("Bad", "bad")
    return FeedbackBody(headline, tone, item.response, notes=_aspect(item.aspect))


def _preference(item: Preference, interaction: Interaction) -> FeedbackBody:
    del interaction
    if item.chosen is not None:
        headline = f"Response {item.chosen} is better than {item.rejected}"
    elif item.verdict == "tie":
        headline = f"Responses {item.a} and {item.b} are equally good"
    else:
        headline = f"Responses {item.a} and {item.b} are both bad"
    notes = _aspect(item.aspect)
    if item.strength is not None:
        notes += (f"strength {item.strength:g}",)
    if item.probability is not None:
        notes += (f"probability {item.probability:g} that {item.a} is better",)
    tone = "bad" if item.verdict == "both_bad" else ""
    return FeedbackBody(headline, tone, notes=notes)


def _ranking(item: Ranking, interaction: Interaction) -> FeedbackBody:
    ranked = {id_ for tier in item.tiers for id_ in tier}
    left = [response.id for response in interaction.responses if response.id not in ranked]
    notes = _aspect(item.aspect)
    if any(len(tier) > 1 for tier in item.tiers):
        meaning = "equally good" if item.within == "tied" else "not compared with each other"
        notes += (f"same rank: {meaning}",)
    if left:
        notes += (f"not ranked: {', '.join(left)}",)
    return FeedbackBody("Responses from best to worst", order=item.tiers, notes=notes)


def _critique(item: Critique, interaction: Interaction) -> FeedbackBody:
    quote = ""
    if item.start is not None and item.end is not None:
        quote = _response_text(interaction, item.response)[item.start : item.end]
    notes = _aspect(item.aspect)
    if item.step is not None:
        notes += (f"step {item.step + 1}",)
    about = item.response or ""
    return FeedbackBody("Critique", about=about, text=item.text, quote=quote, notes=notes)


def _edit(item: Edit, interaction: Interaction) -> FeedbackBody:
    before = _response_text(interaction, item.response)
    if _is_long(before) or _is_long(item.text):
        notes = ("too long to compare",)
        return FeedbackBody("Changed to", about=item.response, text=item.text, notes=notes)
    return FeedbackBody("Changed to", about=item.response, changes=diff_words(before, item.text))


def _is_long(text: str) -> bool:
    return len(text) > _MAX_CHARACTERS or text.count("\n") > _MAX_LINES


def _demonstration(item: Demonstration, interaction: Interaction) -> FeedbackBody:
    del interaction
    return FeedbackBody("An ideal answer", text=item.text)


def _spans(item: Spans, interaction: Interaction) -> FeedbackBody:
    if not item.spans:
        return FeedbackBody("No errors marked", "good", item.response)
    passages = []
    spans = item.spans[:_MAX_MARKS]
    for part in split_at_marks(
        _response_text(interaction, item.response), [(span.start, span.end) for span in spans]
    ):
        covering = [spans[i] for i in part.marks]
        tone = ""
        if covering:
            tone = "good" if all(span.good for span in covering) else "bad"
        passages.append(MarkedPassage(part.text, tuple(span.label for span in covering), tone))
    notes = tuple(
        f"{span.label}: "
        + ", ".join(
            detail
            for detail in (
                "" if span.severity is None else f"severity {span.severity:g}",
                span.comment or "",
            )
            if detail
        )
        for span in spans
        if span.severity is not None or span.comment
    ) + _omitted_note(len(item.spans))
    return FeedbackBody("Marked", about=item.response, passages=passages, notes=notes)


_TONES = {"right": "good", "wrong": "bad", "neutral": "neutral"}


def _steps(item: Steps, interaction: Interaction) -> FeedbackBody:
    passages = []
    spans = [(step.start, step.end) for step in item.steps[:_MAX_MARKS]]
    for part in split_at_marks(_response_text(interaction, item.response), spans):
        if not part.marks:
            passages.append(MarkedPassage(part.text))
            continue
        step = item.steps[part.marks[0]]
        verdict = f"{part.marks[0] + 1}: {step.verdict}"
        labels = (verdict,) if step.comment is None else (verdict, step.comment)
        passages.append(MarkedPassage(part.text, labels, _TONES[step.verdict]))
    wrong = [i for i, step in enumerate(item.steps, 1) if step.verdict == "wrong"]
    headline = f"Step {wrong[0]} is the first wrong step" if wrong else "No wrong step"
    tone = "bad" if wrong else "good"
    notes = _omitted_note(len(item.steps))
    return FeedbackBody(headline, tone, item.response, passages=passages, notes=notes)


def _omitted_note(marks: int) -> tuple[str, ...]:
    more = marks - _MAX_MARKS
    return (f"{more:,} more, not shown",) if more > 0 else ()


def _outcome(item: Outcome, interaction: Interaction) -> FeedbackBody:
    del interaction
    headline, tone = {True: ("Passed", "good"), False: ("Failed", "bad"), None: ("Scored", "")}[
        item.passed
    ]
    notes = () if item.score is None else (f"score {item.score:g}",)
    return FeedbackBody(headline, tone, item.response, text=item.text, verbatim=True, notes=notes)


def _follow_up(item: FollowUp, interaction: Interaction) -> FeedbackBody:
    del interaction
    notes = () if item.act is None else (item.act,)
    about = item.response or ""
    return FeedbackBody("Next message of the user", about=about, text=item.text, notes=notes)


def _choice(item: Choice, interaction: Interaction) -> FeedbackBody:
    del interaction
    headline = "Chose none" if item.chosen is None else f"Chose response {item.chosen}"
    listed = [
        f"{shown.response}"
        + ("" if shown.propensity is None else f" (probability {shown.propensity:g})")
        for shown in item.shown
    ]
    return FeedbackBody(headline, notes=(f"order shown: {', '.join(listed)}",))


def _instruction(item: Instruction, interaction: Interaction) -> FeedbackBody:
    del interaction
    scope = item.scope
    notes: tuple[str, ...] = ()
    if scope.where is not None:
        notes += (f"where: {scope.where}",)
    if scope.users:
        notes += (f"for: {', '.join(scope.users)}",)
    if scope.inside:
        notes += (f"for prompts like: {'; '.join(scope.inside)}",)
    if scope.outside:
        notes += (f"not for prompts like: {'; '.join(scope.outside)}",)
    return FeedbackBody("A rule", text=item.text, notes=notes)


_DESCRIBE: dict[type[AnyFeedback], Callable[[Any, Interaction], FeedbackBody]] = {
    Rating: _rating,
    Label: _label,
    Preference: _preference,
    Ranking: _ranking,
    Critique: _critique,
    Edit: _edit,
    Demonstration: _demonstration,
    Spans: _spans,
    Steps: _steps,
    Outcome: _outcome,
    FollowUp: _follow_up,
    Choice: _choice,
    Instruction: _instruction,
}
