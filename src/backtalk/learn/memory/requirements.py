"""Requirements of methods that learn memories."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING

from backtalk.feedback.kinds import Critique, Edit, FollowUp
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

if TYPE_CHECKING:
    from backtalk.learn.memory.collecting import Collection

_FIRST_CASES = 100


def reading(
    description: str, find: Callable[[Collection], Iterable[object]], *, definite: bool = True
) -> FeedbackRequirement:
    """Return the requirement that a method finds something to remember.

    The first cases are read, and the others only if these say nothing.

    Parameters
    ----------
    description : str
        Missing feedback in words.
    find : Callable[[Collection], Iterable[object]]
        Function that reads feedback as the method does.
    definite : bool, default True
        False if an option of the method can meet the requirement too.
    """

    def is_met(feedback: TrainingSet) -> bool:
        from backtalk.learn.memory.collecting import Collection  # noqa: PLC0415 - slow to import

        whole = Collection.read(feedback)
        first = replace(whole, cases=whole.cases[:_FIRST_CASES])
        parts = [first] if len(first.cases) == len(whole.cases) else [first, whole]
        return any(True for part in parts for _ in find(part))

    return FeedbackRequirement(description, is_met, definite)


def has_instructions(feedback: TrainingSet) -> bool:
    """Return whether there is an instruction, on an interaction or on none."""
    return _system_wide(feedback, ["instruction"]) or any(
        item.kind == "instruction" for case in feedback.cases() for item in case.feedback
    )


def has_corrections(feedback: TrainingSet) -> bool:
    """Return whether there is a critique, an edit or a follow-up on an interaction."""
    return any(
        isinstance(item, Critique | Edit | FollowUp)
        for case in feedback.cases()
        for item in case.feedback
    )


def has_edits(feedback: TrainingSet) -> bool:
    """Return whether there is an edit."""
    return any(case.of(Edit) for case in feedback.cases())


def _system_wide(feedback: TrainingSet, kinds: list[str]) -> bool:
    wished = [kind for kind in kinds if feedback.kinds is None or kind in feedback.kinds]
    return bool(wished) and any(
        True for _ in feedback.store.feedback(kinds=wished, system_wide=True)
    )


LESSONS = reading(
    "feedback in words, or enough preferences for the same trait of answers",
    lambda collection: [*collection.statements(), *collection.habits()],
)
INSTRUCTIONS = FeedbackRequirement("instructions", has_instructions)
CORRECTIONS = FeedbackRequirement("critiques, edits or follow-ups", has_corrections)
EDITS = FeedbackRequirement("edits", has_edits)
