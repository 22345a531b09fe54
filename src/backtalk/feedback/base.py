"""What every kind of feedback has: about what, by whom, when, how sure."""

from __future__ import annotations

from pydantic import Field

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.record import (
    Metadata,
    Name,
    OptionalField,
    Probability,
    Record,
    Time,
    new_id,
    now,
)


class BaseFeedback(Record):
    """The fields that all kinds of feedback share."""

    id: Name = Field(default_factory=new_id)
    interaction: Name
    """The id of the interaction that the feedback is about."""
    annotator: Annotator
    """Who gave it."""
    time: Time | None = Field(default_factory=now)
    """When it was given; ``None`` where nobody knows."""
    confidence: OptionalField[Probability] = None
    """How sure the annotator was, in [0, 1]; ``None`` where they did not say."""
    metadata: Metadata = Field(default_factory=dict)

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return ``(field, response id)`` for each response that the feedback names."""
        return ()

    def check(self, interaction: Interaction) -> None:
        """Refuse feedback that does not fit the interaction it is about.

        Raises
        ------
        RecordError
            If it is about another interaction, names a response that this one does not have, or
            points outside a response's text.
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

    def _check_offsets(self, field: str, end: int, text: str) -> None:
        if end > len(text):
            raise RecordError(
                f"{field}: position {end} lies outside the text, which has {len(text)} characters",
                "Offsets count Unicode code points from 0; the end is exclusive",
            )


class ResponseFeedback(BaseFeedback):
    """Feedback about one response."""

    response: Name
    """The id of the response within its interaction."""

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the one response that the feedback is about."""
        return (("response", self.response),)
