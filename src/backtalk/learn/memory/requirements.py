"""Requirements of methods that learn memories."""

from __future__ import annotations

from backtalk.feedback.kinds import Choice, Critique, Edit, FollowUp
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import TrainingSet


def has_words(feedback: TrainingSet) -> bool:
    """Return whether any feedback may say something that a memory can hold."""
    return _system_wide(feedback, ["instruction", "critique"]) or any(
        True for _ in feedback.cases()
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


WORDS = FeedbackRequirement("feedback of any kind", has_words)
INSTRUCTIONS = FeedbackRequirement("instructions", has_instructions)
CORRECTIONS = FeedbackRequirement("critiques, edits or follow-ups", has_corrections)
CHOICES = FeedbackRequirement("follow-ups or choices", has_next_actions)
EDITS = FeedbackRequirement("edits", has_edits)
