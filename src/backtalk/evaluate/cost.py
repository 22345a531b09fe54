"""Cost of a policy's answers: calls, tokens, time and money per answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from backtalk.decode import DecoderOutput
from backtalk.feedback.record import OptionalField, Record
from backtalk.models.protocol import Usage


class AnswerCost(Record):
    """Mean cost of an answer of a policy, whether it was generated now or reused.

    An answer that is chosen from several samples costs all of them.
    """

    calls: float
    """Number of model calls."""
    prompt_tokens: float
    completion_tokens: float
    seconds: float = 0.0
    """Seconds of generation, of all samples one after the other; 0 if the model reports none."""
    latency: float = 0.0
    """Seconds of generation of the slowest sample: the time that a person waits if the samples are
    drawn at the same time."""
    money: OptionalField[float] = None
    """Cost in the currency of the prices; ``None`` without prices."""


def answer_cost(
    answers: Sequence[DecoderOutput], money: Callable[[Usage], Decimal | None]
) -> AnswerCost:
    """Return the mean cost of some answers.

    Parameters
    ----------
    answers : sequence of DecoderOutput
        Answers of one policy.
    money : Callable[[Usage], Decimal | None]
        Cost of a usage; ``None`` if the price is not known.
    """
    count = len(answers)
    usages = [[sample.generation_usage for sample in answer.candidates] for answer in answers]
    total = sum((usage for samples in usages for usage in samples), Usage())
    price = money(total)
    return AnswerCost(
        calls=sum(max(usage.calls, 1) for samples in usages for usage in samples) / count,
        prompt_tokens=total.prompt_tokens / count,
        completion_tokens=total.completion_tokens / count,
        seconds=total.seconds / count,
        latency=sum(max(usage.seconds for usage in samples) for samples in usages) / count,
        money=None if price is None else float(price) / count,
    )
