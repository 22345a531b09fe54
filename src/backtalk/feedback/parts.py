"""Feedback about parts of a response: marked spans and checked steps."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backtalk.feedback.base import ResponseFeedback
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.record import Name, Offset, OptionalField, Record


class Part(Record):
    """A stretch of a response's text, ``text[start:end]``."""

    start: Offset
    end: Offset
    """Exclusive."""

    @model_validator(mode="after")
    def _end_after_start(self) -> Self:
        if not self.start < self.end:
            raise ValueError(f"end: {self.end} does not lie after start, {self.start}")
        return self


class Span(Part):
    """A stretch of text with what the annotator called it."""

    label: Name
    """The kind of error or merit: "irrelevant", "wrong-grounding"."""
    good: bool = False
    """Whether the label praises. Most marks are of errors."""
    severity: OptionalField[Annotated[float, Field(ge=0, le=1)]] = None
    """How bad (or how good), in [0, 1], where the annotator said."""
    comment: OptionalField[Name] = None


class Spans(ResponseFeedback):
    """The parts of a response that an annotator marked. None marked means none found."""

    kind: Literal["spans"] = "spans"
    spans: tuple[Span, ...]

    def check(self, interaction: Interaction) -> None:
        """Refuse a span that lies outside the response's text."""
        super().check(interaction)
        text = interaction.response(self.response).text
        for i, span in enumerate(self.spans):
            self._check_offsets(f"spans.{i}.end", span.end, text)


StepVerdict = Literal["right", "wrong", "neutral"]


class Step(Part):
    """One step of a worked answer, with its verdict."""

    verdict: StepVerdict
    comment: OptionalField[Name] = None


class Steps(ResponseFeedback):
    """The steps of a response, in order, each right, wrong or neutral."""

    kind: Literal["steps"] = "steps"
    steps: Annotated[tuple[Step, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        for i in range(1, len(self.steps)):
            if self.steps[i].start < self.steps[i - 1].end:
                raise ValueError(f"steps: step {i} begins before step {i - 1} ends")
        return self

    def check(self, interaction: Interaction) -> None:
        """Refuse a step that lies outside the response's text."""
        super().check(interaction)
        text = interaction.response(self.response).text
        for i, step in enumerate(self.steps):
            self._check_offsets(f"steps.{i}.end", step.end, text)
