"""Availability of methods: those that can learn from the feedback in a store, and the reasons."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from backtalk.feedback.conversions import conversions_to
from backtalk.feedback.views import View
from backtalk.learn.method import METHODS, Method
from backtalk.learn.requirements import Requirement
from backtalk.store import Store

MAX_CASES = 2_000
"""Number of cases of a kind that are converted to see whether it yields a view."""


@dataclass(frozen=True)
class ViewSource:
    """One kind of feedback as a source of one view."""

    kind: str
    view: str
    count: int
    """Number of feedback items of the kind in the store."""
    views: int
    """Number of views in the first 2,000 cases of the kind."""
    condition: str
    """Condition on the feedback, in words; empty if there is none."""


@dataclass(frozen=True)
class MethodAvailability:
    """Availability of a method on a store.

    A method is available if the store holds some feedback for each of its views and meets its other
    requirements.
    """

    method: Method
    sources: tuple[ViewSource, ...]
    """All kinds of feedback that the method can learn from, also those without any feedback."""
    unmet: tuple[Requirement, ...] = ()
    """Requirements that the store does not meet."""

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
        present = {source.view for source in self.sources if source.views}
        views = (
            " or ".join(source.kind for source in self.sources if source.view == need.__name__)
            for need in self.method.needs
            if need.__name__ not in present
        )
        return (*views, *(requirement.description for requirement in self.unmet))


def available_methods(store: Store) -> list[MethodAvailability]:
    """Return the availability of every method on a store.

    Feedback is counted in the whole store. Up to 2,000 cases of each kind are converted to see
    whether the kind yields the views that a method needs.
    """
    counts = store.counts()
    view_counts: dict[tuple[str, str], int] = {}
    met: dict[Requirement, bool] = {}

    def count_views(kind: str, view: type[View]) -> int:
        key = kind, view.__name__
        if key not in view_counts:
            cases = islice(store.cases(kinds=[kind]), MAX_CASES) if counts.get(kind) else ()
            functions = [way.function for way in conversions_to(view) if way.source == kind]
            view_counts[key] = sum(len(convert(case)) for case in cases for convert in functions)
        return view_counts[key]

    def is_met(requirement: Requirement) -> bool:
        if requirement not in met:
            met[requirement] = requirement.is_met(store)
        return met[requirement]

    return [
        MethodAvailability(
            method,
            tuple(
                ViewSource(
                    kind=way.source,
                    view=need.__name__,
                    count=counts.get(way.source, 0),
                    views=count_views(way.source, need),
                    condition=way.condition,
                )
                for need in method.needs
                for way in conversions_to(need)
            ),
            tuple(one for one in method.requires if not is_met(one)),
        )
        for method in METHODS.values()
    ]
