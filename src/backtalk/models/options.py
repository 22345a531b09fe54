"""Types of options that models share with their specs, and the check of addresses."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from backtalk.errors import BacktalkError

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
"""Number format of weights."""

LimitField = Literal["max_tokens", "max_completion_tokens"]
"""Name of the parameter for the maximum number of tokens of a completion."""

ReplayOrder = Literal["recorded", "shuffled"]
"""Order of the recorded responses to a prompt."""


def normalise_url(address: str) -> str:
    """Return an address without a trailing slash.

    Raises
    ------
    BacktalkError
        If it is not an HTTP address, or may hold a secret: a user, a password, a query.
    """
    parts = urlsplit(address)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise BacktalkError(
            f"{address!r} is not the address of a server", "Use one like http://localhost:8000/v1"
        )
    if parts.username or parts.password or parts.query:
        raise BacktalkError(
            f"The address of {parts.hostname} contains a user, a password or a query",
            "Put the key into an environment variable, and set api_key_env to its name",
        )
    return address.rstrip("/")
