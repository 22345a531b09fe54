"""Offline mode: forbids calls to remote endpoints, for tests and machines without a network."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from backtalk.models.errors import OfflineError

VARIABLE = "BACKTALK_OFFLINE"
"""Environment variable that enables offline mode for the whole process."""

_lock = threading.Lock()
_depth = 0


@contextmanager
def offline_mode() -> Iterator[None]:
    """Forbid calls to remote endpoints while the block runs, in all threads.

    ``BACKTALK_OFFLINE=1`` forbids them for the whole process. Loopback addresses stay allowed, so
    that a test can call a server of its own. Local models are loaded from disk only.

    >>> with offline_mode():
    ...     check_online("https://api.example.com/v1")
    Traceback (most recent call last):
    ...
    backtalk.models.errors.OfflineError: Calls to api.example.com are forbidden in offline mode. ...
    """
    global _depth  # noqa: PLW0603 - offline mode is a property of the process
    with _lock:
        _depth += 1
    try:
        yield
    finally:
        with _lock:
            _depth -= 1


def is_offline() -> bool:
    """Return true if offline mode is enabled."""
    value = os.environ.get(VARIABLE, "").strip().lower()
    return _depth > 0 or value not in {"", "0", "false", "no"}


def check_online(address: str) -> None:
    """Raise an error for a remote address in offline mode.

    Raises
    ------
    OfflineError
        If offline mode is enabled and the address is not a loopback address.
    """
    host = urlsplit(address).hostname or address
    if is_offline() and not _is_loopback(host):
        raise OfflineError(
            f"Calls to {host} are forbidden in offline mode",
            f"Leave offline_mode(), unset {VARIABLE}, or use a recorded or scripted model",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
