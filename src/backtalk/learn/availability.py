"""Availability of methods: those that can learn from the feedback in a store, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from backtalk.errors import BacktalkError
from backtalk.feedback.base import OVERALL
from backtalk.feedback.conversions import conversions_to
from backtalk.feedback.views import Pair, View
from backtalk.learn.feedback_sample import FeedbackSample
from backtalk.learn.method import METHODS, Method
from backtalk.learn.missing_feedback import FeedbackCounts, explain_missing, nothing_learned_mend
from backtalk.learn.requirements import (
    AnyRequirement,
    FeedbackRequirement,
    PolicyRequirement,
)
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Policy, list_policies
from backtalk.store import Store


@dataclass(frozen=True)
class ViewSource:
    """One kind of feedback as a source of one view."""

    kind: str
    view: str
    count: int
    """Number of feedback items of the kind, on prompts and on the aspect to learn from."""
    held_out: int
    """Number of feedback items of the kind on held-out prompts, if those are not learned from."""
    views: int
    """Number of views in the first 2,000 cases; pairs without a winner do not count."""
    condition: str
    """Condition on the feedback, in words; empty if there is none."""


@dataclass(frozen=True)
class MethodAvailability:
    """Availability of a method on a store.

    A method is available if the training split holds some feedback for each of its views and its
    other requirements are met.
    """

    method: Method
    sources: tuple[ViewSource, ...]
    """All kinds of feedback that the method can learn from, also those without any feedback."""
    missing: tuple[str, ...] = ()
    """Reasons why its views are missing, in words."""
    unmet: tuple[AnyRequirement, ...] = ()
    """Requirements that are not met."""

    @property
    def available(self) -> bool:
        """True if nothing is missing."""
        return not self.reasons

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds in the store that the method can learn from."""
        return tuple(sorted({source.kind for source in self.sources if source.views}))

    @property
    def reasons(self) -> tuple[str, ...]:
        """Everything that is missing, in words; empty if the method is available."""
        return (*self.missing, *(requirement.description for requirement in self.unmet))


def available_methods(
    store: Store, *, policy: Policy | None = None, aspect: str = OVERALL
) -> list[MethodAvailability]:
    """Return the availability of every method on a store.

    Up to 2,000 cases are converted to see whether a method finds anything to learn from.

    Parameters
    ----------
    store : Store
        Store with the feedback.
    policy : Policy, optional
        Policy to improve. Default: any policy of the store; a store without policies lacks none,
        as programs can give one that is not stored.
    aspect : str, default "overall"
        Aspect of the judgements to learn from.
    """
    check = AvailabilityCheck(TrainingSet(store, aspect=aspect), policy)
    return [check.availability(method) for method in METHODS.values()]


@dataclass
class AvailabilityCheck:
    """Check of methods on one training set, which is read once.

    Parameters
    ----------
    feedback : TrainingSet
        Feedback to learn from.
    policy : Policy, optional
        Policy to improve; any policy of the store by default.
    """

    feedback: TrainingSet
    policy: Policy | None = None
    _met: dict[AnyRequirement, bool] = field(default_factory=dict)

    @cached_property
    def _sample(self) -> FeedbackSample:
        return FeedbackSample(self.feedback)

    @cached_property
    def counts(self) -> FeedbackCounts:
        """Counts of the feedback in the store."""
        return FeedbackCounts.of(self.feedback)

    @cached_property
    def _policies(self) -> list[Policy]:
        return [self.policy] if self.policy else list_policies(self.feedback.store)

    def availability(self, method: Method) -> MethodAvailability:
        """Return the availability of a method."""
        sources = {
            view: tuple(
                self._source(method, way.source, view, way.condition)
                for way in conversions_to(view)
            )
            for view in method.views
        }
        missing = self._missing(method, sources)
        return MethodAvailability(
            method,
            tuple(source for group in sources.values() for source in group),
            tuple(missing),
            tuple(
                one
                for one in method.requires
                # Without the feedback that it needs, details of that feedback are no reason.
                if not (missing and isinstance(one, FeedbackRequirement))
                and not self._is_met(method, one)
            ),
        )

    def definite_reasons(self, method: Method) -> list[str]:
        """Return what is missing of the feedback, by a sample that holds all of it.

        The list is empty if the training set is too large to read here.
        """
        if not self._sample.is_whole:
            return []
        item = self.availability(method)
        return [
            *item.missing,
            *(
                requirement.description
                for requirement in item.unmet
                if isinstance(requirement, FeedbackRequirement) and requirement.definite
            ),
        ]

    def _missing(
        self, method: Method, sources: dict[type[View], tuple[ViewSource, ...]]
    ) -> list[str]:
        """Return the reason for each view that is missing, unless an alternative is there."""
        others = [source for view in method.alternatives for source in sources[view]]
        if any(source.views for source in others):
            return []
        sample = self._sample_for(method)
        return [
            explain_missing(need, [*sources[need], *others], sample, self.counts)
            for need in method.needs
            if not any(source.views for source in sources[need])
        ]

    def _sample_for(self, method: Method) -> FeedbackSample:
        sample = self._sample.plain_texts() if method.target == "weights" else self._sample
        return sample.on_aspect(None) if method.every_aspect else sample

    def _source(self, method: Method, kind: str, view: type[View], condition: str) -> ViewSource:
        views = self._sample_for(method).by_kind(view).get(kind, [])
        return ViewSource(
            kind=kind,
            view=view.__name__,
            count=self.counts.count(kind, every_aspect=method.every_aspect),
            held_out=self.counts.held_out[kind],
            views=sum(map(has_lesson, views)),
            condition=condition,
        )

    def _is_met(self, method: Method, requirement: AnyRequirement) -> bool:
        if isinstance(requirement, FeedbackRequirement):
            return requirement.is_met(self._sample_for(method))
        if requirement not in self._met:
            self._met[requirement] = (
                not self._policies or any(map(requirement.is_met, self._policies))
                if isinstance(requirement, PolicyRequirement)
                else requirement.is_met(self.feedback.store)
            )
        return self._met[requirement]


def has_lesson(view: View) -> bool:
    """Return whether a method can learn from a view: a tie says which of two is better of neither.

    The two responses of a pair must differ in their texts, which are what methods read.
    """
    return not isinstance(view, Pair) or (not view.tie and view.chosen != view.rejected)


def require_lesson(method: Method, feedback: TrainingSet, policy: Policy) -> None:
    """Raise an error if a training set holds nothing that a method can learn from.

    It is raised before anything is spent. What only the method itself can find out, such as how its
    samples turn out, is no reason.

    Parameters
    ----------
    method : Method
        Method that is to learn.
    feedback : TrainingSet
        Feedback to learn from.
    policy : Policy
        Policy to improve.

    Raises
    ------
    BacktalkError
        If there is nothing. The message names what is there, what is missing, what to do and
        which other methods can learn.
    """
    check = AvailabilityCheck(feedback, policy)
    reasons = check.definite_reasons(method)
    if not reasons:
        return
    others = [
        other.name
        for other in METHODS.values()
        if other.name != method.name and check.availability(other).available
    ]
    raise BacktalkError(
        f"{method.name} has nothing to learn from; missing: {'; '.join(reasons)}",
        nothing_learned_mend(check.counts, feedback, method.kinds, others),
    )
