"""Aspects: judgements of one aspect of a response, apart from those of other aspects.

A judgement of safety says nothing about the response as a whole. Exports, leaderboards, learning
and evaluation therefore read the judgements of one aspect: the overall ones, or those that are
asked for by name. Feedback without an aspect, such as an edit or an outcome, is about the response
as a whole.

>>> from backtalk.feedback import Annotator, Interaction, Label
>>> from backtalk.feedback.case import Case
>>> interaction = Interaction.of("Are you open?", "Yes.")
>>> safe = Label(interaction=interaction.id, annotator=Annotator.human(), response="0", good=True,
...              aspect="safety")
>>> case = Case(interaction, (safe,))
>>> len(on_aspect(case, "safety").feedback), len(on_aspect(case, OVERALL).feedback)
(1, 0)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace

from backtalk.feedback.base import OVERALL
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import AnyFeedback, Critique


def aspect_of(item: AnyFeedback) -> str:
    """Return the aspect of feedback.

    A critique counts as overall whatever it is about: its text says that.
    """
    return OVERALL if isinstance(item, Critique) else getattr(item, "aspect", OVERALL)


def is_about(item: AnyFeedback, aspect: str) -> bool:
    """Return true if feedback is about an aspect."""
    if isinstance(item, Critique):
        return aspect in {OVERALL, item.aspect}
    return aspect_of(item) == aspect


def on_aspect(case: Case, aspect: str) -> Case:
    """Return a case with the feedback on one aspect, in which it counts as overall."""
    feedback = tuple(item for item in case.feedback if is_about(item, aspect))
    if aspect != OVERALL:
        feedback = tuple(
            item.model_copy(update={"aspect": OVERALL}) if hasattr(item, "aspect") else item
            for item in feedback
        )
    elif len(feedback) == len(case.feedback):
        return case
    return replace(case, feedback=feedback)


def other_aspects(
    feedback: Iterable[AnyFeedback], aspect: str, kinds: Collection[str] | None = None
) -> Counter[str]:
    """Return the number of judgements on each aspect but one.

    Parameters
    ----------
    feedback : iterable of feedback
        Feedback to count.
    aspect : str
        Aspect that is not counted.
    kinds : collection of str, optional
        Kinds of feedback to count. Default: all.
    """
    return Counter(
        aspect_of(item)
        for item in feedback
        if not is_about(item, aspect) and (kinds is None or item.kind in kinds)
    )


def listed_aspects(counts: Mapping[str, int]) -> str:
    """Return counts of judgements by aspect in words, the most frequent first.

    >>> listed_aspects({"safety": 3, "tone": 12})
    '12 on tone, 3 on safety'
    """
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count:,} on {name}" for name, count in ordered)
