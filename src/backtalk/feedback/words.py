"""Feedback in words: critiques, edits, demonstrations, standing instructions."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from backtalk.errors import RecordError
from backtalk.feedback.base import BaseFeedback, ResponseFeedback
from backtalk.feedback.interaction import Interaction
from backtalk.feedback.record import Name, Offset, OptionalField, Record


class Critique(BaseFeedback):
    """Free text about a response, a part of it, an interaction, or the system as a whole."""

    kind: Literal["critique"] = "critique"
    interaction: OptionalField[Name] = None  # type: ignore[assignment]
    """The interaction it is about; ``None`` for the system as a whole."""
    text: Name
    response: OptionalField[Name] = None
    """The response it is about; ``None`` for the interaction or the system as a whole."""
    start: OptionalField[Offset] = None
    """Where the criticised part of the response begins."""
    end: OptionalField[Offset] = None
    """Where it ends, exclusive."""
    step: OptionalField[Offset] = None
    """The index of the criticised step, where the response has steps."""
    aspect: OptionalField[Name] = None
    """What it is about, where that was said."""

    @model_validator(mode="after")
    def _target_fits(self) -> Self:
        if self.response is not None and self.interaction is None:
            raise ValueError("interaction: a critique of a response needs its interaction")
        if (self.start is None) != (self.end is None):
            raise ValueError("end: a criticised part needs both its start and its end")
        if self.start is not None and self.end is not None and not self.start < self.end:
            raise ValueError(f"end: {self.end} does not lie after start, {self.start}")
        if self.response is None and (self.start is not None or self.step is not None):
            raise ValueError("response: a part or a step belongs to a response")
        return self

    def references(self) -> tuple[tuple[str, str], ...]:
        """Return the response that the critique is about, if it is about one."""
        return () if self.response is None else (("response", self.response),)

    def check(self, interaction: Interaction) -> None:
        """Refuse a critique of a part that lies outside the response's text."""
        super().check(interaction)
        if self.response is not None and self.end is not None:
            self._check_offsets("end", self.end, interaction.response(self.response).text)


class Edit(ResponseFeedback):
    """The response as the person changed it."""

    kind: Literal["edit"] = "edit"
    text: str
    """The response after the change."""

    def check(self, interaction: Interaction) -> None:
        """Refuse an edit that changes nothing."""
        super().check(interaction)
        if self.text == interaction.response(self.response).text:
            raise RecordError("text: the edited text is the same as the response")


class Demonstration(BaseFeedback):
    """An ideal response, written from scratch."""

    kind: Literal["demonstration"] = "demonstration"
    text: Name


class Scope(Record):
    """When a standing instruction holds. An empty scope means always."""

    where: OptionalField[Name] = None
    """The condition in words: "in e-mails to my boss"."""
    users: tuple[Name, ...] = ()
    """Whose requests it is for; empty for everybody's."""
    inside: tuple[Name, ...] = ()
    """Prompts, as text, that it is for."""
    outside: tuple[Name, ...] = ()
    """Prompts, as text, that it is not for."""


class Instruction(BaseFeedback):
    """A standing rule in words: "no emojis in e-mails to my boss"."""

    kind: Literal["instruction"] = "instruction"
    interaction: OptionalField[Name] = None  # type: ignore[assignment]
    """The interaction that prompted the rule, if one did."""
    text: Name
    scope: Scope = Field(default_factory=Scope)
