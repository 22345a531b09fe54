"""Types of the parameters of requests that are translated."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from backtalk.serve.gateway.translation.refusals import invalid


@dataclass(frozen=True)
class ParameterType:
    """Type of a parameter."""

    description: str
    """Valid values in words."""
    accepts: Callable[[Any], bool]
    """Returns true for a valid value."""


def _is_number(value: Any) -> bool:
    return type(value) in {int, float} and math.isfinite(value)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


TEXT = ParameterType("a text", lambda value: isinstance(value, str))
TEXTS = ParameterType("a list of texts", _are_texts)
BOOLEAN = ParameterType("true or false", lambda value: isinstance(value, bool))
NUMBER = ParameterType("a number", _is_number)
COUNT = ParameterType("an integer from 0", lambda value: type(value) is int and value >= 0)
POSITIVE = ParameterType("a positive integer", lambda value: type(value) is int and value > 0)
OBJECT = ParameterType("an object", lambda value: isinstance(value, dict))
LIST = ParameterType("a list", lambda value: isinstance(value, list))
TEXT_OR_LIST = ParameterType("a text or a list", lambda value: isinstance(value, str | list))
TEXT_OR_OBJECT = ParameterType("a text or an object", lambda value: isinstance(value, str | dict))

Types = Mapping[str, ParameterType]
"""Types by the names of the parameters."""


def check_types(
    value: Any, types: Types, path: str = "", *, required: Collection[str] = ()
) -> None:
    """Check the types of the parameters in an object. ``null`` is as good as none.

    Parameters
    ----------
    value : Any
        Object with the parameters.
    types : Mapping[str, ParameterType]
        Types by name; other parameters are not checked.
    path : str, default ""
        Path of the object in the request; empty for the request itself.
    required : collection of str, default ()
        Names of the parameters that may not be missing.

    Raises
    ------
    APIError
        If it is no object, or a parameter has another type or is missing; the error names it.

    Examples
    --------
    >>> check_types({"effort": "low"}, {"effort": TEXT}, "reasoning")
    """
    if not isinstance(value, dict):
        raise invalid(path, OBJECT.description)
    for name, parameter_type in types.items():
        item = value.get(name)
        is_missing = item is None
        if is_missing and name not in required:
            continue
        if is_missing or not parameter_type.accepts(item):
            raise invalid(f"{path}.{name}" if path else name, parameter_type.description)
