"""Check that a judge can judge answers that are yet to be generated."""

from __future__ import annotations

from backtalk.evaluate.judges.protocol import CheckedJudge, Judge
from backtalk.models.protocol import Checkable
from backtalk.rewards.protocol import PlannedAnswers


async def check_new_answers(judge: Judge, policy: str) -> None:
    """Raise an error if a judge cannot judge new answers, before any is generated.

    Parameters
    ----------
    judge : Judge
        Judge.
    policy : str
        Label of the policy that generates them.

    Raises
    ------
    BacktalkError
        If the judge knows recorded answers only, or its model cannot answer.
    """
    if isinstance(judge, CheckedJudge):
        await judge.check((), (PlannedAnswers(policy, None),))
    model = getattr(judge, "model", None)
    if isinstance(model, Checkable):
        await model.check()
