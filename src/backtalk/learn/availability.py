"""What can run: which methods the feedback in a store can drive, and through which kinds."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

from backtalk.feedback.conversions import conversions_to
from backtalk.feedback.views import View
from backtalk.learn.method import METHODS, Method
from backtalk.store import Store

CASES_LOOKED_AT = 2_000


@dataclass(frozen=True)
class ViewSource:
    """One kind of feedback as a source of one view."""

    kind: str
    view: str
    count: int
    """How much feedback of the kind there is."""
    found: int
    """How many such views the cases that were looked at hold."""
    condition: str
    """What the feedback has to fulfil, in words; empty if nothing."""


@dataclass(frozen=True)
class MethodAvailability:
    """Whether a method can learn from what is in a store."""

    method: Method
    ways: tuple[ViewSource, ...]
    """Every kind that could drive it, whether or not there is any."""

    @property
    def ready(self) -> bool:
        """Whether there is some of everything that it needs."""
        results = {way.view for way in self.ways if way.found}
        return all(need.__name__ in results for need in self.method.needs)

    @property
    def drivers(self) -> tuple[str, ...]:
        """The kinds in the store that can drive it."""
        return tuple(sorted({way.kind for way in self.ways if way.found}))

    @property
    def missing(self) -> str:
        """The kinds of which something has to be collected; empty if it is ready."""
        if self.ready:
            return ""
        results = {way.view for way in self.ways if way.found}
        return "; ".join(
            " or ".join(way.kind for way in self.ways if way.view == need.__name__)
            for need in self.method.needs
            if need.__name__ not in results
        )


def available_methods(store: Store) -> list[MethodAvailability]:
    """Return every method, with the feedback in the store that could drive it.

    The counts are those of the whole store. Whether a kind really can be seen in the way that a
    method needs is looked up in the first 2,000 cases with feedback of that kind.
    """
    counts = store.counts()
    seen: dict[tuple[str, str], int] = {}

    def found(kind: str, view: type[View]) -> int:
        key = kind, view.__name__
        if key not in seen:
            cases = islice(store.cases(kinds=[kind]), CASES_LOOKED_AT) if counts.get(kind) else ()
            ways = [way.function for way in conversions_to(view) if way.source == kind]
            seen[key] = sum(len(way(case)) for case in cases for way in ways)
        return seen[key]

    return [
        MethodAvailability(
            method,
            tuple(
                ViewSource(
                    kind=way.source,
                    view=need.__name__,
                    count=counts.get(way.source, 0),
                    found=found(way.source, need),
                    condition=way.condition,
                )
                for need in method.needs
                for way in conversions_to(need)
            ),
        )
        for method in METHODS.values()
    ]
