"""Explanation of an entry: where it came from, what it does, and what it costs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.errors import NotFound
from backtalk.feedback.describe import describe_feedback
from backtalk.memory.change import MemoryChange
from backtalk.memory.entry import MemoryEntry
from backtalk.store.queries import read_feedback_by_id

if TYPE_CHECKING:
    from backtalk.memory.effect import EntryEffect
    from backtalk.memory.memory import Memory
    from backtalk.store import Store

_MAX_SOURCES = 20
_MAX_EXCERPT = 200
_CHARACTERS_PER_TOKEN = 4


@dataclass(frozen=True)
class Excerpt:
    """Beginning of an interaction that an entry came from."""

    interaction: str
    prompt: str
    response: str


@dataclass(frozen=True)
class Explanation:
    """Explanation of an entry."""

    entry: MemoryEntry
    feedback: tuple[str, ...]
    """Sentences about the feedback that it was made from, the first 20 records."""
    excerpts: tuple[Excerpt, ...]
    """Interactions of that feedback, the first 20."""
    supersedes: tuple[MemoryEntry, ...]
    """Entries that it holds against, without those that were purged."""
    superseded_by: tuple[MemoryEntry, ...]
    """Active entries that hold against it where both apply."""
    effect: EntryEffect | None
    """Measured effect; ``None`` if no answer used it."""
    tokens: int
    """Estimated number of tokens that it adds to a prompt: a quarter of its characters."""
    changes: tuple[MemoryChange, ...]
    """Changes of it, the newest first."""


def explain_entry(store: Store, memory: Memory, id: str) -> Explanation:  # noqa: A002
    """Return the explanation of an entry.

    Parameters
    ----------
    store : Store
        Store of the project.
    memory : Memory
        Memory of the project.
    id : str
        Id of the entry, or a unique prefix.

    Raises
    ------
    NotFound
        If no id matches.
    """
    from backtalk.memory.effect import entry_effects  # noqa: PLC0415 - imports SciPy

    entry = memory.get(id)
    records = read_feedback_by_id(store.engine, store.project_id, entry.feedback[:_MAX_SOURCES])
    others = memory.holding(entry.supersedes, states=("active", "superseded"))
    return Explanation(
        entry=entry,
        feedback=tuple(describe_feedback(record) for record in records),
        excerpts=tuple(_excerpts(store, entry)),
        supersedes=tuple(others.values()),
        superseded_by=tuple(memory.superseding(entry.id)),
        effect=entry_effects(store, memory).get(entry.id),
        tokens=math.ceil(len(entry.text) / _CHARACTERS_PER_TOKEN),
        changes=tuple(memory.history(entry.id)),
    )


def _excerpts(store: Store, entry: MemoryEntry) -> list[Excerpt]:
    excerpts: list[Excerpt] = []
    for id_ in entry.interactions[:_MAX_SOURCES]:
        try:
            interaction = store.interaction(id_)
        except NotFound:  # it was deleted
            continue
        responses = [response.text for response in interaction.responses]
        prompt = interaction.prompt[-1].text if interaction.prompt else ""
        excerpts.append(Excerpt(id_, _shorten(prompt), _shorten(responses[0] if responses else "")))
    return excerpts


def _shorten(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_EXCERPT else f"{line[: _MAX_EXCERPT - 1]}…"
