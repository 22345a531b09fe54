"""Result of an evaluation: win rate, values and guardrails of a candidate and a baseline."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import uuid4

from pydantic import Field

from backtalk.evaluate.cost import AnswerCost
from backtalk.evaluate.judges.check.result import JudgeBiases, JudgeCheck
from backtalk.evaluate.judges.circular import PolicyOrigin
from backtalk.evaluate.judges.info import JudgeInfo
from backtalk.feedback.record import OMIT_EMPTY, Name, OptionalField, Record, Time, now
from backtalk.stats.estimate import Estimate

PromptSplit = Literal["held-out", "train", "all", "live"]
"""Set of prompts: held out from learning, used for learning, both, or live traffic."""


class Measure(Record):
    """Mean value of both policies' answers on the scale of one judge; larger is better.

    The scale of a judge that only compares is that of preferences: the probability that an answer
    is preferred to the baseline's, plus half that of a tie. There is then no ``baseline``, and the
    ``difference`` is that from 1/2.
    """

    name: Name
    candidate: OptionalField[Estimate] = None
    baseline: OptionalField[Estimate] = None
    difference: OptionalField[Estimate] = None
    """Candidate minus baseline, paired by prompt. The three estimates are ``None`` if the scale is
    unbounded and hardly a value differs, because no interval exists then."""


class SelectionBaseline(Record):
    """Value of the candidate's choice among its samples, compared with a baseline rule."""

    rule: Name
    """``"longest"``, ``"first"``, ``"random"``, ``"shortest"``."""
    value: Estimate
    """Mean value, by the judge, of the rule's choices."""
    difference: Estimate
    """Value of the candidate's choice minus that of the rule's, paired by prompt."""


class Evaluation(Record):
    """Comparison of a candidate with a baseline on the same prompts, by one judge."""

    id: Name = Field(default_factory=lambda: uuid4().hex)
    """Random id; its first digits identify it."""
    time: Time = Field(default_factory=now)
    candidate: Name
    """Id of the policy that is evaluated."""
    baseline: Name
    """Id of the policy that it is compared with."""
    judge: Name
    """Name of the judge."""
    judge_info: OptionalField[JudgeInfo] = None
    """Description of the judge; ``None`` in evaluations of earlier versions."""
    judge_check: OptionalField[JudgeCheck] = None
    """Agreement of a language model with people, on pairs of the store; ``None`` for other judges,
    and if it is not known."""
    judge_biases: OptionalField[JudgeBiases] = None
    """Bias of a language model towards position and length, on the answers of this evaluation."""
    judges_itself: OptionalField[Literal["candidate", "baseline", "both"]] = None
    """Policies that answer with the very model that judges."""
    origin: OptionalField[PolicyOrigin] = None
    """Feedback and rewards of the candidate; ``None`` if unknown, as for earlier versions."""
    unseen: OptionalField[bool] = None
    """True if the candidate learned from feedback on none of the prompts; ``None`` if unknown."""
    split: PromptSplit
    """Set of prompts. Evidence for a promotion comes from held-out or live prompts."""
    prompts: Annotated[int, Field(ge=1)]
    """Number of prompts."""
    prompts_digest: Name
    """Hash of the prompts."""
    seed: int
    complete: bool = True
    """False if the budget ended before all prompts were answered."""
    win_rate: Estimate
    """Share of prompts on which the judge prefers the candidate's answer; a tie is half a win."""
    value: Measure
    """Mean values on the judge's scale."""
    longer_wins: Estimate
    """Win rate by a judge that always prefers the longer answer."""
    length_ratio: float
    """Mean length of the candidate's answers over the baseline's, in characters."""
    choices: tuple[SelectionBaseline, ...] = ()
    """Comparison with baseline rules, if the candidate chooses among samples."""
    ceiling: OptionalField[Estimate] = None
    """Mean value, by the judge, of the best of the candidate's samples."""
    guards: tuple[Measure, ...] = ()
    """Guardrails: rewards on which the candidate must not get worse."""
    chosen_of: int = 1
    """Number of candidates that this one was chosen from; 1 if there was no choice."""
    optimism: float = 0.0
    """Expected bias of the winner's value on the prompts that it was chosen on."""
    calls: int = 0
    """Number of model calls, of policies and judge together; reused answers have none."""
    tokens: int = 0
    """Number of tokens, of prompts and answers together."""
    candidate_cost: OptionalField[AnswerCost] = None
    """Mean cost of an answer of the candidate; ``None`` in evaluations of earlier versions."""
    baseline_cost: OptionalField[AnswerCost] = None
    """Mean cost of an answer of the baseline."""
    reused: int = 0
    """Number of answers, of all policies together, that were reused from earlier evaluations."""
    refused: tuple[str, ...] = Field(default=(), exclude_if=OMIT_EMPTY)
    """Beginnings of the prompts that a model refused, with its errors; they are left out."""
    unjudged: int = 0
    """Number of prompts without a verdict of the judge, which are left out."""


def headline(evaluation: Evaluation) -> str:
    """Return the result in one sentence.

    It says "better" or "worse" only if the whole interval of the win rate lies on one side of 0.5.
    """
    rate = evaluation.win_rate
    if rate.low > 0.5:
        verdict = "The candidate is better"
    elif rate.high < 0.5:
        verdict = "The candidate is worse"
    else:
        verdict = "No difference is shown"
    return (
        f"{verdict}: it wins {100 * rate.value:.1f} % [{100 * rate.low:.1f}, "
        f"{100 * rate.high:.1f}] of {evaluation.prompts} {evaluation.split} prompts "
        f"by {evaluation.judge}"
    )
