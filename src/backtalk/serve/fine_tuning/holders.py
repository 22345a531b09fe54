"""Holders of leases: processes of a machine, whose leases end when they die."""

from __future__ import annotations

import os
import secrets
import socket

from backtalk.store.leases import Leases


def machine_lease() -> str:
    """Return the name of the lease of the process that runs the jobs on this machine."""
    return f"fine-tune worker on {socket.gethostname()}"


def new_holder() -> str:
    """Return a name for this process as the holder of leases."""
    return f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"


def acquire(leases: Leases, name: str, holder: str, seconds: float) -> int | None:
    """Acquire a lease that nobody holds, or whose holder on this machine has died.

    Parameters
    ----------
    leases : Leases
        Leases of a project.
    name : str
        Name of the lease.
    holder : str
        Name of the caller, from :func:`new_holder`.
    seconds : float
        Duration.

    Returns
    -------
    int or None
        Term of the lease; ``None`` if somebody else holds it.
    """
    term = leases.acquire(name, holder, seconds)
    if term is None and not is_held(leases, name):
        term = leases.acquire(name, holder, seconds)
    return term


def is_held(leases: Leases, name: str) -> bool:
    """Return true if a living process holds a lease. That of a dead one is released."""
    lease = leases.find(name)
    if lease is None:
        return False
    if not _has_died(lease.holder):
        return True
    leases.release(name, lease.holder)
    return False


def _has_died(holder: str) -> bool:
    """Return true if a holder is a process of this machine that no longer exists."""
    host, _, rest = holder.partition(":")
    pid = rest.partition(":")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False
