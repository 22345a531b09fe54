"""Options of formats: parsing of names and values given on the command line."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback.kinds import Scale

OptionParsers = Mapping[str, Callable[[str], Any]]
"""Functions that parse the text of an option, by the option's name."""


def bind_options(
    owner: str, parsers: OptionParsers, options: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return keyword arguments for options; a value that is not text is passed unchanged.

    Parameters
    ----------
    owner : str
        Name of what has the options, for error messages, such as ``"format 'argilla'"``.
    parsers : mapping of str to callable
        Parsers of the options that exist.
    options : mapping of str to Any, optional
        Options given.

    Raises
    ------
    UnknownName
        If there is no such option.
    BacktalkError
        If a value is not valid.
    """
    bound = {}
    for name, value in (options or {}).items():
        if name not in parsers:
            raise UnknownName.among(f"option of {owner} called", name, sorted(parsers))
        try:
            bound[name] = parsers[name](value) if isinstance(value, str) else value
        except ValueError as error:
            raise BacktalkError(f"Option {name} of {owner}: {error}") from None
    return bound


def parse_list(text: str) -> tuple[str, ...]:
    """Parse a comma-separated list: ``"yes, correct"``."""
    return tuple(word.strip() for word in text.split(",") if word.strip())


def parse_pairs(text: str) -> dict[str, str]:
    """Parse names with values: ``"quality=answer, style=answer"``."""
    pairs = {}
    for item in parse_list(text):
        name, equals, value = item.partition("=")
        if not equals:
            raise ValueError(f"expected NAME=VALUE, got {item!r}")
        pairs[name.strip()] = value.strip()
    return pairs


def parse_scale(text: str) -> Scale:
    """Parse a scale of ratings, worst to best: ``"1-5"``, ``"0-10"``, ``"-3 to 3"``."""
    number = r"\s*(-?\d+(?:\.\d+)?)\s*"
    if (match := re.fullmatch(rf"{number}(?:-|\.\.|to){number}", text)) is None:
        raise ValueError(f"expected a scale such as 1-5, got {text!r}")
    return Scale(name=f"{match[1]}-{match[2]}", low=float(match[1]), high=float(match[2]))


def parse_scales(text: str) -> dict[str, Scale]:
    """Parse one scale for all, or scales by name: ``"1-7"``, ``"tone=1-3, quality=0-10"``.

    The scale for all others has the name ``""``.
    """
    scales = {}
    for item in parse_list(text):
        name, _, scale = item.rpartition("=")
        scales[name.strip()] = parse_scale(scale)
    return scales
