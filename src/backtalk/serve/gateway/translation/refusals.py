"""Refusal of what chat completions cannot express."""

from __future__ import annotations

from typing import Any

from backtalk.serve.errors import APIError


def cannot_express(path: str, value: Any = None) -> APIError:
    """Return the error about a part of a request that chat completions cannot express.

    Parameters
    ----------
    path : str
        Path of the part in the request.
    value : Any, optional
        Value, if other values of the field can be expressed.

    Examples
    --------
    >>> cannot_express("truncation", "auto").param
    'truncation'
    """
    shown = "" if value is None else f" with the value {value!r}"
    return APIError(
        400,
        f"{path}{shown} cannot be translated to chat completions, which the upstream or the "
        f"policy of this request is limited to. Leave it out, or name a model of an upstream that "
        "has this API itself",
        code="unsupported_parameter",
        param=path,
    )


def invalid(path: str, expected: str) -> APIError:
    """Return the error about a part of a request that is not valid.

    Parameters
    ----------
    path : str
        Path of the part in the request.
    expected : str
        Description of valid values.
    """
    return APIError(400, f"{path}: expected {expected}", code="invalid_value", param=path)
