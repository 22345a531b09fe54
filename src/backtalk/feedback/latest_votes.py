"""Changes of mind: of several judgements of one thing by one person, the last counts.

Views, exports, leaderboards and experiments follow this rule. All judgements stay in the store.

>>> from backtalk.feedback import Annotator, Interaction, Label
>>> interaction, bo = Interaction.of("Are you open?", "Yes."), Annotator.human("bo")
>>> labels = tuple(Label(interaction=interaction.id, annotator=bo, response="0", good=good)
...                for good in (True, True, False))
>>> [label.good for label in latest_votes(labels)]
[False]
"""

from __future__ import annotations

from collections.abc import Hashable

from backtalk.feedback.kinds import (
    AnyFeedback,
    Choice,
    Edit,
    Label,
    Outcome,
    Preference,
    Ranking,
    Rating,
    Steps,
)

UNKNOWN = "unknown"
"""Id of annotators without a name."""


def vote_key(item: AnyFeedback) -> Hashable | None:
    """Return what a judgement is about and by whom; ``None`` if it is not superseded by others.

    Labels, ratings, outcomes, edits and checked steps are about a response and an aspect;
    preferences, rankings and choices about the set of responses that they compare. A rating on
    another scale is another judgement. Critiques, spans, demonstrations and follow-ups add up.
    """
    about: Hashable
    match item:
        case Rating():
            about = (item.response, item.aspect, item.scale.name)
        case Label():
            about = (item.response, item.aspect)
        case Outcome() | Edit() | Steps():
            about = item.response
        case Preference() | Ranking():
            about = (frozenset(id_ for _, id_ in item.references()), item.aspect)
        case Choice():
            about = frozenset(shown.response for shown in item.shown)
        case _:
            return None
    return item.kind, item.annotator, about


def latest_votes(
    feedback: tuple[AnyFeedback, ...], *, is_merged: bool = False
) -> tuple[AnyFeedback, ...]:
    """Return feedback without the judgements that a later one by the same annotator supersedes.

    The later one has the later time, or else stands behind the other. Annotators without a name
    are one person within an interaction if their feedback has times, as on a live page. They are
    told apart in data without times, and in feedback on several interactions.

    Parameters
    ----------
    feedback : tuple of feedback
        Feedback on one interaction, or on several with the same prompt.
    is_merged : bool, default False
        If true, the feedback is on several interactions.
    """
    if len(feedback) < 2:
        return feedback
    latest: dict[Hashable, AnyFeedback] = {}
    superseded: set[int] = set()
    for item in feedback:
        key = vote_key(item)
        if key is None or (item.annotator.id == UNKNOWN and (is_merged or item.time is None)):
            continue
        other = latest.get(key)
        if other is None:
            latest[key] = item
            continue
        first, last = (other, item) if is_later(item, other) else (item, other)
        superseded.add(id(first))
        latest[key] = last
    if not superseded:
        return feedback
    return tuple(item for item in feedback if id(item) not in superseded)


def is_later(item: AnyFeedback, other: AnyFeedback) -> bool:
    """Return true unless a judgement that arrived after another was given before it."""
    return item.time is None or other.time is None or item.time >= other.time
