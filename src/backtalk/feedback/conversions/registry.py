"""The register of conversions: which view can be made from which kind of feedback, and how."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from backtalk.feedback.views import Case, View

AnyView = TypeVar("AnyView", bound=View)
Function = Callable[[Case], list[AnyView]]


@dataclass(frozen=True)
class Conversion:
    """A function from a case to views, and the kind of feedback that it starts from."""

    source: str
    target: type[View]
    function: Callable[[Case], list[Any]]
    condition: str
    """What the feedback must fulfil to be seen this way, in words; empty if nothing."""


CONVERSIONS: list[Conversion] = []
"""Every conversion there is."""


def conversion(
    target: type[AnyView], source: str, *, condition: str = ""
) -> Callable[[Function[AnyView]], Function[AnyView]]:
    """Register a function as the way from feedback of the ``source`` kind to ``target``."""

    def register(function: Function[AnyView]) -> Function[AnyView]:
        CONVERSIONS.append(Conversion(source, target, function, condition))
        return function

    return register


def views(
    case: Case, target: type[AnyView], *, kinds: Iterable[str] | None = None
) -> list[AnyView]:
    """Return all that the feedback of a case says in the target's terms.

    Parameters
    ----------
    case : Case
        An interaction and its feedback.
    target : type[AnyView]
        The view wanted, such as :class:`~backtalk.feedback.views.Pair`.
    kinds : Iterable[str], optional
        Use only feedback of these kinds; all by default.
    """
    present = {item.kind for item in case.feedback}
    wanted = present if kinds is None else present & set(kinds)
    return cast(
        "list[AnyView]",
        [
            view
            for way in conversions_to(target)
            if way.source in wanted
            for view in way.function(case)
        ],
    )


def conversions_to(target: type[View]) -> list[Conversion]:
    """Return the conversions that lead to a view."""
    return [way for way in CONVERSIONS if way.target is target]
