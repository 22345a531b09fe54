"""A writer of mails, of any care: what the small model is trained on."""

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
    Manner,
)
from backtalk.worlds.mail.task import MailTask
from backtalk.worlds.world import Rng

_HARM = 0.3
"""The share of parts put in that do harm."""


class MailGenerator(TaskGenerator[MailTask, Manner]):
    """Writes one mail."""

    def write(self) -> str:
        """Return the mail."""
        facts = self._facts()
        lines = []
        if not self._happens(self._care.omissions / 4):
            lines.append(f"{self._one(GREETINGS, self._manner.greeting)} {facts.pop('name')},")
        lines.append(" ".join(self._body(facts)))
        if not self._happens(self._care.omissions / 4):
            lines += [f"{self._one(ENDINGS, self._manner.ending)},", SENDER]
        return "\n".join(line for line in lines if line)

    def _facts(self) -> dict[str, str]:
        """Return the facts as the writer remembers them."""
        facts = {**self._task.fact, "name": self._task.name}
        for fact in self._task.fact:
            if self._happens(self._care.wrong_facts / 2):
                facts[fact] = another(fact, facts[fact], self._probability)
        return facts

    def _body(self, facts: dict[str, str]) -> Iterator[str]:
        manner, care = self._manner, self._care
        courtesy = self._happens(0.5) if manner.courtesy is None else manner.courtesy
        if self._mistaken(courtesy):
            yield COURTESY
        if self._mistaken(manner.apology):
            yield APOLOGY
        if not self._happens(care.omissions / 4):
            yield self._task.topic.sentence.format(**facts)
        if self._happens(care.irrelevant):
            yield self._extra()
        if self._task.deadline and not self._happens(care.omissions):
            yield ASK.format(**facts)
        if manner.thanks and self._mistaken(manner.thanks):
            yield THANKS
        if self._mistaken(manner.emoji):
            yield EMOJI

    def _extra(self) -> str:
        pool = list((UNSAFE if self._happens(_HARM) else NEEDLESS).values())
        return self._pick(pool)

    def _mistaken(self, wanted: bool) -> bool:
        """Return what is wanted, or by mistake its opposite."""
        return wanted != self._happens(self._care.style / 2)

    def _one(self, choices: Sequence[str], wanted: str) -> str:
        """Return what is wanted, or by mistake another."""
        if not self._happens(self._care.style):
            return wanted
        return self._pick([choice for choice in choices if choice != wanted])


def another(fact: str, value: str, rng: Rng) -> str:
    """Return a wrong value of a fact: like it, but not it."""
    if value.isdecimal():
        place = int(rng.integers(len(value)))
        digits = [digit for digit in "123456789" if digit != value[place]]
        return value[:place] + digits[rng.integers(len(digits))] + value[place + 1 :]
    while (other := FACTS[fact](rng)) == value:
        pass
    return other
