"""One account of what all models of a run cost, which is never overdrawn."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal, Self

from backtalk.models.errors import BudgetExceeded, MissingPrice
from backtalk.models.protocol import Usage
from backtalk.models.wakeup import CrossLoopEvent
from backtalk.models.wrappers.budget import Budget, Cost, Price, Prices
from backtalk.models.wrappers.ledger_log import LedgerEntry, LedgerLog

log = logging.getLogger(__name__)

Role = Literal["task", "judge", "learner"]
"""What a model is used for: to answer, to judge answers, or to propose changes."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """A call that may be made, and the most that it can cost."""

    number: int
    role: str
    model: str
    most: Cost


class Ledger:
    """What is spent, what is reserved by calls in flight, and what may still be spent.

    A call reserves the most that it can cost, and is settled with what it did cost. So no limit is
    overrun, however many calls are in flight, as long as each model keeps to its bound.

    Parameters
    ----------
    budget : Budget, optional
        The limits.
    prices : Prices, optional
        What models cost; needed for each model where money is limited.
    path : Path | str, optional
        A journal, kept as JSON lines. A ledger with the journal of an earlier run goes on from
        what that spent; calls that were in flight when it was killed count with the most that
        they could cost. One process at a time may use it.

    Examples
    --------
    >>> ledger = Ledger(Budget(calls=2))
    >>> ledger.settle(ledger.try_reserve("task", "small", Usage(1, 10, 5)), Usage(1, 10, 3))
    >>> ledger.spent.usage.tokens
    13
    """

    def __init__(
        self,
        budget: Budget | None = None,
        *,
        prices: Prices | None = None,
        path: Path | str | None = None,
    ) -> None:
        self.budget = budget or Budget()
        self.prices = dict(prices or {})
        self._lock = threading.Lock()
        self._bell = CrossLoopEvent()
        self._by_role: dict[str, Cost] = {}
        self._spent = Cost()
        self._reserved = Cost()
        self._numbered = 0
        self._in_flight = 0
        self._since = 0.0
        self._clock = 0.0
        self._journal = None if path is None else LedgerLog(Path(path))
        if self._journal is not None:
            self._go_on(self._journal.entries)

    @property
    def spent(self) -> Cost:
        """What was spent so far, by settled calls."""
        with self._lock:
            return self._spent

    @property
    def by_role(self) -> dict[str, Cost]:
        """What was spent so far, by the role of the model."""
        with self._lock:
            return dict(self._by_role)

    @property
    def seconds(self) -> float:
        """The time during which at least one call was in flight."""
        with self._lock:
            return self._seconds()

    @property
    def seconds_left(self) -> float | None:
        """How long calls may still take; ``None`` without a limit."""
        limit = self.budget.seconds
        return None if limit is None else max(limit - self.seconds, 0.0)

    def price(self, model: str) -> Price:
        """Return what a model costs.

        Raises
        ------
        Unpriced
            If that is not known although money is limited. It counts as free otherwise.
        """
        if model in self.prices:
            return self.prices[model]
        if self.budget.money is None:
            return Price(prompt=0, completion=0)
        raise MissingPrice(
            f"Money is limited, and the price of {model!r} is not known",
            "Add it to the prices, with 0 for a model that costs nothing; priced are: "
            + (", ".join(self.prices) or "none"),
        )

    def try_reserve(self, role: Role, model: str, most: Usage) -> Reservation | None:
        """Reserve the most that a call can cost.

        Returns
        -------
        Reservation or None
            ``None`` if it does not fit until calls in flight have been settled.

        Raises
        ------
        BudgetSpent
            If it does not fit at all.
        """
        needed = Cost(most, self.price(model).of(most))
        with self._lock:
            self._check(needed)
            if self._overrun(self._spent + self._reserved + needed) is not None:
                return None
            self._numbered += 1
            reservation = Reservation(self._numbered, role, model, needed)
            self._reserved += needed
            if self._in_flight == 0:
                self._since = time.monotonic()
            self._in_flight += 1
            self._write("reserve", reservation, needed)
            return reservation

    async def reserve(self, role: Role, model: str, mosts: Sequence[Usage]) -> list[Reservation]:
        """Reserve as many of these calls, from the first on, as fit at present; at least one.

        Waits for calls in flight to be settled where their reservations are all that is in the
        way. Who waits must not hold a reservation.

        Raises
        ------
        BudgetSpent
            If the first does not fit at all.
        """
        while True:
            with self._lock:
                settled = self._bell.wait()
            held: list[Reservation] = []
            try:
                for most in mosts:
                    reservation = self.try_reserve(role, model, most)
                    if reservation is None:
                        break
                    held.append(reservation)
            except BudgetExceeded:
                if not held:
                    raise
            if held or not mosts:
                return held
            await settled.wait()

    def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Put what a call did cost in the place of what was reserved for it."""
        cost = Cost(usage, self.price(reservation.model).of(usage))
        most = _amounts(reservation.most)
        if any(amount > most[limit] for limit, amount in _amounts(cost).items()):
            log.warning("%s took more than its bound, a limit may be overrun", reservation.model)
        with self._lock:
            self._reserved -= reservation.most
            self._count(reservation.role, cost)
            self._in_flight -= 1
            if self._in_flight == 0:
                self._clock += time.monotonic() - self._since
            self._write("settle", reservation, cost)
            self._bell.notify()

    def close(self) -> None:
        """Close the journal."""
        with self._lock:
            if self._journal is not None:
                self._journal.close()
                self._journal = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self, needed: Cost) -> None:
        limit = self._overrun(self._spent + needed)
        if limit is not None:
            used, wanted = _amounts(self._spent)[limit], _amounts(needed)[limit]
            allowed = getattr(self.budget, limit)
            raise BudgetExceeded(limit, spent=used, allowed=allowed, needed=wanted)
        seconds = self.budget.seconds
        if seconds is not None and self._seconds() >= seconds:
            raise BudgetExceeded("seconds", spent=self._seconds(), allowed=seconds)

    def _overrun(self, total: Cost) -> str | None:
        """Return the limit that a total lies above, if it does."""
        for limit, amount in _amounts(total).items():
            allowed = getattr(self.budget, limit)
            if allowed is not None and amount > Decimal(str(allowed)):
                return limit
        return None

    def _write(self, event: Literal["reserve", "settle"], of: Reservation, cost: Cost) -> None:
        if self._journal is not None:
            entry = LedgerEntry(event, of.number, of.role, of.model, cost, self._seconds())
            self._journal.write(entry)

    def _go_on(self, entries: Sequence[LedgerEntry]) -> None:
        unsettled: dict[int, LedgerEntry] = {}
        for entry in entries:
            self._numbered = max(self._numbered, entry.number)
            self._clock = max(self._clock, entry.clock)
            if entry.event == "reserve":
                unsettled[entry.number] = entry
            else:
                unsettled.pop(entry.number, None)
                self._count(entry.role, entry.cost)
        for entry in unsettled.values():
            self._count(entry.role, entry.cost)

    def _seconds(self) -> float:
        running = time.monotonic() - self._since if self._in_flight else 0.0
        return self._clock + running

    def _count(self, role: str, cost: Cost) -> None:
        self._spent += cost
        self._by_role[role] = self._by_role.get(role, Cost()) + cost


def _amounts(spent: Cost) -> dict[str, Decimal]:
    return {
        "calls": Decimal(spent.usage.calls),
        "tokens": Decimal(spent.usage.tokens),
        "money": spent.money,
    }
