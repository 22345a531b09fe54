"""Who or what gave a piece of feedback."""

from __future__ import annotations

from typing import Literal

from backtalk.feedback.record import Name, OptionalField, Record

AnnotatorKind = Literal["human", "model", "simulated", "verifier", "implicit"]


class Annotator(Record):
    """The source of a judgement.

    >>> Annotator.human("ada").id
    'ada'
    """

    id: Name
    """Who: a user id, a model's name, a test suite's name. ``"unknown"`` where nobody knows."""
    kind: AnnotatorKind
    """A person, a language model, a simulated person, a program that checks, or behaviour that
    was observed rather than asked for."""
    group: OptionalField[Name] = None
    """The population that the annotator belongs to, where groups may disagree."""
    revision: OptionalField[Name] = None
    """The version of a model or verifier."""

    @classmethod
    def human(cls, id: str = "unknown", *, group: str | None = None) -> Annotator:  # noqa: A002
        """Return a person."""
        return cls(id=id, kind="human", group=group)

    @classmethod
    def model(cls, id: str, *, revision: str | None = None) -> Annotator:  # noqa: A002
        """Return a language model that judges."""
        return cls(id=id, kind="model", revision=revision)

    @classmethod
    def simulated(cls, id: str, *, group: str | None = None) -> Annotator:  # noqa: A002
        """Return a simulated person."""
        return cls(id=id, kind="simulated", group=group)

    @classmethod
    def verifier(cls, id: str, *, revision: str | None = None) -> Annotator:  # noqa: A002
        """Return a program that checks: a test suite, a compiler, an answer key."""
        return cls(id=id, kind="verifier", revision=revision)

    @classmethod
    def implicit(cls, id: str = "unknown") -> Annotator:  # noqa: A002
        """Return a user whose behaviour was observed."""
        return cls(id=id, kind="implicit")
