"""Comparisons of two responses as public datasets write them: an index or a signed strength.

>>> read_choice(Fields({"choice": 1}), "choice")
'b'
>>> read_signed_preference(Fields({"preference": -2}), "preference", limit=3)
('a', 0.6666666666666666)
"""

from __future__ import annotations

from typing import Any

from backtalk.errors import RecordError
from backtalk.feedback.annotator import Annotator
from backtalk.feedback.interaction import Interaction, Response
from backtalk.feedback.kinds import Preference, Verdict
from backtalk.formats.content_ids import make_feedback
from backtalk.formats.fields import Fields


def person_of_row(index: int) -> Annotator:
    """Return an unknown person who is told apart from the other people of the same row.

    Parameters
    ----------
    index : int
        Position of the person in the row, from 0. It says nothing about other rows.
    """
    return Annotator.human(f"unknown-{index + 1}")


def read_choice(fields: Fields, name: str, *, first: int = 0) -> Verdict:
    """Return the verdict of a field that is 0 or 1 for the better one of two responses.

    Parameters
    ----------
    fields : Fields
        Fields of the row.
    name : str
        Name of the field.
    first : {0, 1}
        Value that stands for the first response; 0 by default, its index.

    Raises
    ------
    RecordError
        If it is missing or another value.
    """
    index = fields.integer(name)
    if index not in {0, 1}:
        raise fields.error(name, f"expected 0 or 1, got {index}")
    return "a" if index == first else "b"


def read_signed_preference(
    fields: Fields, name: str, *, limit: float
) -> tuple[Verdict, float | None]:
    """Return the verdict and the strength of a number below 0 for the first response.

    Parameters
    ----------
    fields : Fields
        Fields of the row.
    name : str
        Name of the field: below 0 if the first response is better, above 0 if the second is,
        0 for a tie.
    limit : float
        Absolute value of the strongest preference, which gets the strength 1.

    Raises
    ------
    RecordError
        If it is missing or beyond the limit.
    """
    number = fields.number(name)
    if abs(number) > limit:
        raise fields.error(name, f"expected a number from {-limit:g} to {limit:g}, got {number:g}")
    if not number:
        return "tie", None
    return ("a" if number < 0 else "b"), abs(number) / limit


def make_preference(
    interaction: Interaction, annotator: Annotator, verdict: Verdict, **fields: Any
) -> Preference:
    """Build a preference between the first two responses of an interaction.

    Parameters
    ----------
    interaction : Interaction
        Interaction with at least two responses.
    annotator : Annotator
        Source of the preference.
    verdict : {"a", "b", "tie", "both_bad"}
        ``"a"`` for the first response.
    **fields : Any
        Other fields, as in :func:`~backtalk.formats.content_ids.make_feedback`.

    Raises
    ------
    RecordError
        If the better response is empty or the same as the other one.
    """
    a, b = interaction.responses[:2]
    if verdict in {"a", "b"}:
        better, worse = (a, b) if verdict == "a" else (b, a)
        check_better(better, worse)
    return make_feedback(
        Preference, interaction, annotator, a=a.id, b=b.id, verdict=verdict, **fields
    )


def check_better(better: Response, worse: Response) -> None:
    """Check that a response can be preferred to another.

    Raises
    ------
    RecordError
        If the better response is empty or the same as the other one.
    """
    if not better.text.strip() and not better.messages:
        raise RecordError("the preferred response is empty")
    if better.text == worse.text and better.messages == worse.messages:
        raise RecordError("the preferred response is the same as the other one")
