"""Budget of a job: the smaller limits of the request and of the gateway."""

from __future__ import annotations

from backtalk.errors import BacktalkError
from backtalk.models import Budget


class JobBudgetExceeded(BacktalkError):
    """Training that needs more tokens or more time than its budget has."""


def smaller(first: Budget, second: Budget) -> Budget:
    """Return the budget with the smaller one of each limit.

    >>> smaller(Budget(tokens=10), Budget(tokens=5, seconds=60))
    Budget(calls=None, tokens=5, money=None, seconds=60.0)

    Parameters
    ----------
    first, second : Budget
        Budgets.
    """
    limits = {}
    for name in Budget.model_fields:
        values = [v for v in (getattr(first, name), getattr(second, name)) if v is not None]
        limits[name] = min(values, default=None)
    return Budget(**limits)
