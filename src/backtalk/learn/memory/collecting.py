"""Collection of lessons from a training set: statements, habits, and agreement of people."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from backtalk.embedders.registry import EmbedderName, get_embedder
from backtalk.errors import BacktalkError
from backtalk.feedback.aspects import on_aspect
from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.conversions import views
from backtalk.feedback.kinds import Critique, Edit
from backtalk.feedback.views import Pair
from backtalk.learn.memory.agreement import promote, repeated_critiques
from backtalk.learn.memory.habits import Comparison, habits
from backtalk.learn.memory.lesson import KEYED_KINDS, Lesson, merge
from backtalk.learn.memory.speakers import Speakers
from backtalk.learn.memory.statements import StatementReader
from backtalk.learn.training_set import TrainingSet
from backtalk.memory import MemoryEntry
from backtalk.memory.contradictions import contradiction
from backtalk.memory.requests import request_text

SYSTEM_WIDE = ("instruction", "critique")
"""Kinds of feedback that may be about no interaction."""


@dataclass
class Collection:
    """Feedback of a training set with its people, and the lessons in it."""

    cases: list[Case]
    system_wide: list[BaseFeedback]
    speakers: Speakers
    left_out: Counter[str] = field(default_factory=Counter)
    """Number of pieces of feedback that make no lesson, by reason."""

    @classmethod
    def read(cls, feedback: TrainingSet) -> Collection:
        """Read a training set, the feedback on no interaction included."""
        cases = [
            case if feedback.aspect is None else on_aspect(case, feedback.aspect)
            for case in feedback.cases()
        ]
        kinds = [kind for kind in SYSTEM_WIDE if feedback.kinds is None or kind in feedback.kinds]
        system_wide: list[BaseFeedback] = (
            list(feedback.store.feedback(kinds=kinds, system_wide=True)) if kinds else []
        )
        return cls(cases, system_wide, Speakers.of(cases, system_wide))

    def statements(self, shared: Sequence[Lesson] = ()) -> list[Lesson]:
        """Return what single pieces of feedback say, beyond the lessons that they share."""
        reader = StatementReader(self.speakers, self._leave_out, shared)
        by_id = {case.interaction.id: case for case in self.cases}
        results = [lesson for item in self.system_wide for lesson in reader.read_system_wide(item)]
        for case in self.cases:
            results += reader.read(case)
            earlier = by_id.get(case.interaction.parent or "")
            if earlier is not None:
                results += reader.after(case, earlier)
        return merge(results)

    def comparisons(self) -> list[tuple[tuple[str, ...], Comparison]]:
        """Return each edit and each preferred answer with the users whose wish it is."""
        results = []
        for case in self.cases:
            items = {item.id: item for item in case.feedback}
            request = request_text(case.interaction.prompt)
            for pair in views(case, Pair):
                source = items.get(pair.feedback[0]) if pair.feedback else None
                if source is None or pair.tie or pair.is_equal or pair.probability <= 0.5:
                    continue
                comparison = Comparison(
                    request,
                    pair.rejected,
                    pair.chosen,
                    source,
                    self.speakers.reliability(source),
                )
                users = self.speakers.users(source, case.interaction.user)
                results.append((users, comparison))
        return results

    def habits(self) -> list[Lesson]:
        """Return the habits of each person, and those of all reviewers together."""
        by_person: dict[tuple[tuple[str, ...], str], list[Comparison]] = defaultdict(list)
        everybody: list[Comparison] = []
        for users, comparison in self.comparisons():
            by_person[users, comparison.item.annotator.id].append(comparison)
            if not users:
                everybody.append(comparison)
        results = [
            lesson.about(users)
            for (users, _), group in by_person.items()
            if users
            for lesson in habits(group)
        ]
        results += [lesson.about(()) for lesson in habits(everybody)]
        return merge(results)

    async def principles(self, embedder: EmbedderName) -> list[Lesson]:
        """Return what critiques say again and again."""
        critiques = [
            (
                item,
                request_text(case.interaction.prompt),
                self.speakers.users(item, case.interaction.user),
                self.speakers.reliability(item),
            )
            for case in self.cases
            for item in case.of(Critique)
        ]
        if not critiques:
            return []
        fitted = get_embedder(embedder, [item.text for item, *_ in critiques])
        return await repeated_critiques(critiques, fitted, people=len(self.speakers.annotators))

    async def lessons(
        self, embedder: EmbedderName, written: Sequence[MemoryEntry] = ()
    ) -> list[Lesson]:
        """Return all lessons, the wishes that several people share as one for everybody.

        Parameters
        ----------
        embedder : {"hashed", "sentence"}
            Embedder of critiques.
        written : sequence of MemoryEntry, default ()
            Entries that people wrote. A wish that its speaker contradicted in one later is left
            out: it is no longer theirs.
        """
        shared = [*await self.principles(embedder), *self.habits()]
        lessons = [one for one in self.statements(shared) if not _is_revoked(one, written)]
        return promote(merge([*lessons, *shared]), people=len(self.speakers.annotators))

    def _leave_out(self, reason: str) -> None:
        self.left_out[reason] += 1

    def edits(self) -> list[tuple[Case, Edit]]:
        """Return the edits in the order of their time."""
        edits = [(case, item) for case in self.cases for item in case.of(Edit)]
        return sorted(edits, key=lambda pair: _time(pair[1]))


def _is_revoked(lesson: Lesson, written: Sequence[MemoryEntry]) -> bool:
    """Return true if the speakers of a lesson contradicted it in an entry that they wrote later."""
    return lesson.kind not in KEYED_KINDS and any(
        {*lesson.people} <= {*entry.people}
        and lesson.scope.users == entry.scope.users
        and lesson.scope.where == entry.scope.where
        and contradiction(entry.text, lesson.text) is not None
        for entry in written
        if lesson.people and lesson.time and entry.time and entry.time > lesson.time
    )


def _time(item: BaseFeedback) -> float:
    return item.time.timestamp() if item.time is not None else 0.0


def require_lessons(lessons: Iterable[Lesson], feedback: TrainingSet) -> None:
    """Raise an error if feedback says nothing that a memory can hold.

    Raises
    ------
    BacktalkError
        If there is no lesson.
    """
    if any(True for _ in lessons):
        return
    counts = ", ".join(f"{n:,} {kind}" for kind, n in feedback.snapshot.counts.items())
    raise BacktalkError(
        f"The feedback says nothing in words that a memory can hold ({counts or 'none'})",
        "Collect instructions, critiques, edits or follow-ups, or more preferences: thumbs alone "
        "show no wish",
    )
