"""A circuit breaker: a server that keeps failing is left alone for a while."""

from __future__ import annotations

import time
from collections.abc import Callable


class CircuitBreaker:
    """Counts failures in a row, and says whether to try.

    Parameters
    ----------
    failures : int
        After so many in a row it is left alone,
    rest : float
        for so many seconds. Then one request at a time tries whether it is back.
    clock : Callable[[], float], default time.monotonic
        Tells the time in seconds.

    Examples
    --------
    >>> breaker = CircuitBreaker(failures=1, rest=10, clock=iter([0, 5, 10, 11]).__next__)
    >>> breaker.failed()
    >>> breaker.allows(), breaker.allows(), breaker.allows()
    (False, True, False)
    >>> breaker.succeeded(); breaker.open
    False
    """

    def __init__(
        self, *, failures: int, rest: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._most = failures
        self._rest = rest
        self._clock = clock
        self._failures = 0
        self._since: float | None = None
        self._trying = False

    @property
    def open(self) -> bool:
        """Whether it is left alone."""
        return self._since is not None

    def allows(self) -> bool:
        """Say whether to try now; who is allowed has to say what came of it."""
        if self._since is None:
            return True
        if self._trying or self._clock() - self._since < self._rest:
            return False
        self._trying = True
        return True

    def succeeded(self) -> None:
        """Take note of a success: all is well."""
        self._failures = 0
        self._since = None
        self._trying = False

    def failed(self) -> None:
        """Take note of a failure."""
        self._failures += 1
        self._trying = False
        if self._since is not None or self._failures >= self._most:
            self._since = self._clock()

    def given_up(self) -> None:
        """Take note that nobody waited for what would come of it."""
        self._trying = False
