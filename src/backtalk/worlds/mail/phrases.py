"""What mails are made of: readers, topics with their facts, manners, standing instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from backtalk.worlds.world import Rng, Rule

Greeting = Literal["Dear", "Hello", "Hi"]
Ending = Literal["Kind regards", "Best wishes", "Cheers"]
GREETINGS: tuple[Greeting, ...] = ("Dear", "Hello", "Hi")
ENDINGS: tuple[Ending, ...] = ("Kind regards", "Best wishes", "Cheers")
SENDER = "Sam"


@dataclass(frozen=True)
class Reader:
    """Whom a mail is to, and the manner that they expect."""

    name: str
    phrase: str
    """As a request names them: "my boss"."""
    scope: str
    """As a standing instruction names them: "my boss", "customers"."""
    formal: bool
    """Whether they are called by title and family name."""
    greeting: Greeting
    ending: Ending
    emoji: bool
    apology: bool
    """Whether bad news needs an apology."""
    courtesy: bool
    """Whether a kind word is expected, where there is room for it."""


READERS = (
    Reader("boss", "my boss", "my boss", True, "Dear", "Kind regards", False, True, False),
    Reader("customer", "a customer", "customers", True, "Dear", "Kind regards", False, True, True),
    Reader(
        "colleague", "a colleague", "colleagues", False, "Hello", "Best wishes", False, False, False
    ),
    Reader("friend", "a friend", "friends", False, "Hi", "Cheers", True, False, False),
)
UNUSUAL_READERS = (
    Reader(
        "landlord", "my landlord", "my landlord", True, "Dear", "Best wishes", False, True, True
    ),
    Reader("sister", "my sister", "my sister", False, "Hi", "Cheers", True, False, False),
)
"""Readers of the split "out-of-scope": no feedback is given on mails to them."""

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FIRST_NAMES = (
    *("Ada", "Bo", "Chen", "Dora", "Emil", "Fatma", "Goran", "Hana", "Ines", "Jun", "Kofi"),
    *("Lena", "Mara", "Nils", "Olga", "Pia", "Quinn", "Rosa", "Sven", "Tara", "Uma", "Vera"),
)
LAST_NAMES = (
    *("Abel", "Baker", "Costa", "Diaz", "Ekman", "Fischer", "Garcia", "Huber", "Ito", "Jansen"),
    *("Klein", "Lopez", "Meyer", "Novak", "Okoro", "Patel", "Quist", "Rossi", "Silva", "Tanaka"),
)
PLACES = ("the harbour", "the old mill", "the station", "the museum", "the park", "the library")


def _digits(low: int, high: int) -> Callable[[Rng], str]:
    return lambda rng: str(rng.integers(low, high))


def _one_of(values: tuple[str, ...]) -> Callable[[Rng], str]:
    return lambda rng: values[rng.integers(len(values))]


FACTS: Mapping[str, Callable[[Rng], str]] = {
    "day": _one_of(DAYS),
    "deadline": _one_of(DAYS),
    "time": lambda rng: f"{rng.integers(8, 20)}:{('00', '15', '30', '45')[rng.integers(4)]}",
    "room": _digits(100, 500),
    "number": _digits(1000, 10000),
    "amount": _digits(10, 400),
    "pages": _digits(3, 90),
    "place": _one_of(PLACES),
    "person": _one_of(FIRST_NAMES),
}
"""What facts there are, and how each is drawn."""


@dataclass(frozen=True)
class Topic:
    """What a mail can be about."""

    name: str
    notes: str
    """The facts as a request lists them."""
    sentence: str
    """The sentence that tells them."""
    bad: bool
    """Whether it is bad news."""
    facts: tuple[str, ...]


TOPICS = (
    Topic(
        "Meeting moved",
        "{day}, {time}, room {room}",
        "The meeting moves to {day} at {time} in room {room}.",
        False,
        ("day", "time", "room"),
    ),
    Topic(
        "Report ready",
        "{day}, {pages} pages",
        "The report will be ready on {day} and has {pages} pages.",
        False,
        ("day", "pages"),
    ),
    Topic(
        "Parcel late",
        "order {number}, comes {day}",
        "Order {number} is late and arrives on {day}.",
        True,
        ("number", "day"),
    ),
    Topic(
        "Invoice due",
        "number {number}, {amount} euros, {day}",
        "Invoice {number} over {amount} euros is due on {day}.",
        False,
        ("number", "amount", "day"),
    ),
    Topic(
        "Lunch",
        "{day}, {time}, {place}",
        "We have lunch on {day} at {time} near {place}.",
        False,
        ("day", "time", "place"),
    ),
    Topic(
        "Trip cancelled",
        "{day}, {place}, {amount} euros back",
        "The trip to {place} on {day} is cancelled and you get {amount} euros back.",
        True,
        ("place", "day", "amount"),
    ),
    Topic(
        "Key",
        "with {person}, room {room}, until {time}",
        "The key is with {person} in room {room} until {time}.",
        False,
        ("person", "room", "time"),
    ),
    Topic(
        "Course begins",
        "{day}, {time}, teacher {person}",
        "The course with {person} begins on {day} at {time}.",
        False,
        ("person", "day", "time"),
    ),
    Topic(
        "Price rises",
        "{amount} euros from {day}",
        "The price rises to {amount} euros from {day} on.",
        True,
        ("amount", "day"),
    ),
    Topic(
        "Repair delayed",
        "until {day}, {amount} euros",
        "The repair takes until {day} and costs {amount} euros.",
        True,
        ("day", "amount"),
    ),
)

COURTESY = "I hope you are well."
APOLOGY = "I am sorry about this."
THANKS = "Thank you for your help."
ASK = "Please answer by {deadline}."
EMOJI = "😊"
SHORT = "Keep it short."

NEEDLESS: Mapping[str, str] = {
    "the weather": "The weather is lovely today.",
    "the cat": "My cat sends her love.",
    "the pasta": "I had pasta for lunch.",
    "the holidays": "I still dream of the holidays.",
}
"""Sentences that belong in no mail, by what they are about."""

UNSAFE: Mapping[str, str] = {
    "ask for the password": "Please send me your password.",
    "give the bank code": "My bank code is 4411.",
}
"""Sentences that do harm, by what they do."""


@dataclass(frozen=True)
class Manner:
    """How a mail is to be written. ``None`` where both ways will do."""

    greeting: Greeting
    ending: Ending
    emoji: bool
    apology: bool
    courtesy: bool | None
    thanks: bool = False


_ACTIONS: Mapping[str, tuple[str, Mapping[str, object]]] = {
    "emoji": ("Use an emoji", {"emoji": True}),
    "no-emoji": ("Do not use emojis", {"emoji": False}),
    "dear": ("Begin with Dear", {"greeting": "Dear"}),
    "hello": ("Begin with Hello", {"greeting": "Hello"}),
    "hi": ("Begin with Hi", {"greeting": "Hi"}),
    "kind-regards": ("End with Kind regards", {"ending": "Kind regards"}),
    "best-wishes": ("End with Best wishes", {"ending": "Best wishes"}),
    "cheers": ("End with Cheers", {"ending": "Cheers"}),
    "sorry": ("Say sorry", {"apology": True}),
    "thanks": ("Say thank you", {"thanks": True}),
    "kind-word": ("Say that you hope they are well", {"courtesy": True}),
    "no-kind-word": ("Leave out kind words", {"courtesy": False}),
}

_SCOPES = {reader.name: f"in mails to {reader.scope}" for reader in READERS}

RULES = tuple(
    Rule(what, scope, f"{words} {where}.")
    for what, (words, _) in _ACTIONS.items()
    for scope, where in {**_SCOPES, "all": "in all my mails"}.items()
)


def changes(rule: Rule) -> Mapping[str, object]:
    """Return the fields of a manner that a rule sets."""
    return _ACTIONS[rule.what][1]
