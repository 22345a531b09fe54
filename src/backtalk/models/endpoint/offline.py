"""The switch that forbids real endpoints, for tests and for places without a network."""

from __future__ import annotations

import ipaddress
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from backtalk.models.errors import OfflineError

VARIABLE = "BACKTALK_OFFLINE"

_lock = threading.Lock()
_forbidding = 0


@contextmanager
def offline_mode() -> Iterator[None]:
    """Forbid real endpoints while the block runs, in all threads.

    Setting ``BACKTALK_OFFLINE=1`` forbids them for the whole process. The machine's own loopback
    addresses stay allowed, so that a test can talk to a server of its own. Local models are then
    loaded from disk only.

    >>> with offline_mode():
    ...     check_allowed("https://api.example.com/v1")
    Traceback (most recent call last):
    ...
    backtalk.models.errors.OfflineError: Calls to api.example.com are forbidden here. ...
    """
    global _forbidding  # noqa: PLW0603 - the switch is the process's
    with _lock:
        _forbidding += 1
    try:
        yield
    finally:
        with _lock:
            _forbidding -= 1


def endpoints_forbidden() -> bool:
    """Return whether real endpoints are forbidden at present."""
    named = os.environ.get(VARIABLE, "").strip().lower()
    return _forbidding > 0 or named not in {"", "0", "false", "no"}


def check_allowed(address: str) -> None:
    """Refuse an address that is not this machine's own while real endpoints are forbidden.

    Raises
    ------
    EndpointForbidden
        If it is refused.
    """
    host = urlsplit(address).hostname or address
    if endpoints_forbidden() and not _is_loopback(host):
        raise OfflineError(
            f"Calls to {host} are forbidden here",
            f"Leave forbid_endpoints(), unset {VARIABLE}, or use a recorded or scripted model",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
