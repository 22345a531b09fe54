"""Options of a language model as a judge."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from backtalk.evaluate.judges.llm.rubric import Rubric
from backtalk.feedback.base import OVERALL
from backtalk.feedback.record import Name, OptionalField, Record


class JudgeOptions(Record):
    """Options of a language model as a judge.

    >>> JudgeOptions(samples=3).both_orders
    True
    """

    name: OptionalField[Name] = None
    """Name in reports. Default: ``llm:`` and the name of the model."""
    rubric: Rubric = Rubric()
    """Criteria, and the scale of a pointwise judge."""
    aspect: Name = OVERALL
    """Aspect that it judges: its agreement is measured with people's judgements of that aspect."""
    samples: Annotated[int, Field(ge=1, le=100)] = 1
    """Number of replies per question; their mean counts."""
    temperature: OptionalField[Annotated[float, Field(ge=0)]] = None
    """Temperature. Default: the endpoint's."""
    max_tokens: Annotated[int, Field(gt=0)] = 2048
    """Maximum number of tokens of a reply, with the reasoning of models that think first."""
    both_orders: bool = True
    """If true, a pairwise judge sees each pair in both orders, and the two verdicts are averaged:
    a verdict that changes with the order is a tie."""
    ties: bool = True
    """If true, a pairwise judge may say that both answers are equally good."""
    reasoning: bool = False
    """If true, the judge writes its reasons before the verdict."""
    probabilities: OptionalField[bool] = None
    """If true, a verdict is the mean of all possible ones, weighted by the probability that the
    model gives to each (Liu et al. 2023, arXiv 2303.16634, section 2). Default: true for local
    models that do not write reasons first, false for endpoints."""
    attempts: Annotated[int, Field(ge=1, le=10)] = 2
    """Number of times that a question is put before its reply counts as unreadable."""

    @model_validator(mode="after")
    def _fit_together(self) -> Self:
        if self.reasoning and self.probabilities:
            raise ValueError(
                "probabilities: they are those of a verdict without reasons before it; leave out "
                "one of reasoning and probabilities"
            )
        if self.probabilities and self.samples > 1:
            raise ValueError("samples: probabilities need one reply per question only")
        return self
