"""Requirements of methods that learn memories."""

from __future__ import annotations

from dataclasses import replace

from backtalk.feedback.kinds import Choice, Critique, Edit, FollowUp
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet

_FIRST_CASES = 100


def has_words(feedback: TrainingSet) -> bool:
    """Return whether any feedback may say something that a memory can hold."""
    return _system_wide(feedback, ["instruction", "critique"]) or any(
        True for _ in feedback.cases()
    )


def has_lessons(feedback: TrainingSet) -> bool:
    """Return whether the method ``memory`` finds something to remember.

    The first cases are read, and the others only if these say nothing.
    """
    from backtalk.learn.memory.collecting import Collection  # noqa: PLC0415 - slow to import

    collection = Collection.read(feedback)
    some = replace(collection, cases=collection.cases[:_FIRST_CASES])
    return any(
        one.statements() or one.habits()
        for one in ([some] if len(some.cases) == len(collection.cases) else [some, collection])
    )


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


def has_next_actions(feedback: TrainingSet) -> bool:
    """Return whether there is feedback on what users did next."""
    return any(case.of(FollowUp) or case.of(Choice) for case in feedback.cases())


def _system_wide(feedback: TrainingSet, kinds: list[str]) -> bool:
    wished = [kind for kind in kinds if feedback.kinds is None or kind in feedback.kinds]
    return bool(wished) and any(
        True for _ in feedback.store.feedback(kinds=wished, system_wide=True)
    )


LESSONS = FeedbackRequirement(
    "feedback in words, or enough preferences for the same trait of answers", has_lessons
)
WORDS = FeedbackRequirement("feedback of any kind", has_words)
INSTRUCTIONS = FeedbackRequirement("instructions", has_instructions)
CORRECTIONS = FeedbackRequirement("critiques, edits or follow-ups", has_corrections)
CHOICES = FeedbackRequirement("follow-ups or choices", has_next_actions)
EDITS = FeedbackRequirement("edits", has_edits)
