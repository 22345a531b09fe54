"""Suggestions of new values in the replies of a model, with their checks."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from backtalk.errors import BacktalkError
from backtalk.learn.prompt.trace.nodes import Node

_DECODER = json.JSONDecoder(strict=False)
"""Decoder that accepts line breaks in texts, as models write them."""


@dataclass(frozen=True)
class Suggestion:
    """New values by the name of the parameter, with the reasoning of the model."""

    values: Mapping[str, Any] = field(default_factory=dict)
    reasoning: str = ""


def parse_suggestion(reply: str, parameters: Mapping[str, Node]) -> Suggestion:
    """Return the suggestion in a reply, in the types of the parameters.

    Parameters
    ----------
    reply : str
        Text with a JSON object of the keys ``reasoning`` and ``suggestion``; text around it, such
        as a code fence, is ignored.
    parameters : Mapping[str, Node]
        Parameters that may change, by name.

    Raises
    ------
    BacktalkError
        If there is no such object, or a value has an unknown name or does not fit its parameter.
    """
    suggestion = next((one for one in _objects(reply) if "suggestion" in one), None)
    if suggestion is None or not isinstance(suggestion["suggestion"], dict):
        raise BacktalkError(
            "The reply has no JSON object with a suggestion",
            'Write {"reasoning": "...", "suggestion": {...}}',
        )
    values: dict[str, Any] = {}
    for name, value in suggestion["suggestion"].items():
        if name not in parameters:
            raise BacktalkError(
                f"There is no variable {name!r}", f"The variables are {', '.join(parameters)}"
            )
        checked = parameters[name].check(value)
        if checked != parameters[name].value:
            values[name] = checked
    return Suggestion(values, str(suggestion.get("reasoning", "")))


def _objects(text: str) -> Iterator[dict[str, Any]]:
    """Yield the JSON objects in a text, from left to right."""
    start = text.find("{")
    while start >= 0:
        try:
            value, end = _DECODER.raw_decode(text, start)
        except ValueError:
            end = start + 1
        else:
            if isinstance(value, dict):
                yield value
        start = text.find("{", end)
