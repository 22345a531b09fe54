"""Keeping a lease while work is going on."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import timedelta
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from backtalk.feedback.record import now
from backtalk.store.leases import Leases

log = logging.getLogger(__name__)

_BEATS = 3
"""How often a lease is renewed before it runs out."""


class LeaseHeartbeat:
    """Renews a lease, on a thread, while the block runs.

    Parameters
    ----------
    leases, name, holder, seconds
        The lease, which the holder has just taken.
    lost : Callable[[], None]
        Called, on the thread, once the lease is lost.
    """

    def __init__(
        self, leases: Leases, name: str, holder: str, seconds: float, lost: Callable[[], None]
    ) -> None:
        self._leases = leases
        self._lease = (name, holder, seconds)
        self._lost = lost
        self._seconds = seconds
        self._until = now() + timedelta(seconds=seconds)
        self._over = threading.Event()
        self._gone = False
        self._thread = threading.Thread(target=self._beat, name="backtalk-heart", daemon=True)

    @property
    def stopped(self) -> bool:
        """Whether the lease is lost; a process that was asleep knows at once when it wakes."""
        return self._gone or now() >= self._until

    def _beat(self) -> None:
        while not self._over.wait(self._seconds / _BEATS):
            began = now()
            try:
                held = self._leases.renew(*self._lease)
            except SQLAlchemyError as error:
                log.warning("The lease could not be renewed: %s", error)
                held = not self.stopped
            else:
                self._until = began + timedelta(seconds=self._seconds)
            if not held:
                self._gone = True
                self._lost()
                return

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
