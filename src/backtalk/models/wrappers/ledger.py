"""Ledger of the costs of all models of a run, within a budget."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from backtalk.closable import Closable
from backtalk.models.errors import BudgetExceeded, MissingPrice
from backtalk.models.protocol import Usage
from backtalk.models.wakeup import CrossLoopEvent
from backtalk.models.wrappers.budget import Budget, Cost, Price, Prices
from backtalk.models.wrappers.ledger_log import LedgerEntry, LedgerLog

log = logging.getLogger(__name__)

ModelRole = Literal["task", "judge", "learner"]
"""Purpose of a model: to answer, to judge answers, or to propose changes."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Permission to make a call, with the maximum cost of the call."""

    number: int
    """Sequence number within the ledger."""
    role: str
    model: str
    bound: Cost
    """Maximum cost."""


class Ledger(Closable):
    """Costs incurred and reserved by the models of a run, within a budget.

    A call reserves its maximum cost and is settled with its actual cost. Hence no limit is
    exceeded, whatever the number of calls in flight, as long as each model respects its bound.

    Parameters
    ----------
    budget : Budget, optional
        Limits; none by default.
    prices : Prices, optional
        Prices of the models; required for each model if money is limited.
    path : Path | str, optional
        Log file, as JSON lines. A ledger with the log of an earlier run continues from its costs;
        calls in flight when that run was killed count with their maximum cost. Only one process
        may use the file at a time.

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
        self._settled = CrossLoopEvent()
        self._by_role: dict[str, Cost] = {}
        self._spent = Cost()
        self._reserved = Cost()
        self._last_number = 0
        self._in_flight = 0
        self._busy_since = 0.0
        self._busy_seconds = 0.0
        self._log = None if path is None else LedgerLog(Path(path))
        if self._log is not None:
            self._replay(self._log.entries)

    @property
    def spent(self) -> Cost:
        """Cost of all settled calls."""
        with self._lock:
            return self._spent

    @property
    def by_role(self) -> dict[str, Cost]:
        """Cost of all settled calls, by the role of the model."""
        with self._lock:
            return dict(self._by_role)

    @property
    def seconds(self) -> float:
        """Time, in seconds, during which at least one call was in flight."""
        with self._lock:
            return self._seconds()

    @property
    def seconds_left(self) -> float | None:
        """Remaining time for calls, in seconds; ``None`` without a limit."""
        limit = self.budget.seconds
        return None if limit is None else max(limit - self.seconds, 0.0)

    def price(self, model: str) -> Price:
        """Return the price of a model; 0 if it is unknown and money is not limited.

        Raises
        ------
        MissingPrice
            If the price is unknown and money is limited.
        """
        if model in self.prices:
            return self.prices[model]
        if self.budget.money is None:
            return Price(prompt=0, completion=0)
        raise MissingPrice(
            f"Money is limited, and the price of {model!r} is not known",
            "Add it to the prices, with 0 for a free model; known prices: "
            + (", ".join(self.prices) or "none"),
        )

    def require(self, model: str, bounds: Sequence[Usage]) -> None:
        """Raise an error if some calls cannot fit into what is left of the budget.

        Tokens and money are seldom used up to their bounds, so only those of the largest call
        count.

        Parameters
        ----------
        model : str
            Name of the model.
        bounds : sequence of Usage
            Maximum usage of each call.

        Raises
        ------
        BudgetExceeded
            If the budget is too small.
        """
        largest = max(bounds, key=lambda usage: usage.tokens, default=Usage())
        cost = self.price(model).cost(largest)
        calls = Usage(len(bounds), largest.prompt_tokens, largest.completion_tokens)
        with self._lock:
            self._check(Cost(calls, cost))

    def try_reserve(self, role: ModelRole, model: str, bound: Usage) -> Reservation | None:
        """Reserve the maximum cost of a call.

        Parameters
        ----------
        role : ModelRole
            Purpose of the model.
        model : str
            Name of the model.
        bound : Usage
            Maximum usage of the call.

        Returns
        -------
        Reservation or None
            ``None`` if the call does not fit until calls in flight have been settled.

        Raises
        ------
        BudgetExceeded
            If the call does not fit into the budget at all.
        """
        maximum = Cost(bound, self.price(model).cost(bound))
        with self._lock:
            self._check(maximum)
            if self._exceeded_limit(self._spent + self._reserved + maximum) is not None:
                return None
            self._last_number += 1
            reservation = Reservation(self._last_number, role, model, maximum)
            self._reserved += maximum
            if self._in_flight == 0:
                self._busy_since = time.monotonic()
            self._in_flight += 1
            self._write("reserve", reservation, maximum)
            return reservation

    async def reserve(
        self, role: ModelRole, model: str, bounds: Sequence[Usage]
    ) -> list[Reservation]:
        """Reserve as many of these calls as fit at present, in order, but at least one.

        Waits for calls in flight if the first call fits only after they have been settled. A caller
        that waits must not hold a reservation.

        Parameters
        ----------
        role : ModelRole
            Purpose of the model.
        model : str
            Name of the model.
        bounds : sequence of Usage
            Maximum usage of each call.

        Raises
        ------
        BudgetExceeded
            If the first call does not fit into the budget at all.
        """
        while True:
            with self._lock:
                settled = self._settled.wait()
            reservations: list[Reservation] = []
            try:
                for bound in bounds:
                    reservation = self.try_reserve(role, model, bound)
                    if reservation is None:
                        break
                    reservations.append(reservation)
            except BudgetExceeded:
                if not reservations:
                    raise
            if reservations or not bounds:
                return reservations
            await settled.wait()

    def settle(self, reservation: Reservation, usage: Usage) -> None:
        """Replace a reservation by the actual cost of the call."""
        cost = Cost(usage, self.price(reservation.model).cost(usage))
        maximum = _amounts(reservation.bound)
        if any(
            amount > maximum[limit] and getattr(self.budget, limit) is not None
            for limit, amount in _amounts(cost).items()
        ):
            log.warning("%s exceeded its bound, a limit may be exceeded", reservation.model)
        with self._lock:
            self._reserved -= reservation.bound
            self._add(reservation.role, cost)
            self._in_flight -= 1
            if self._in_flight == 0:
                self._busy_seconds += time.monotonic() - self._busy_since
            self._write("settle", reservation, cost)
            self._settled.notify()

    def close(self) -> None:
        """Close the log file."""
        with self._lock:
            if self._log is not None:
                self._log.close()
                self._log = None

    def _check(self, maximum: Cost) -> None:
        limit = self._exceeded_limit(self._spent + maximum)
        if limit is not None:
            spent, needed = _amounts(self._spent)[limit], _amounts(maximum)[limit]
            allowed = getattr(self.budget, limit)
            raise BudgetExceeded(limit, spent=spent, allowed=allowed, needed=needed)
        seconds = self.budget.seconds
        if seconds is not None and self._seconds() >= seconds:
            raise BudgetExceeded("seconds", spent=self._seconds(), allowed=seconds)

    def _exceeded_limit(self, total: Cost) -> str | None:
        """Return the name of a limit that a total exceeds, or ``None``."""
        for limit, amount in _amounts(total).items():
            allowed = getattr(self.budget, limit)
            if allowed is not None and amount > Decimal(str(allowed)):
                return limit
        return None

    def _write(
        self, event: Literal["reserve", "settle"], reservation: Reservation, cost: Cost
    ) -> None:
        if self._log is not None:
            self._log.write(
                LedgerEntry(
                    event,
                    reservation.number,
                    reservation.role,
                    reservation.model,
                    cost,
                    self._seconds(),
                )
            )

    def _replay(self, entries: Sequence[LedgerEntry]) -> None:
        unsettled: dict[int, LedgerEntry] = {}
        for entry in entries:
            self._last_number = max(self._last_number, entry.number)
            self._busy_seconds = max(self._busy_seconds, entry.clock)
            if entry.event == "reserve":
                unsettled[entry.number] = entry
            else:
                unsettled.pop(entry.number, None)
                self._add(entry.role, entry.cost)
        for entry in unsettled.values():
            self._add(entry.role, entry.cost)

    def _seconds(self) -> float:
        running = time.monotonic() - self._busy_since if self._in_flight else 0.0
        return self._busy_seconds + running

    def _add(self, role: str, cost: Cost) -> None:
        self._spent += cost
        self._by_role[role] = self._by_role.get(role, Cost()) + cost


def _amounts(cost: Cost) -> dict[str, Decimal]:
    return {
        "calls": Decimal(cost.usage.calls),
        "tokens": Decimal(cost.usage.tokens),
        "money": cost.money,
    }
