"""Annotators: the people and programs that give feedback."""

from __future__ import annotations

from typing import Literal

from backtalk.feedback.record import Name, OptionalField, Record

AnnotatorKind = Literal["human", "model", "simulated", "verifier", "implicit"]


class Annotator(Record):
    """Source of feedback.

    >>> Annotator.human("ada").id
    'ada'
    """

    id: Name
    """User id, model name or name of a test suite; ``"unknown"`` if it is not known."""
    kind: AnnotatorKind
    """Person, language model, simulated person, program that checks, or observed behaviour."""
    group: OptionalField[Name] = None
    """Group that the annotator belongs to, if groups may disagree."""
    revision: OptionalField[Name] = None
    """Version of a model or verifier."""

    @classmethod
    def human(cls, id: str = "unknown", *, group: str | None = None) -> Annotator:  # noqa: A002
        """Return a human annotator."""
        return cls(id=id, kind="human", group=group)

    @classmethod
    def model(cls, id: str, *, revision: str | None = None) -> Annotator:  # noqa: A002
        """Return a language model as a judge."""
        return cls(id=id, kind="model", revision=revision)

    @classmethod
    def simulated(cls, id: str, *, group: str | None = None) -> Annotator:  # noqa: A002
        """Return a simulated annotator."""
        return cls(id=id, kind="simulated", group=group)

    @classmethod
    def verifier(cls, id: str, *, revision: str | None = None) -> Annotator:  # noqa: A002
        """Return a program that checks, such as a test suite, a compiler or an answer key."""
        return cls(id=id, kind="verifier", revision=revision)

    @classmethod
    def implicit(cls, id: str = "unknown") -> Annotator:  # noqa: A002
        """Return a user whose behaviour was observed."""
        return cls(id=id, kind="implicit")
