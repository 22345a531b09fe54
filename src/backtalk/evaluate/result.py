"""What an evaluation found: is one policy better than another, and how sure are we."""

from __future__ import annotations

from typing import Annotated, Literal
from uuid import uuid4

from pydantic import Field

from backtalk.feedback.record import Name, OptionalField, Record, Time, now
from backtalk.stats.estimate import Estimate

PromptSplit = Literal["held-out", "train", "all", "live"]
"""Which prompts: those held out from learning, those learned from, both, or those that came in
while the policies answered them."""


class Measure(Record):
    """The mean value of both policies' answers on the scale of one reward; larger is better."""

    name: Name
    candidate: OptionalField[Estimate] = None
    baseline: OptionalField[Estimate] = None
    difference: OptionalField[Estimate] = None
    """Candidate minus baseline, paired by prompt. This, like the two before, is ``None`` where
    all values are the same on a scale without ends: they vary too little to say how much."""


class SelectionBaseline(Record):
    """How much the candidate's own choice among its samples is worth, against a trivial rule."""

    rule: Name
    """``"longest"``, ``"first"``, ``"random"``, ``"shortest"``."""
    value: Estimate
    """The judge's mean value of what the rule would have chosen."""
    difference: Estimate
    """The candidate's choice minus the rule's, paired by prompt."""


class Evaluation(Record):
    """A candidate against a baseline on the same prompts, by one judge."""

    id: Name = Field(default_factory=lambda: uuid4().hex)
    """Random, so that its first digits tell it from others."""
    time: Time = Field(default_factory=now)
    candidate: Name
    """The id of the policy that is to be better."""
    baseline: Name
    """The id of the policy that it is compared with."""
    judge: Name
    split: PromptSplit
    """Which prompts: evidence for a promotion comes from held-out or live ones."""
    prompts: Annotated[int, Field(ge=1)]
    prompts_digest: Name
    """Determined by which prompts they were."""
    seed: int
    complete: bool = True
    """Whether all prompts were done; not where the budget ended before."""
    win_rate: Estimate
    """How often the judge prefers the candidate's answer; a tie is half a win."""
    value: Measure
    """On the judge's own scale."""
    longer_wins: Estimate
    """The win rate that a judge would find who only looks which answer is longer."""
    length_ratio: float
    """The candidate's mean length over the baseline's, in characters."""
    choices: tuple[SelectionBaseline, ...] = ()
    """Where the candidate chooses among samples: what trivial rules would have chosen."""
    ceiling: OptionalField[Estimate] = None
    """The judge's mean value of the best among the candidate's samples."""
    guards: tuple[Measure, ...] = ()
    """What must not get worse."""
    chosen_of: int = 1
    """Among how many candidates this one was chosen on these prompts; 1 if there was no choice."""
    optimism: float = 0.0
    """By how much such a choice is expected to flatter the winner's value."""
    calls: int = 0
    tokens: int = 0


def headline(evaluation: Evaluation) -> str:
    """Return the result in one sentence.

    It says "better" or "worse" only where the interval of the win rate lies wholly on one side.
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
