"""Heartbeat that renews a lease while work is in progress."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Self

from backtalk.feedback.record import now
from backtalk.store.availability import UNAVAILABLE
from backtalk.store.leases import Leases

log = logging.getLogger(__name__)

_RENEWALS_PER_LEASE = 3


class LeaseHeartbeat:
    """Context manager that renews a lease on a background thread.

    Parameters
    ----------
    leases : Leases
        Leases of the store.
    name : str
        Name of the lease, which the holder has acquired.
    holder : str
        Holder of the lease.
    seconds : float
        Duration of the lease.
    on_lost : Callable[[], None]
        Function called on the background thread if the lease is lost.
    """

    def __init__(
        self, leases: Leases, name: str, holder: str, seconds: float, on_lost: Callable[[], None]
    ) -> None:
        self._leases = leases
        self._lease = (name, holder, seconds)
        self._on_lost = on_lost
        self._seconds = seconds
        self._expires = now() + timedelta(seconds=seconds)
        self._closed = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._beat, name="backtalk-heartbeat", daemon=True)

    @property
    def lost(self) -> bool:
        """True if the lease is lost or expired, such as after the process was suspended."""
        return self._lost or now() >= self._expires

    def _beat(self) -> None:
        while not self._closed.wait(self._seconds / _RENEWALS_PER_LEASE):
            began = now()
            try:
                renewed = self._leases.renew(*self._lease)
            except UNAVAILABLE as error:
                log.warning("The lease could not be renewed: %s", error)
                renewed = not self.lost
            else:
                self._expires = began + timedelta(seconds=self._seconds)
            if not renewed:
                self._lost = True
                self._on_lost()
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        self._thread.join()
