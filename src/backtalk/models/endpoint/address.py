"""Address of an endpoint: explicit, or an error. Prompts are never sent to a default host."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from backtalk.models.errors import MissingAddress
from backtalk.models.options import normalise_url

OPENAI = "https://api.openai.com/v1"
"""Address of OpenAI, which is named in questions and mends, and never used unless it is named."""

VARIABLE = "OPENAI_BASE_URL"
"""Environment variable that holds the address of endpoints that name none."""

_lock = threading.Lock()
_agreed: list[str] = []


@contextmanager
def default_address(address: str) -> Iterator[None]:
    """Send prompts of endpoints without an address to this one while the block runs.

    It applies to all threads and takes precedence over ``OPENAI_BASE_URL``.

    >>> with default_address("http://localhost:8000/v1"):
    ...     resolve_address("small")
    'http://localhost:8000/v1'
    """
    address = normalise_url(address)
    with _lock:
        _agreed.append(address)
    try:
        yield
    finally:
        with _lock:
            _agreed.remove(address)


def find_default_address() -> tuple[str, str] | None:
    """Return the address of endpoints that name none and where it comes from, or ``None``."""
    if _agreed:
        return _agreed[-1], "as agreed"
    address = os.environ.get(VARIABLE, "").strip()
    return (normalise_url(address), VARIABLE) if address else None


def resolve_address(model: str, base_url: str | None = None) -> str:
    """Return the address of an endpoint.

    Parameters
    ----------
    model : str
        Name of the model, for the error.
    base_url : str, optional
        Address that the recipe names. Default: that of :func:`default_address`, or of the
        environment variable ``OPENAI_BASE_URL``.

    Raises
    ------
    MissingAddress
        If no address is named. A key in the environment is no consent to send prompts anywhere.
    """
    if base_url is not None:
        return normalise_url(base_url)
    default = find_default_address()
    if default is None:
        raise missing_address(model)
    return default[0]


def missing_address(model: str) -> MissingAddress:
    """Return the error for an endpoint without an address."""
    return MissingAddress(
        f"The endpoint model {model!r} has no address, and prompts are not sent to a host that "
        "nobody named",
        f"Write `base_url: {OPENAI}`, or another address, into the model of the policy, and "
        f"`llm:MODEL@{OPENAI}` for a judge; or set "
        f"{VARIABLE}; or add `--send-to {OPENAI}` to the command",
    )


def host_of(address: str) -> str:
    """Return the host of an address, with its port if there is one.

    >>> host_of("https://api.example.com/v1"), host_of("http://localhost:8000/v1")
    ('api.example.com', 'localhost:8000')
    """
    return urlsplit(address).netloc
