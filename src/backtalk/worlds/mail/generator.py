"""Generator of mails with random errors, the training data of the small model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from backtalk.worlds.generator import TaskGenerator
from backtalk.worlds.mail.phrases import (
    APOLOGY,
    ASK,
    COURTESY,
    EMOJI,
    ENDINGS,
    FACTS,
    GREETINGS,
    NEEDLESS,
    SENDER,
    THANKS,
    UNSAFE,
    MailStyle,
)
from backtalk.worlds.mail.task import MailTask
from backtalk.worlds.world import Rng

_HARM = 0.3
"""Share of unsafe parts among irrelevant parts."""


class MailGenerator(TaskGenerator[MailTask, MailStyle]):
    """Generator of one mail."""

    def write(self) -> str:
        """Return a random mail."""
        facts = self._facts()
        lines = []
        if not self._happens(self._error_rates.omissions / 4):
            lines.append(
                f"{self._replaced_by_mistake(GREETINGS, self._style.greeting)} {facts.pop('name')},"
            )
        lines.append(" ".join(self._body(facts)))
        if not self._happens(self._error_rates.omissions / 4):
            lines += [f"{self._replaced_by_mistake(ENDINGS, self._style.ending)},", SENDER]
        return "\n".join(line for line in lines if line)

    def _facts(self) -> dict[str, str]:
        """Return the facts with random errors."""
        facts = {**self._task.fact, "name": self._task.name}
        for fact in self._task.fact:
            if self._happens(self._error_rates.wrong_facts / 2):
                facts[fact] = wrong_value(fact, facts[fact], self._rng)
        return facts

    def _body(self, facts: dict[str, str]) -> Iterator[str]:
        style, error_rates = self._style, self._error_rates
        courtesy = self._happens(0.5) if style.courtesy is None else style.courtesy
        if self._negated_by_mistake(courtesy):
            yield COURTESY
        if self._negated_by_mistake(style.apology):
            yield APOLOGY
        if not self._happens(error_rates.omissions / 4):
            yield self._task.topic.sentence.format(**facts)
        if self._happens(error_rates.irrelevant):
            yield self._irrelevant_sentence()
        if self._task.deadline and not self._happens(error_rates.omissions):
            yield ASK.format(**facts)
        if style.thanks and self._negated_by_mistake(style.thanks):
            yield THANKS
        if self._negated_by_mistake(style.emoji):
            yield EMOJI

    def _irrelevant_sentence(self) -> str:
        pool = list((UNSAFE if self._happens(_HARM) else NEEDLESS).values())
        return self._pick(pool)

    def _negated_by_mistake(self, intended: bool) -> bool:
        """Return the intended value, or its opposite by mistake."""
        return intended != self._happens(self._error_rates.style / 2)

    def _replaced_by_mistake(self, choices: Sequence[str], intended: str) -> str:
        """Return the intended choice, or another by mistake."""
        if not self._happens(self._error_rates.style):
            return intended
        return self._pick([choice for choice in choices if choice != intended])


def wrong_value(fact: str, value: str, rng: Rng) -> str:
    """Return a wrong but plausible value of a fact.

    Parameters
    ----------
    fact : str
        Name of the fact.
    value : str
        True value.
    rng : Rng
        Source of randomness.
    """
    if value.isdecimal():
        position = int(rng.integers(len(value)))
        digits = [digit for digit in "123456789" if digit != value[position]]
        return value[:position] + digits[rng.integers(len(digits))] + value[position + 1 :]
    while (other := FACTS[fact](rng)) == value:
        pass
    return other
