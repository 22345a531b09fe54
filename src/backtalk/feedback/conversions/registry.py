"""Registry of conversions from kinds of feedback to views."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from backtalk.feedback.case import Case
from backtalk.feedback.views import View
from backtalk.registry import Registry

ViewT = TypeVar("ViewT", bound=View)
Convert = Callable[[Case], list[ViewT]]


@dataclass(frozen=True)
class Conversion:
    """Function from a case to views, for one kind of feedback."""

    source: str
    """Kind of feedback that is converted."""
    target: type[View]
    """Class of the views."""
    function: Callable[[Case], list[Any]]
    condition: str
    """Requirement on the feedback, in words; empty if there is none."""


_MODULES = ("critiques", "examples", "labels", "pairs", "rankings", "scores", "weights")

CONVERSIONS: Registry[Conversion] = Registry(
    "conversion",
    modules=tuple(f"backtalk.feedback.conversions.{name}" for name in _MODULES),
    item_type=Conversion,
)
"""All conversions by the name of their function."""


def conversion(
    target: type[ViewT], source: str, *, condition: str = ""
) -> Callable[[Convert[ViewT]], Convert[ViewT]]:
    """Register the decorated function as the conversion of a kind of feedback to a view.

    Parameters
    ----------
    target : type of View
        View that the function returns.
    source : str
        Kind of feedback that it converts.
    condition : str, default ""
        Requirement on the feedback, in words.
    """

    def register(function: Convert[ViewT]) -> Convert[ViewT]:
        item = Conversion(source, target, function, condition)
        CONVERSIONS.register(function.__name__, item, origin=function)
        return function

    return register


def views(case: Case, target: type[ViewT], *, kinds: Iterable[str] | None = None) -> list[ViewT]:
    """Convert the feedback of a case to one kind of view.

    Of several judgements of one thing by one annotator, the last counts; see
    :func:`~backtalk.feedback.latest_votes.latest_votes`.

    Parameters
    ----------
    case : Case
        An interaction and its feedback.
    target : type of View
        Class of the views, such as :class:`~backtalk.feedback.views.Pair`.
    kinds : iterable of str, optional
        Kinds of feedback to convert; all by default.
    """
    case = case.latest()
    present = {item.kind for item in case.feedback}
    selected = present if kinds is None else present & set(kinds)
    return cast(
        "list[ViewT]",
        [
            view
            for conversion in conversions_to(target)
            if conversion.source in selected
            for view in conversion.function(case)
        ],
    )


def conversions_to(target: type[View]) -> list[Conversion]:
    """Return the conversions to a view."""
    return [item for item in CONVERSIONS.values() if item.target is target]
