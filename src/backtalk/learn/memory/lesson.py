"""Lessons: what one or several pieces of feedback say, before a memory holds it as an entry."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from backtalk.feedback import Scope, content_id
from backtalk.feedback.base import BaseFeedback
from backtalk.memory import EntryKind, MemoryEntry

MAX_EXAMPLES = 20
"""Maximum number of requests in each list of a scope."""

KEYED_KINDS = frozenset({"correction", "case"})
"""Kinds of entries about one request, which their scope names as inside."""


@dataclass(frozen=True)
class Lesson:
    """Statement made from feedback, with whom and what it is about."""

    kind: EntryKind
    text: str
    scope: Scope = field(default_factory=Scope)
    feedback: tuple[str, ...] = ()
    """Ids of the feedback that it was made from."""
    interactions: tuple[str, ...] = ()
    """Ids of the interactions of that feedback."""
    people: tuple[str, ...] = ()
    """Ids of the annotators."""
    confidence: float = 1.0
    """Probability that it is right, in [0, 1]."""
    time: datetime | None = None
    """Time of the latest feedback."""
    supersedes: tuple[str, ...] = ()
    """Ids of entries that it replaces, beside an older one of itself."""
    is_personal: bool = False
    """True if it was said for these users only, so that it stays theirs."""
    is_shared: bool = False
    """True if it is for everybody only because several people wish it for themselves."""

    @cached_property
    def key(self) -> str:
        """Hash of what it says, about what and for whom; equal for equal lessons."""
        inside = self.scope.inside if self.kind in KEYED_KINDS else ()
        return content_id(
            *("lesson", self.kind, normalise(self.text), self.scope.where or ""),
            *("users", *sorted(self.scope.users), "inside", *sorted(inside)),
        )

    def about(self, users: Iterable[str]) -> Lesson:
        """Return the same lesson for other users; for all users if there are none."""
        scope = self.scope.model_copy(update={"users": tuple(sorted(set(users)))})
        return replace(self, scope=scope)

    def entry(self, method: str, id_: str, supersedes: tuple[str, ...] = ()) -> MemoryEntry:
        """Return the lesson as an entry of a memory.

        Parameters
        ----------
        method : str
            Name of the method that made it.
        id_ : str
            Id of the entry.
        supersedes : tuple of str, default ()
            Ids of older entries that say the same.
        """
        return MemoryEntry(
            id=id_,
            kind=self.kind,
            text=self.text,
            scope=self.scope,
            feedback=self.feedback,
            interactions=self.interactions,
            people=self.people,
            confidence=round(self.confidence, 4),
            supersedes=(*supersedes, *self.supersedes),
            method=method,
            time=self.time,
        )


def make_lesson(
    kind: EntryKind,
    text: str,
    items: Iterable[BaseFeedback],
    *,
    scope: Scope | None = None,
    confidence: float = 1.0,
) -> Lesson:
    """Return a lesson with the provenance of its feedback.

    Parameters
    ----------
    kind : EntryKind
        Kind of entry.
    text : str
        Statement.
    items : iterable of BaseFeedback
        Feedback that it is made from.
    scope : Scope, optional
        Whom and what it is about; always by default.
    confidence : float, default 1.0
        Probability that it is right, in [0, 1].
    """
    sources = list(items)
    people = {
        item.annotator.id
        for item in sources
        if item.annotator.kind not in {"model", "verifier"} and item.annotator.id != "unknown"
    }
    interactions = {item.interaction for item in sources if item.interaction is not None}
    return Lesson(
        kind,
        text.strip(),
        scope or Scope(),
        tuple(sorted({item.id for item in sources})),
        tuple(sorted(interactions)),
        tuple(sorted(people)),
        confidence,
        max((item.time for item in sources if item.time is not None), default=None),
    )


def merge(lessons: Iterable[Lesson]) -> list[Lesson]:
    """Return one lesson for each statement, with the provenance of all equal ones."""
    groups: dict[str, list[Lesson]] = {}
    for lesson in lessons:
        groups.setdefault(lesson.key, []).append(lesson)
    return [merge_group(group) for group in groups.values()]


def merge_group(group: list[Lesson]) -> Lesson:
    """Return the first of several lessons with the provenance of all, the latest time included.

    Independent people make it likelier: the probability that all of them are wrong is the product
    of theirs.
    """
    first = group[0]
    if len(group) == 1:
        return first
    doubt = 1.0
    for people in {lesson.people for lesson in group}:
        doubt *= 1 - max(lesson.confidence for lesson in group if lesson.people == people)
    return replace(
        first,
        scope=join_scopes([lesson.scope for lesson in group]),
        feedback=_union(lesson.feedback for lesson in group),
        interactions=_union(lesson.interactions for lesson in group),
        people=_union(lesson.people for lesson in group),
        confidence=1 - doubt,
        time=max((lesson.time for lesson in group if lesson.time is not None), default=None),
    )


def join_scopes(scopes: list[Scope]) -> Scope:
    """Return the scope of the first with the examples of all, without contradictory ones.

    A request that is inside for one and outside for another is inside. A scope without examples
    inside means always, so that the others do not narrow it.
    """
    first = scopes[0]
    inside = () if not all(scope.inside for scope in scopes) else _joined(s.inside for s in scopes)
    outside = tuple(text for text in _joined(s.outside for s in scopes) if text not in inside)
    return first.model_copy(update={"inside": inside, "outside": outside[:MAX_EXAMPLES]})


def normalise(text: str) -> str:
    """Return a text without differences of case, spaces and final punctuation.

    >>> normalise("Be  brief!") == normalise("be brief.")
    True
    """
    return re.sub(r"\s+", " ", text).strip().rstrip(".!").casefold()


def _joined(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(text for group in groups for text in group))[:MAX_EXAMPLES]


def _union(groups: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(sorted({item for group in groups for item in group}))
