"""Memory entries: what people said, kept with its scope and its provenance."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from backtalk.feedback import Scope
from backtalk.feedback.record import (
    OMIT_EMPTY,
    Name,
    OptionalField,
    Probability,
    Record,
    Time,
    new_id,
    now,
)

EntryKind = Literal["correction", "principle", "preference", "fact", "instruction", "case"]
"""Kind of an entry: a correction of an answer, a principle that holds in general, a preference of
a user, a fact about a user or a subject, a standing instruction, or a solved case."""

EntryState = Literal["active", "superseded", "retired", "undone", "forgotten"]
"""State of an entry. ``"superseded"``: another entry contradicts it and holds in its place.
``"retired"``: its measured effect is harmful. ``"undone"``: its addition was undone.
``"forgotten"``: a person removed it; its text is gone."""


class MemoryEntry(Record):
    """Entry of a memory.

    The text is what the model reads, so that it is written as a person would say it to the model.
    """

    id: Name = Field(default_factory=new_id)
    kind: EntryKind
    text: Name
    """Text that is put into the prompt."""
    scope: Scope = Field(default_factory=Scope)
    """Users, places and kinds of request that it applies to; an empty scope means always."""
    feedback: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Ids of the feedback that it was made from."""
    interactions: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Ids of the interactions of that feedback."""
    people: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Ids of the annotators who said it. A purge of the last of them removes the entry."""
    confidence: Probability = 1.0
    """Probability that it is right, in [0, 1]."""
    supersedes: tuple[Name, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Ids of entries that it contradicts and replaces, within its scope."""
    state: EntryState = "active"
    method: Name = "written"
    """Method that made it; ``"written"`` if a person did."""
    original: OptionalField[Name] = None
    """Text before a model rewrote it; ``None`` if it was not rewritten."""
    time: Time | None = Field(default_factory=now)
    """Time at which it was said."""
    revision: Annotated[int, Field(ge=0)] = 0
    """Revision of the memory that added it; set by the memory."""
