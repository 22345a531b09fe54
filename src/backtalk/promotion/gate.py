"""Promotion gate: the evidence that a candidate needs before it is served."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.evaluate.judges.circular import PolicyOrigin, circularity, prompts_learned_from
from backtalk.evaluate.judges.info import judge_from_name
from backtalk.evaluate.result import Evaluation
from backtalk.feedback.record import OptionalField, Probability, Record


class GateRefused(BacktalkError):
    """Error for a policy whose evidence does not pass the gate."""


class Gate(Record):
    """Thresholds that an evaluation has to meet before its candidate is served."""

    win_rate: Probability = 0.5
    """Threshold for the lower end of the win rate's interval, which has to lie above it."""
    level: Probability = 0.95
    """Minimum nominal coverage of that interval."""
    tolerance: OptionalField[Annotated[float, Field(ge=0)]] = None
    """Maximum loss on a guardrail, on its own scale. With a tolerance, a guardrail fails unless
    its difference is shown to lie above minus the tolerance. Without one, it fails only if its
    difference is shown to lie below zero."""

    def reasons(
        self, evaluation: Evaluation, *, served: str | None, origin: PolicyOrigin | None = None
    ) -> list[str]:
        """Return the reasons to refuse the candidate, one sentence each; empty if it passes.

        Parameters
        ----------
        evaluation : Evaluation
            Evidence for the candidate.
        served : str or None
            Id of the active policy; None if the project serves none.
        origin : PolicyOrigin, optional
            Feedback and rewards of the candidate, from
            :func:`~backtalk.policy.origin.policy_origin`. Default: those that the evaluation
            recorded.
        """
        reasons = []
        rate = evaluation.win_rate
        if rate.low <= self.win_rate:
            reasons.append(
                f"Its win rate of {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}] is not "
                f"shown to be above {self.win_rate:g}"
            )
        if rate.level < self.level:
            reasons.append(
                f"The interval of its win rate is at {rate.level:g}, the gate asks {self.level:g}"
            )
        if evaluation.split not in {"held-out", "live"}:
            reasons.append(
                f"It was evaluated on {evaluation.split} prompts, which it may have learned from"
            )
        if served is not None and evaluation.baseline != served:
            reasons.append(
                f"It was compared with {evaluation.baseline[:8]}, but {served[:8]} is served"
            )
        reasons += circular_reasons(evaluation, origin or evaluation.origin)
        for guard in evaluation.guards:
            worse = guard.difference is not None and (
                guard.difference.high < 0
                if self.tolerance is None
                else guard.difference.low < -self.tolerance
            )
            if worse and guard.difference is not None:
                reasons.append(
                    f"{guard.name} gets worse by {-guard.difference.value:.3f} "
                    f"[{-guard.difference.high:.3f}, {-guard.difference.low:.3f}]"
                )
        return reasons


def circular_reasons(evaluation: Evaluation, origin: PolicyOrigin | None) -> list[str]:
    """Return the reasons why an evaluation proves nothing about its candidate, whatever its result.

    A guardrail may be the reward that the candidate optimises: it is there to show losses.

    Parameters
    ----------
    evaluation : Evaluation
        Evidence for the candidate. If its judge is not described, as in evaluations of earlier
        versions, the kind follows from the judge's name; a learned reward then counts as fitted on
        the candidate's feedback.
    origin : PolicyOrigin or None
        Feedback and rewards of the candidate; without them nothing is refused.
    """
    judge = evaluation.judge_info or judge_from_name(evaluation.judge)
    if origin is None or judge.kind == "live":
        return []
    reasons = []
    if (reason := circularity(judge, origin)) is not None:
        reasons.append(reason)
    seen = next(iter(prompts_learned_from(origin, evaluation.split)), None)
    if evaluation.split == "held-out" and seen is not None and not evaluation.unseen:
        reasons.append(
            f"{origin.label} learned from {seen.label}, so that held-out prompts are not new to it"
        )
    return reasons
