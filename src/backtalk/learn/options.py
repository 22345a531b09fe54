"""Options of methods and objectives: checked against the types of a function's parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ConfigDict, ValidationError, create_model

from backtalk.errors import BacktalkError, UnknownName
from backtalk.feedback.record import explain


def read_options(
    name: str, usual: Mapping[str, Any], types: Mapping[str, Any], given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return options of the right types, texts converted, defaults filled in.

    Parameters
    ----------
    name : str
        Whose options they are.
    usual : Mapping[str, Any]
        All options there are, with their defaults.
    types : Mapping[str, Any]
        The type of each.
    given : Mapping[str, Any]
        What the user gave.

    Raises
    ------
    UnknownName
        For an option that there is not; it lists those that there are.
    BacktalkError
        For a value that does not fit.
    """
    for option in given:
        if option not in usual:
            raise UnknownName.among(f"option of {name}", option, list(usual))
    fields: Any = {option: (types[option], default) for option, default in usual.items()}
    model = create_model("Options", __config__=ConfigDict(extra="forbid"), **fields)
    try:
        return model(**given).model_dump()
    except ValidationError as error:
        raise BacktalkError(f"An option of {name} is not valid: {explain(error)}") from None
