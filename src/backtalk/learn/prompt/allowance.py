"""Share of a run's budget that a search may spend, so that the confirmation can be paid."""

from __future__ import annotations

import math
from dataclasses import dataclass

from backtalk.models.protocol import Usage
from backtalk.run import Run


class OutOfBudget(Exception):
    """End of a search whose budget is spent but for the confirmation."""


@dataclass(frozen=True)
class Allowance:
    """Limits of the answers of a search.

    Decisions depend on the completions that the run requested, not on what was paid: a run that
    resumes from its cache therefore makes the same ones.

    Parameters
    ----------
    run : Run
        Run with the budget.
    model : str
        Name of the model that answers, for its price.
    reserve : int
        Number of answers to leave for the confirmation.
    """

    run: Run
    model: str
    reserve: int

    @property
    def is_limited(self) -> bool:
        """True if the run has a budget of any kind."""
        budget = self.run.budget
        limits = (budget.calls, budget.tokens, budget.seconds, budget.money)
        return any(limit is not None for limit in limits)

    def room(self, used: Usage) -> float:
        """Return the number of further answers that fit into the budget beside the reserve.

        It is infinite without a limit, and as long as nothing is known of the usage of an answer.

        Parameters
        ----------
        used : Usage
            Usage of the answers so far, their cached ones included. A further one is taken to use
            as much as the mean of them.
        """
        budget = self.run.budget
        rooms = [math.inf]
        if budget.calls is not None:
            # Completions of a writer count as well.
            rooms.append(budget.calls - max(self.run.requested, used.calls))
        if used.calls:
            money = self.run.money(self.model, used)
            pairs = [
                (budget.tokens, used.tokens),
                (budget.seconds, used.seconds),
                (budget.money, None if money is None else float(money)),
            ]
            rooms += [
                math.floor((limit / spent - 1) * used.calls)
                for limit, spent in pairs
                if limit is not None and spent
            ]
        return max(min(rooms) - self.reserve, 0)
