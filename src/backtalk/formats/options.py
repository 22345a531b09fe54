"""Options of formats: names and values as a person types them, turned into arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback.judgements import Scale

Readers = Mapping[str, Callable[[str], Any]]
"""For each option that a format has, what turns its text into a value."""


def bind(what: str, readers: Readers, given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return keyword arguments for the options given; what is not text is passed as it is.

    Raises
    ------
    UnknownName
        For an option that there is not.
    BacktalkError
        For a value that makes no sense.
    """
    bound = {}
    for name, value in (given or {}).items():
        if name not in readers:
            raise UnknownName.among(f"option of {what} called", name, sorted(readers))
        try:
            bound[name] = readers[name](value) if isinstance(value, str) else value
        except ValueError as error:
            raise BacktalkError(f"Option {name} of {what}: {error}") from None
    return bound


def words(text: str) -> tuple[str, ...]:
    """Read a list: ``"yes, correct"``."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def pairs(text: str) -> dict[str, str]:
    """Read names with values: ``"quality=answer, style=answer"``."""
    results = {}
    for word in words(text):
        name, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"expected NAME=VALUE, got {word!r}")
        results[name.strip()] = value.strip()
    return results


def switch(text: str) -> bool:
    """Read yes or no."""
    known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if text.lower() not in known:
        raise ValueError(f"expected true or false, got {text!r}")
    return known[text.lower()]


def one_of(*known: str) -> Callable[[str], str]:
    """Return what reads one of a few words."""

    def read(text: str) -> str:
        if text not in known:
            raise ValueError(f"expected one of {', '.join(known)}, got {text!r}")
        return text

    return read


def scale(text: str) -> Scale:
    """Read a scale of ratings, worst to best: ``"1-5"``, ``"0-10"``."""
    number = r"\s*(-?\d+(?:\.\d+)?)\s*"
    if (ends := re.fullmatch(f"{number}-{number}", text)) is None:
        raise ValueError(f"expected a scale such as 1-5, got {text!r}")
    return Scale(name=text.replace(" ", ""), low=float(ends[1]), high=float(ends[2]))
