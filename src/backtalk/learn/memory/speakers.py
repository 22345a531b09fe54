"""Speakers: whose wish a piece of feedback is, and how reliable its annotator is."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from backtalk.feedback import Annotator
from backtalk.feedback.base import BaseFeedback
from backtalk.feedback.case import Case
from backtalk.feedback.kinds import Label, Outcome, Preference, Rating

PRIOR_AGREEMENTS = 9.0
PRIOR_JUDGEMENTS = 10.0
"""Agreements and judgements that every annotator starts with: a reliability of 0.9."""

UNKNOWN = "unknown"


@dataclass
class Speakers:
    """People of a training set.

    A user who judges an answer to themselves speaks for themselves, and so does any observed
    behaviour. Somebody else who judges it, a reviewer, speaks about the application. Without users
    in the records, several annotators are several people with their own wishes, and a single one
    speaks about the application. What one of several users says about no answer, such as a standing
    rule, is for themself as well: one user makes no rules for others.
    """

    annotators: frozenset[str]
    """Ids of all annotators but models and checks."""
    end_users: frozenset[str] = frozenset()
    """Ids of the users of interactions."""
    reliabilities: dict[str, float] = field(default_factory=dict)
    """Probability that a judgement of the annotator is right, in (0, 1)."""

    @classmethod
    def of(cls, cases: Iterable[Case], others: Iterable[BaseFeedback] = ()) -> Speakers:
        """Return the people of cases.

        Parameters
        ----------
        cases : iterable of Case
            Cases with feedback.
        others : iterable of BaseFeedback, default ()
            Feedback on no interaction.
        """
        cases = list(cases)
        feedback = [item for case in cases for item in case.feedback] + list(others)
        people = {item.annotator.id for item in feedback if is_person(item.annotator)}
        users = {case.interaction.user for case in cases if case.interaction.user is not None}
        return cls(frozenset(people), frozenset(users), _reliabilities(cases))

    def users(self, item: BaseFeedback, user: str | None) -> tuple[str, ...]:
        """Return the users whose wish feedback is; none if it is about the application.

        Parameters
        ----------
        item : BaseFeedback
            Feedback.
        user : str or None
            User of its interaction.
        """
        annotator = item.annotator
        if item.interaction is None and len(self.end_users) > 1 and annotator.id in self.end_users:
            return (annotator.id,)
        if not is_person(annotator):
            return () if annotator.id != UNKNOWN or user is None else (user,)
        if user is not None:
            own = annotator.kind == "implicit" or annotator.id == user
            return (user,) if own else ()
        several = len(self.annotators) > 1 and item.interaction is not None
        return (annotator.id,) if several or annotator.kind == "implicit" else ()

    def reliability(self, item: BaseFeedback) -> float:
        """Return the probability that feedback is right, in (0, 1], the stated confidence included.

        A judge or a check counts as half a person.
        """
        base = self.reliabilities.get(item.annotator.id, PRIOR_AGREEMENTS / PRIOR_JUDGEMENTS)
        if item.annotator.kind == "model":
            base /= 2
        return base * (1.0 if item.confidence is None else item.confidence)


def is_person(annotator: Annotator) -> bool:
    """Return true if an annotator is a person whose id is known."""
    return annotator.kind not in {"model", "verifier"} and annotator.id != UNKNOWN


def _reliabilities(cases: Iterable[Case]) -> dict[str, float]:
    """Return each annotator's share of agreement with the majority of the others."""
    agreed: Counter[str] = Counter()
    judged: Counter[str] = Counter()
    for case in cases:
        votes: dict[tuple[str, ...], dict[str, bool]] = defaultdict(dict)
        for item in case.feedback:
            for subject, verdict in _verdicts(item):
                votes[subject][item.annotator.id] = verdict
        for by_person in votes.values():
            for person, verdict in by_person.items():
                others = [value for name, value in by_person.items() if name != person]
                if not others or 2 * sum(others) == len(others):
                    continue
                judged[person] += 1
                agreed[person] += verdict == (2 * sum(others) > len(others))
    return {
        person: (agreed[person] + PRIOR_AGREEMENTS) / (count + PRIOR_JUDGEMENTS)
        for person, count in judged.items()
    }


def _verdicts(item: BaseFeedback) -> list[tuple[tuple[str, ...], bool]]:
    """Return what feedback says of which answers, as far as others may say the same."""
    if isinstance(item, Label):
        return [(("good", item.aspect, item.response), item.good)]
    if isinstance(item, Rating) and item.normalised != 0.5:
        return [(("good", item.aspect, item.response), item.normalised > 0.5)]
    if isinstance(item, Outcome) and item.passed is not None:
        return [(("good", "overall", item.response), item.passed)]
    if isinstance(item, Preference) and item.chosen is not None:
        first, second = sorted((item.a, item.b))
        return [(("better", item.aspect, first, second), item.chosen == first)]
    return []
