"""Result of a check of a judge."""

from __future__ import annotations

from backtalk.feedback.base import OVERALL
from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.stats.estimate import Estimate


class JudgeBiases(Record):
    """Bias of a judge towards the position and the length of answers."""

    pairs: int
    """Number of pairs on which they were measured."""
    flips: OptionalField[Estimate] = None
    """Share of pairs on which the verdict depends on the order of the answers; ``None`` if the
    judge does not see an order."""
    prefers_first: OptionalField[Estimate] = None
    """Share of verdicts for the answer that is shown first, ties half; 0.5 without bias."""
    longer_wins: OptionalField[Estimate] = None
    """Share of pairs on which the judge prefers the longer answer, ties half; ``None`` if all
    answers are equally long."""
    people_longer_wins: OptionalField[Estimate] = None
    """The same share by people's labels of these pairs."""
    length_excess: OptionalField[Estimate] = None
    """Share of the judge minus that of people, paired; above 0 if it favours length more."""
    length_coefficient: OptionalField[Estimate] = None
    """Log-odds of the longer answer, given people's label or, without labels, the quality of the
    policy; 0 without bias. See :func:`backtalk.stats.judge_bias.length_bias`."""


class JudgeCheck(Record):
    """Agreement of a judge with people, on pairs of answers that people compared."""

    judge: Name
    """Name of the judge."""
    aspect: Name = OVERALL
    """Aspect of the people's judgements."""
    pairs: int
    """Number of pairs that the judge gave a verdict on."""
    prompts: int
    """Number of prompts of these pairs."""
    held_out: int
    """Number of these pairs on held-out prompts."""
    people: int
    """Number of people whose labels were used; those without an id count as one."""
    simulated: bool = False
    """True if the labels are those of simulated annotators."""
    unreadable: int = 0
    """Number of pairs left out because the judge's reply could not be read."""
    complete: bool = True
    """False if the budget ended before all pairs were judged."""
    agreement: OptionalField[Estimate] = None
    """Probability that the judge agrees with a person who prefers one answer; a tie of the judge
    counts half. ``None`` if people only gave ties."""
    kappa: OptionalField[Estimate] = None
    """Cohen's kappa of the verdicts (first, second, tie) of the judge and of a person; ``None`` if
    all verdicts are the same."""
    people_agreement: OptionalField[Estimate] = None
    """Probability that two people agree in the same way: the agreement of a judge that is as good
    as a person. ``None`` if no pair was compared by several people."""
    biases: OptionalField[JudgeBiases] = None
