"""Every kind of feedback in words, as the page of its interaction shows it."""

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

_MOST_CHARACTERS, _MOST_LINES = 50_000, 1_000
"""Longer texts are not compared: it takes the product of both lengths."""
_MOST_MARKS = 300
"""More marks on one text are not drawn: it takes the square of their number."""


@dataclass(frozen=True)
class Passage:
    """A stretch of a response, with what is marked on it."""

    text: str
    notes: tuple[str, ...] = ()
    """What the marks on it are called."""
    tone: str = ""
    """``"good"``, ``"bad"``, ``"neutral"``, or empty where nothing is marked."""


@dataclass(frozen=True)
class Body:
    """What one piece of feedback says; what it does not say is empty."""

    headline: str
    tone: str = ""
    """``"good"`` or ``"bad"`` where it is one of them."""
    about: str = ""
    """The id of the one response that it is about."""
    text: str = ""
    verbatim: bool = False
    """Whether the text is what a program printed."""
    quote: str = ""
    """The part of a response that it is about."""
    changes: Sequence[DiffPiece] = ()
    passages: Sequence[Passage] = ()
    order: Sequence[Sequence[str]] = ()
    """Response ids, the best first; those of one place stand together."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FeedbackView:
    """A piece of feedback: what it says, who gave it, and when."""

    item: AnyFeedback
    said: StoredFeedback
    body: Body
    metadata: str
    """As JSON, empty where there is none."""

    @property
    def kind(self) -> str:
        """The name of its kind, as people write it."""
        return words(self.item.kind)


def words(name: str) -> str:
    """Return the name of a kind as people write it.

    >>> words("follow_up")
    'follow-up'
    """
    return name.replace("_", "-")


def as_json(value: Mapping[str, Any]) -> str:
    """Return metadata for reading, empty where there is none."""
    return json.dumps(value, indent=1, ensure_ascii=False) if value else ""


def feedback_view(said: StoredFeedback, interaction: Interaction) -> FeedbackView:
    """Return a piece of feedback as its interaction's page shows it."""
    item = said.feedback
    return FeedbackView(item, said, _BODIES[type(item)](item, interaction), as_json(item.metadata))


def _text_of(interaction: Interaction, response: str | None) -> str:
    return "" if response is None else interaction.response(response).text


def _aspect(aspect: str | None) -> tuple[str, ...]:
    return () if aspect in {None, OVERALL} else (f"aspect: {aspect}",)


def _rating(item: Rating, interaction: Interaction) -> Body:
    del interaction
    scale = item.scale
    headline = f"{item.value:g} on {scale.name}, {scale.low:g} to {scale.high:g}"
    return Body(headline, about=item.response, notes=_aspect(item.aspect))


def _label(item: Label, interaction: Interaction) -> Body:
    del interaction
    headline, tone = ("Good", "good") if item.good else ("Bad", "bad")
    return Body(headline, tone, item.response, notes=_aspect(item.aspect))


def _preference(item: Preference, interaction: Interaction) -> Body:
    del interaction
    if item.chosen is not None:
        headline = f"Response {item.chosen} is better than {item.rejected}"
    elif item.verdict == "tie":
        headline = f"Responses {item.a} and {item.b} are equally good"
    else:
        headline = f"Neither response {item.a} nor {item.b} will do"
    notes = _aspect(item.aspect)
    if item.strength is not None:
        notes += (f"strength {item.strength:g}",)
    if item.probability is not None:
        notes += (f"probability {item.probability:g} that {item.a} is better",)
    tone = "bad" if item.verdict == "both_bad" else ""
    return Body(headline, tone, notes=notes)


def _ranking(item: Ranking, interaction: Interaction) -> Body:
    ranked = {id_ for tier in item.tiers for id_ in tier}
    left = [response.id for response in interaction.responses if response.id not in ranked]
    notes = _aspect(item.aspect)
    if any(len(tier) > 1 for tier in item.tiers):
        together = "equally good" if item.within == "tied" else "not compared with each other"
        notes += (f"in one place: {together}",)
    if left:
        notes += (f"not ranked: {', '.join(left)}",)
    return Body("Responses from the best to the worst", order=item.tiers, notes=notes)


def _critique(item: Critique, interaction: Interaction) -> Body:
    quote = ""
    if item.start is not None and item.end is not None:
        quote = _text_of(interaction, item.response)[item.start : item.end]
    notes = _aspect(item.aspect)
    if item.step is not None:
        notes += (f"step {item.step + 1}",)
    about = item.response or ""
    return Body("Critique", about=about, text=item.text, quote=quote, notes=notes)


def _edit(item: Edit, interaction: Interaction) -> Body:
    before = _text_of(interaction, item.response)
    if _is_long(before) or _is_long(item.text):
        notes = ("too long to be compared",)
        return Body("Changed to", about=item.response, text=item.text, notes=notes)
    return Body("Changed to", about=item.response, changes=diff_words(before, item.text))


def _is_long(text: str) -> bool:
    return len(text) > _MOST_CHARACTERS or text.count("\n") > _MOST_LINES


def _demonstration(item: Demonstration, interaction: Interaction) -> Body:
    del interaction
    return Body("An ideal answer", text=item.text)


def _spans(item: Spans, interaction: Interaction) -> Body:
    if not item.spans:
        return Body("Nothing to mark", "good", item.response)
    passages = []
    spans = item.spans[:_MOST_MARKS]
    for part in split_at_marks(
        _text_of(interaction, item.response), [(span.start, span.end) for span in spans]
    ):
        on_it = [spans[i] for i in part.marks]
        tone = ""
        if on_it:
            tone = "good" if all(span.good for span in on_it) else "bad"
        passages.append(Passage(part.text, tuple(span.label for span in on_it), tone))
    notes = tuple(
        f"{span.label}: "
        + ", ".join(
            said
            for said in (
                "" if span.severity is None else f"severity {span.severity:g}",
                span.comment or "",
            )
            if said
        )
        for span in spans
        if span.severity is not None or span.comment
    ) + _not_drawn(len(item.spans))
    return Body("Marked", about=item.response, passages=passages, notes=notes)


_TONES = {"right": "good", "wrong": "bad", "neutral": "neutral"}


def _steps(item: Steps, interaction: Interaction) -> Body:
    passages = []
    drawn = [(step.start, step.end) for step in item.steps[:_MOST_MARKS]]
    for part in split_at_marks(_text_of(interaction, item.response), drawn):
        if not part.marks:
            passages.append(Passage(part.text))
            continue
        step = item.steps[part.marks[0]]
        verdict = f"{part.marks[0] + 1}: {step.verdict}"
        told = (verdict,) if step.comment is None else (verdict, step.comment)
        passages.append(Passage(part.text, told, _TONES[step.verdict]))
    wrong = [i for i, step in enumerate(item.steps, 1) if step.verdict == "wrong"]
    headline = f"Step {wrong[0]} is the first wrong one" if wrong else "No step is wrong"
    tone = "bad" if wrong else "good"
    notes = _not_drawn(len(item.steps))
    return Body(headline, tone, item.response, passages=passages, notes=notes)


def _not_drawn(marks: int) -> tuple[str, ...]:
    more = marks - _MOST_MARKS
    return (f"{more:,} more, which are not drawn",) if more > 0 else ()


def _outcome(item: Outcome, interaction: Interaction) -> Body:
    del interaction
    headline, tone = {True: ("Passed", "good"), False: ("Failed", "bad"), None: ("Scored", "")}[
        item.passed
    ]
    notes = () if item.score is None else (f"score {item.score:g}",)
    return Body(headline, tone, item.response, text=item.text, verbatim=True, notes=notes)


def _follow_up(item: FollowUp, interaction: Interaction) -> Body:
    del interaction
    notes = () if item.act is None else (item.act,)
    about = item.response or ""
    return Body("What the user said next", about=about, text=item.text, notes=notes)


def _choice(item: Choice, interaction: Interaction) -> Body:
    del interaction
    headline = "Took none" if item.chosen is None else f"Took response {item.chosen}"
    listed = [
        f"{shown.response}"
        + ("" if shown.propensity is None else f" (probability {shown.propensity:g})")
        for shown in item.shown
    ]
    return Body(headline, notes=(f"shown in this order: {', '.join(listed)}",))


def _instruction(item: Instruction, interaction: Interaction) -> Body:
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
    return Body("A rule", text=item.text, notes=notes)


_BODIES: dict[type[AnyFeedback], Callable[[Any, Interaction], Body]] = {
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
