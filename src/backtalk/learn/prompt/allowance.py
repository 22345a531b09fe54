"""Share of a run's budget that a search may spend, so that the confirmation can be paid."""

from __future__ import annotations

from dataclasses import dataclass

from backtalk.models.protocol import Usage
from backtalk.run import Run


@dataclass(frozen=True)
class Allowance:
    """Limits of the answers of a search.

    Decisions depend on the answers that the search asked for, not on what was paid: a run that
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

    def permits(self, used: Usage, answers: int) -> bool:
        """Return whether more answers fit into the budget beside the reserve.

        Parameters
        ----------
        used : Usage
            Usage of the answers so far, their cached ones included.
        answers : int
            Number of further answers, each taken to use as much as the mean so far.
        """
        total = used.calls + answers + self.reserve
        factor = total / used.calls if used.calls else 1.0
        budget = self.run.budget
        money = self.run.money(self.model, used)
        return not (
            (budget.calls is not None and total > budget.calls)
            or (budget.tokens is not None and factor * used.tokens > budget.tokens)
            or (budget.seconds is not None and factor * used.seconds > budget.seconds)
            or (
                budget.money is not None
                and money is not None
                and factor * float(money) > budget.money
            )
        )
