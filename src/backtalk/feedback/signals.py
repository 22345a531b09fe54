"""Feedback that is observed: what a verifier returned, what the user did next."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from backtalk.feedback.base import BaseFeedback, ResponseFeedback
from backtalk.feedback.record import Name, OptionalField, Probability, Propensity, Record, repeated


class Outcome(ResponseFeedback):
    """What a verifier or a run returned for a response."""

    kind: Literal["outcome"] = "outcome"
    passed: OptionalField[bool] = None
    score: OptionalField[Probability] = None
    """In [0, 1]; the share of tests passed, say."""
    text: str = ""
    """What the run printed: a trace, an error."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.passed is None and self.score is None:
            raise ValueError("passed: an outcome needs passed or score")
        return self


Act = Literal["thanks", "complaint", "correction", "rephrasing", "clarification", "other"]


class FollowUp(BaseFeedback):
    """What the user said next."""

    kind: Literal["follow_up"] = "follow_up"
    text: Name
    response: OptionalField[Name] = None
    """The response that it followed, where several were shown."""
    act: OptionalField[Act] = None
    """What the message did, where somebody has classified it."""

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the response that was followed up, where it is named."""
        return () if self.response is None else (("response", self.response),)


class Shown(Record):
    """A response as it was put before the user; its place in the list is its position."""

    response: Name
    propensity: OptionalField[Propensity] = None
    """The probability with which it was put in this place."""


class Choice(BaseFeedback):
    """What the user took, among what was shown, in the order in which it was."""

    kind: Literal["choice"] = "choice"
    chosen: Name | None
    """The response taken; ``None`` where the user saw the list and took nothing."""
    shown: Annotated[tuple[Shown, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _chosen_was_shown(self) -> Self:
        ids = [item.response for item in self.shown]
        if (twice := repeated(ids)) is not None:
            raise ValueError(f"shown: the response {twice!r} is listed twice")
        if self.chosen is not None and self.chosen not in ids:
            raise ValueError(f"chosen: {self.chosen!r} is not among what was shown, {ids}")
        return self

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return every response shown."""
        return tuple(("shown", item.response) for item in self.shown)
