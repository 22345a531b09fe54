"""Circuit breaker: stops requests to a server that keeps failing."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Circuit breaker that opens after consecutive failures.

    Parameters
    ----------
    failure_threshold : int
        Number of consecutive failures that opens the breaker.
    open_seconds : float
        Number of seconds for which the breaker rejects requests. Then one request at a time probes
        the server.
    clock : Callable[[], float], default time.monotonic
        Clock, in seconds.

    Examples
    --------
    >>> clock = iter([0, 5, 10, 11]).__next__
    >>> breaker = CircuitBreaker(failure_threshold=1, open_seconds=10, clock=clock)
    >>> breaker.record_failure()
    >>> breaker.allow_request(), breaker.allow_request(), breaker.allow_request()
    (False, True, False)
    >>> breaker.record_success(); breaker.is_open
    False
    """

    def __init__(
        self,
        *,
        failure_threshold: int,
        open_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._failure_threshold = failure_threshold
        self._open_seconds = open_seconds
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None
        self._is_probing = False

    @property
    def is_open(self) -> bool:
        """If true, requests are rejected except for probes."""
        return self._opened_at is not None

    @property
    def is_rejecting(self) -> bool:
        """If true, no probe is due yet."""
        return self._opened_at is not None and self._clock() - self._opened_at < self._open_seconds

    def allow_request(self) -> bool:
        """Return true if a request may be sent now. Its outcome must then be recorded."""
        if self._opened_at is None:
            return True
        if self._is_probing or self.is_rejecting:
            return False
        self._is_probing = True
        return True

    def record_success(self) -> None:
        """Record a success and close the breaker."""
        self._failures = 0
        self._opened_at = None
        self._is_probing = False

    def record_failure(self) -> None:
        """Record a failure."""
        self._failures += 1
        self._is_probing = False
        if self._opened_at is not None or self._failures >= self._failure_threshold:
            self._opened_at = self._clock()

    def record_cancellation(self) -> None:
        """Record that a request was cancelled before its outcome was known."""
        self._is_probing = False
