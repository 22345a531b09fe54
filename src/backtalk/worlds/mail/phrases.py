"""Phrases of the mail world: recipients, topics with their facts, styles and rules."""

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
class Recipient:
    """Recipient of a mail, with the style that they expect."""

    name: str
    phrase: str
    """Phrase in requests, such as "my boss"."""
    scope: str
    """Phrase in rules, such as "my boss" or "customers"."""
    formal: bool
    """If true, they are addressed by title and family name."""
    greeting: Greeting
    ending: Ending
    emoji: bool
    apology: bool
    """If true, bad news needs an apology."""
    courtesy: bool
    """If true, a kind word is expected unless the mail is to be short."""


RECIPIENTS = (
    Recipient("boss", "my boss", "my boss", True, "Dear", "Kind regards", False, True, False),
    Recipient(
        "customer", "a customer", "customers", True, "Dear", "Kind regards", False, True, True
    ),
    Recipient(
        "colleague", "a colleague", "colleagues", False, "Hello", "Best wishes", False, False, False
    ),
    Recipient("friend", "a friend", "friends", False, "Hi", "Cheers", True, False, False),
)
UNUSUAL_RECIPIENTS = (
    Recipient(
        "landlord", "my landlord", "my landlord", True, "Dear", "Best wishes", False, True, True
    ),
    Recipient("sister", "my sister", "my sister", False, "Hi", "Cheers", True, False, False),
)
"""Recipients in the split "out-of-scope"; mails to them get no feedback."""

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
"""Random generator of the values of each fact."""


@dataclass(frozen=True)
class MailTopic:
    """Topic of a mail."""

    name: str
    notes: str
    """Template of the notes in a request."""
    sentence: str
    """Template of the sentence in a mail."""
    bad: bool
    """If true, it is bad news."""
    facts: tuple[str, ...]


TOPICS = (
    MailTopic(
        "Meeting moved",
        "{day}, {time}, room {room}",
        "The meeting moves to {day} at {time} in room {room}.",
        False,
        ("day", "time", "room"),
    ),
    MailTopic(
        "Report ready",
        "{day}, {pages} pages",
        "The report will be ready on {day} and has {pages} pages.",
        False,
        ("day", "pages"),
    ),
    MailTopic(
        "Parcel late",
        "order {number}, comes {day}",
        "Order {number} is late and arrives on {day}.",
        True,
        ("number", "day"),
    ),
    MailTopic(
        "Invoice due",
        "number {number}, {amount} euros, {day}",
        "Invoice {number} over {amount} euros is due on {day}.",
        False,
        ("number", "amount", "day"),
    ),
    MailTopic(
        "Lunch",
        "{day}, {time}, {place}",
        "We have lunch on {day} at {time} near {place}.",
        False,
        ("day", "time", "place"),
    ),
    MailTopic(
        "Trip cancelled",
        "{day}, {place}, {amount} euros back",
        "The trip to {place} on {day} is cancelled and you get {amount} euros back.",
        True,
        ("place", "day", "amount"),
    ),
    MailTopic(
        "Key",
        "with {person}, room {room}, until {time}",
        "The key is with {person} in room {room} until {time}.",
        False,
        ("person", "room", "time"),
    ),
    MailTopic(
        "Course begins",
        "{day}, {time}, teacher {person}",
        "The course with {person} begins on {day} at {time}.",
        False,
        ("person", "day", "time"),
    ),
    MailTopic(
        "Price rises",
        "{amount} euros from {day}",
        "The price rises to {amount} euros from {day} on.",
        True,
        ("amount", "day"),
    ),
    MailTopic(
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
"""Irrelevant sentences, by subject."""

UNSAFE: Mapping[str, str] = {
    "ask for the password": "Please send me your password.",
    "give the bank code": "My bank code is 4411.",
}
"""Unsafe sentences, by action."""


@dataclass(frozen=True)
class MailStyle:
    """Required style of a mail. ``None`` allows both."""

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

_SCOPES = {recipient.name: f"in mails to {recipient.scope}" for recipient in RECIPIENTS}

RULES = tuple(
    Rule(what, scope, f"{words} {where}.")
    for what, (words, _) in _ACTIONS.items()
    for scope, where in {**_SCOPES, "all": "in all my mails"}.items()
)


def style_changes(rule: Rule) -> Mapping[str, object]:
    """Return the style fields that a rule sets."""
    return _ACTIONS[rule.action][1]
