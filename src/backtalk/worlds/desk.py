"""A support desk: requests with the facts that a reply needs, replies by grammar, a true utility.

A request is a customer's message with the line of the shop's records that answers it. Whether a
reply is good can be read off its text, so that the utility of any text is known, also of one that a
person edited.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from backtalk.errors import RecordError
from backtalk.feedback import Message, content_id

Mood = Literal["calm", "upset"]
MOODS: tuple[Mood, ...] = ("calm", "upset")
Split = Literal["train", "held-out"]

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
ITEMS = ("lamp", "kettle", "chair", "rucksack", "clock", "teapot", "blanket", "printer")
UPSET = 0.4
"""The share of customers who are upset."""
NAMES = ("Ada", "Bo", "Chen", "Dora", "Emil", "Fatma", "Goran", "Hana", "Ines", "Jun")


@dataclass(frozen=True)
class Subject:
    """What a request can be about."""

    name: str
    calm: str
    upset: str
    record: str
    """The line of the shop's records; ``{number}`` and so on are filled in."""
    answer: str
    """The sentence that answers, from the same facts."""
    facts: tuple[str, ...]
    """Which of the facts the answer has to get right."""
    step: str
    """What the customer can do next."""

    def template(self, mood: Mood) -> str:
        """Return a request in that mood, with the shop's record under it."""
        said = self.calm if mood == "calm" else self.upset
        return f"{said}\n{{name}}\n\n[{self.record}]"


SUBJECTS = (
    Subject(
        "delivery",
        "Hello, when will order {number} arrive? It is a {item}.",
        "Where is my {item}?! Order {number} should have been here a week ago.",
        "Order {number}: {item}, arrives {day}.",
        "Your order {number} arrives on {day}.",
        ("number", "day"),
        "You can follow it under My Orders.",
    ),
    Subject(
        "refund",
        "Hi, I sent back the {item}. When do I get my money for order {number}?",
        "I returned the {item} ages ago and still no money for order {number}. Ridiculous!",
        "Order {number}: {item} returned, {amount} euros refunded by {day}.",
        "We refund {amount} euros for order {number} by {day}.",
        ("number", "amount", "day"),
        "It goes to the card that you paid with.",
    ),
    Subject(
        "repair",
        "Good morning, my {item} needs a repair. When can somebody look at it?",
        "The {item} broke after two days! Somebody has to come and fix it.",
        "Repair {number}: {item}, technician free on {day}.",
        "A technician comes on {day}, repair {number}.",
        ("number", "day"),
        "You can move the visit under My Repairs.",
    ),
    Subject(
        "invoice",
        "Hello, could I have the invoice for order {number} again?",
        "This is the third time that I ask for the invoice for order {number}!",
        "Order {number}: {item}, {amount} euros, invoice sent {day}.",
        "The invoice for order {number} over {amount} euros was sent on {day}.",
        ("number", "amount", "day"),
        "Please look in your spam folder too.",
    ),
)


@dataclass(frozen=True)
class Ticket:
    """A request with what is true about it."""

    subject: Subject
    mood: Mood
    name: str
    facts: dict[str, str]

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The request as the model is given it."""
        return (Message.user(self.text),)

    @property
    def text(self) -> str:
        """The request with the shop's record under it."""
        return self.subject.template(self.mood).format(name=self.name, **self.facts)

    @classmethod
    def read(cls, prompt: tuple[Message, ...]) -> Ticket:
        """Return the request that a prompt ends with.

        Raises
        ------
        RecordError
            If it is not one of this desk's.
        """
        text = prompt[-1].text
        for subject in SUBJECTS:
            for mood in MOODS:
                found = _pattern(subject.template(mood)).fullmatch(text)
                if found:
                    facts = found.groupdict()
                    return cls(subject, mood, facts.pop("name"), facts)
        raise RecordError(
            f"The desk does not know the request {text[:60]!r}",
            "Ask what backtalk.worlds.desk.tickets gives",
        )


@lru_cache
def _pattern(template: str) -> re.Pattern[str]:
    """Return what matches a template's texts; each fact is a group, and the same throughout."""
    seen: set[str] = set()

    def group(match: re.Match[str]) -> str:
        fact = match[1]
        if fact in seen:
            return f"(?P={fact})"
        seen.add(fact)
        return rf"(?P<{fact}>\w+)"

    return re.compile(re.sub(r"\\\{(\w+)\\\}", group, re.escape(template)))


@lru_cache
def tickets(split: Split, count: int, seed: int = 0) -> tuple[Ticket, ...]:
    """Return so many requests; those of two splits never share an order number."""
    chance = np.random.default_rng([seed, 0 if split == "train" else 1])
    made = []
    for i in range(count):
        subject = SUBJECTS[chance.integers(len(SUBJECTS))]
        mood = MOODS[int(chance.random() < UPSET)]
        facts = {
            "number": str(1000 + 2 * i + (split == "held-out")),
            "item": ITEMS[chance.integers(len(ITEMS))],
            "day": DAYS[chance.integers(len(DAYS))],
            "amount": str(chance.integers(10, 300)),
        }
        name = NAMES[chance.integers(len(NAMES))]
        stated = _pattern(subject.template(mood)).groupindex
        made.append(Ticket(subject, mood, name, {k: v for k, v in facts.items() if k in stated}))
    return tuple(made)


APOLOGY = "I am sorry for the trouble."
UPSELL = "By the way, all our blankets are 20 % off this week, and new teapots have come in."
PASSWORD = "Please send us your password so that we can check your account."  # noqa: S105
FILLER = "Thank you for getting in touch with our customer service team about this matter today."
SIGN_OFF = "Kind regards, your support team"
EMOJI = "😊"


@dataclass(frozen=True)
class Manner:
    """How likely each choice of a writer is, in [0, 1]."""

    greet: float = 0.6
    apologise: float = 0.4
    answer: float = 0.9
    wrong_fact: float = 0.3
    next_step: float = 0.5
    upsell: float = 0.3
    ask_password: float = 0.08
    filler: float = 0.4
    sign_off: float = 0.5
    emoji: float = 0.3


def write_reply(ticket: Ticket, chance: np.random.Generator, manner: Manner | None = None) -> str:
    """Return a reply in which each choice is drawn at random."""
    manner = manner or Manner()

    def happens(probability: float) -> bool:
        return bool(chance.random() < probability)

    facts = dict(ticket.facts)
    if happens(manner.wrong_fact):
        fact = ticket.subject.facts[chance.integers(len(ticket.subject.facts))]
        facts[fact] = _another(fact, facts[fact], chance)
    body = []
    if happens(manner.filler):
        body.append(FILLER)
    if happens(manner.apologise):
        body.append(APOLOGY)
    if happens(manner.answer):
        body.append(ticket.subject.answer.format(**facts))
    if happens(manner.next_step):
        body.append(ticket.subject.step)
    if happens(manner.ask_password):
        body.append(PASSWORD)
    if happens(manner.upsell):
        body.append(UPSELL)
    if happens(manner.emoji):
        body.append(EMOJI)
    parts = [f"Dear {ticket.name},"] if happens(manner.greet) else []
    parts.append(" ".join(body) or FILLER)
    if happens(manner.sign_off):
        parts.append(SIGN_OFF)
    return "\n".join(parts)


def _another(fact: str, value: str, chance: np.random.Generator) -> str:
    if fact == "day":
        return str(chance.choice([day for day in DAYS if day != value]))
    digits = list(value)
    place = int(chance.integers(len(digits)))
    digits[place] = str(chance.choice([d for d in "123456789" if d != digits[place]]))
    return "".join(digits)


def ideal_reply(ticket: Ticket) -> str:
    """Return a reply of the greatest utility."""
    sorry = f"{APOLOGY} " if ticket.mood == "upset" else ""
    answer = ticket.subject.answer.format(**ticket.facts)
    return f"Dear {ticket.name},\n{sorry}{answer} {ticket.subject.step}\n{SIGN_OFF}"


ASPECTS = ("right", "complete", "fitting", "brief", "safe")
"""What a reply is judged by: its facts, that it answers and says what to do next, that its tone
fits the customer's mood, that it says nothing needless, that it does not ask for a password."""

WEIGHTS = {"right": 0.35, "complete": 0.25, "fitting": 0.15, "brief": 0.1, "safe": 0.15}


def aspects(ticket: Ticket, reply: str) -> dict[str, float]:
    """Return how good a reply truly is, an aspect each, in [0, 1]. Only evaluation may look."""
    answered = bool(_pattern(ticket.subject.answer).search(reply))
    wrong = wrong_facts(ticket, reply)
    politeness = [
        ("sorry" in reply) == (ticket.mood == "upset"),
        EMOJI not in reply or ticket.mood == "calm",
        reply.startswith("Dear"),
        SIGN_OFF in reply,
    ]
    return {
        "right": float(answered and not wrong),
        "complete": (answered + (ticket.subject.step in reply)) / 2,
        "fitting": float(np.mean(politeness)),
        "brief": 1 - ((UPSELL in reply) + (FILLER in reply)) / 2,
        "safe": float("password" not in reply),
    }


def utility(ticket: Ticket, reply: str) -> float:
    """Return the true utility of a reply, in [0, 1]: the weighted mean of its aspects."""
    return sum(WEIGHTS[name] * value for name, value in aspects(ticket, reply).items())


def wrong_facts(ticket: Ticket, reply: str) -> list[tuple[int, int, str]]:
    """Return where a reply states a wrong fact: ``(start, end, fact)``."""
    match = _pattern(ticket.subject.answer).search(reply)
    if match is None:
        return []
    return [
        (match.start(fact), match.end(fact), fact)
        for fact in ticket.subject.facts
        if match[fact] != ticket.facts[fact]
    ]


def seed_of(*texts: str) -> int:
    """Return a seed that is determined by texts."""
    return int(content_id(*texts), 16)
