"""Base classes of all kinds of feedback."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.record import (
    Metadata,
    Name,
    Offset,
    OptionalField,
    Probability,
    Record,
    Time,
    new_id,
    now,
)

OVERALL = "overall"
"""Default aspect: the response as a whole."""


class BaseFeedback(Record):
    """Fields shared by all kinds of feedback."""

    id: Name = Field(default_factory=new_id)
    """Unique id of the feedback."""
    interaction: Name
    """Id of the interaction that the feedback is about."""
    annotator: Annotator
    """Person or program that gave the feedback."""
    time: Time | None = Field(default_factory=now)
    """Time at which the feedback was given; ``None`` if unknown."""
    confidence: OptionalField[Probability] = None
    """Confidence of the annotator, in [0, 1]; ``None`` if it was not stated."""
    metadata: Metadata = Field(default_factory=dict)

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return ``(field, response id)`` for each response that the feedback names."""
        return ()

    def check(self, interaction: Interaction) -> None:
        """Check that the feedback fits the interaction it is about.

        Raises
        ------
        RecordError
            If the feedback is about another interaction, names a response that this one does not
            have, or points outside a response's text.
        """
        if self.interaction != interaction.id:
            raise RecordError(
                f"interaction: this feedback is about {self.interaction!r}, not {interaction.id!r}"
            )
        ids = [response.id for response in interaction.responses]
        for field, id_ in self.references():
            if id_ not in ids:
                raise RecordError(
                    f"{field}: interaction {interaction.id!r} has no response {id_!r}",
                    f"Its responses are {', '.join(ids) or 'none'}",
                )

    def _check_end_offset(self, field: str, end: int, text: str) -> None:
        if end > len(text):
            raise RecordError(
                f"{field}: offset {end} is outside the text, which has {len(text)} characters",
                "Offsets count Unicode code points from 0; the end is exclusive",
            )


class ResponseFeedback(BaseFeedback):
    """Feedback about one response."""

    response: Name
    """Id of the response within its interaction."""

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the response that the feedback is about."""
        return (("response", self.response),)


class TextRange(Record):
    """Range of a response's text, ``text[start:end]``, in Unicode code points."""

    start: Offset
    """Start offset, inclusive."""
    end: Offset
    """End offset, exclusive."""

    @model_validator(mode="after")
    def _end_after_start(self) -> Self:
        if not self.start < self.end:
            raise ValueError(f"end: {self.end} is not greater than start, {self.start}")
        return self
