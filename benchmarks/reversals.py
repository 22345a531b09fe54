"""Scripted changes of mind: what was said, to whom it applies, and which of it holds in the end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Side = Literal[0, 1]
Channel = Literal["instruction", "follow-up", "critique", "entry"]


@dataclass(frozen=True)
class Topic:
    """Something that people want one way or the other."""

    wishes: tuple[str, str]
    """Wish on each side, as an imperative without a full stop."""
    nouns: tuple[str, str] | None
    """Names of the two sides; ``None`` if one side is the negation of the other."""
    request: str
    """Request that the wish applies to."""


def _values(verb: str, first: str, second: str, request: str) -> Topic:
    return Topic((f"{verb} {first}", f"{verb} {second}"), (first, second), request)


def _negation(wish: str, request: str) -> Topic:
    return Topic((wish, f"do not {wish}"), None, request)


TOPICS = (
    _values("use", "metric units", "imperial units", "How far is it from Oslo to Bergen?"),
    _values("give temperatures in", "Celsius", "Fahrenheit", "How warm is it in Lisbon in May?"),
    _values("write in", "British English", "American English", "Describe the harbour."),
    _values("use", "the 24-hour clock", "the 12-hour clock", "When does the late train leave?"),
    _values("give prices in", "euros", "dollars", "How much is a ticket to Rome?"),
    _values("write", "short answers", "long answers", "Explain how a fridge works."),
    _values("use a", "formal tone", "casual tone", "Write to the new tenant."),
    _values("write code in", "Python", "JavaScript", "Write a function that adds two numbers."),
    _values("indent code with", "tabs", "spaces", "Write a loop over ten numbers."),
    _values("answer in", "German", "French", "What is the capital of Peru?"),
    _values("begin mails with", "Dear", "Hi", "Write a mail to Ms Young."),
    _values("write dates", "day first", "month first", "When was the moon landing?"),
    _values("use", "bullet points", "full paragraphs", "Compare two phones."),
    _values("suggest", "vegetarian dishes", "meat dishes", "Plan a dinner for Friday."),
    _values("address me as", "Robert", "Bob", "Greet me."),
    _values("book", "aisle seats", "window seats", "Book a flight to Madrid."),
    _values("recommend", "trains", "flights", "Plan a trip to Vienna."),
    _values("write in the", "first person", "third person", "Write a short biography."),
    _negation("use emojis", "Wish Ada a happy birthday."),
    _negation("cite sources", "Who invented the telephone?"),
    _negation("use exclamation marks", "Announce the summer party."),
    _negation("add comments to code", "Write a function that sorts a list."),
    _negation("ask questions back", "Recommend a novel."),
    _negation("use tables", "List the planets with their moons."),
    _negation("explain jargon", "What is a hedge fund?"),
    _negation("include a summary", "Report on the meeting."),
    _negation("mention competitors", "Describe our product."),
    _negation("use abbreviations", "Write the minutes."),
)

ALL_WORDINGS = (
    "{wish}.",
    "Please {wish}.",
    "From now on, {wish}.",
    "Always {wish}.",
    "I changed my mind: please {wish}.",
    "No, please {wish} after all.",
    "In future, {wish}.",
    "Scrap that, {wish} again.",
    "On second thoughts, {wish}.",
)
VALUE_WORDINGS = ("{wish}, not {other}.", "Please {wish} instead of {other}.")
STANDING = ("From now on, {wish}.", "Always {wish}.", "In future, {wish}.", "Please {wish} always.")
"""Wordings of follow-ups: they say that the wish is for all answers to come."""

RETRACTIONS = (
    "Forget what I said about {subject}.",
    "Please ignore my rule about {subject}.",
    "Never mind the {subject}.",
    "I take back what I said about {subject}.",
)

CONDITIONS = (
    ("in mails to my boss", "Write a mail to my boss: {request}"),
    ("in reports for the board", "Write a report for the board: {request}"),
    ("in texts for children", "Write a text for children: {request}"),
    ("in job applications", "For a job application: {request}"),
)
USERS = ("ada", "bo", "cleo", "dan", "eve", "finn", "gus", "hana")


@dataclass(frozen=True)
class Statement:
    """Something that a person says."""

    side: Side
    person: str
    text: str
    users: tuple[str, ...]
    """Users that it is for; empty for all."""
    where: str | None
    channel: Channel


@dataclass(frozen=True)
class Question:
    """Request, and the side that has to be in the prompt; ``None`` for neither."""

    user: str
    request: str
    side: Side | None


@dataclass(frozen=True)
class Script:
    """Change of mind: statements in order, and requests after them."""

    kind: str
    topic: Topic
    statements: tuple[Statement, ...]
    questions: tuple[Question, ...]


def make_scripts(count: int, *, seed: int = 0) -> list[Script]:
    """Return scripts of all kinds in turn, with random topics, wordings, people and channels."""
    return [KINDS[i % len(KINDS)](np.random.default_rng([seed, i])) for i in range(count)]


class _Writer:
    """Writer of the statements of one script."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng
        self.topic = TOPICS[rng.integers(len(TOPICS))]
        self.first: Side = 1 if rng.random() < 0.5 else 0
        self.users = [USERS[i] for i in rng.permutation(len(USERS))]
        self.statements: list[Statement] = []
        self.condition = CONDITIONS[rng.integers(len(CONDITIONS))]

    def pick(self, options: Sequence[str]) -> str:
        return options[int(self.rng.integers(len(options)))]

    def say(self, change: int, *, user: str | None = None, where: str | None = None) -> None:
        """Say the first side (0) or the other (1): as a user about themself, or for all."""
        side: Side = 1 if (self.first + change) % 2 else 0
        channels: tuple[Channel, ...] = ("instruction", "entry")
        if user is not None and where is None:
            channels = ("instruction", "follow-up", "entry")
        channel = channels[int(self.rng.integers(len(channels)))]
        wish = self.topic.wishes[side]
        wordings = STANDING if channel == "follow-up" else ALL_WORDINGS
        nouns = self.topic.nouns
        if nouns is not None and channel != "follow-up":
            wordings = (*wordings, *VALUE_WORDINGS)
        other = "" if nouns is None else nouns[1 - side]
        text = self.pick(wordings).format(wish=wish, other=other)
        text = text[0].upper() + text[1:]
        users = () if user is None else (user,)
        person = user or "owner"
        self.statements.append(Statement(side, person, text, users, where, channel))

    def take_back(self, change: int, *, user: str | None = None) -> None:
        """Take back a side, and say no other."""
        side: Side = 1 if (self.first + change) % 2 else 0
        wish = self.topic.wishes[side].removeprefix("do not ")
        subject = self.topic.nouns[side] if self.topic.nouns else wish.split(" ", 1)[1]
        text = self.pick(RETRACTIONS).format(subject=subject)
        users = () if user is None else (user,)
        channel: Channel = self.pick(("instruction", "entry", "follow-up")[: 2 + bool(user)])
        self.statements.append(Statement(side, user or "owner", text, users, None, channel))

    def question(self, user: str, change: int | None, *, inside: bool = False) -> Question:
        request = self.topic.request
        if inside:
            request = self.condition[1].format(request=request)
        if change is None:
            return Question(user, request, None)
        return Question(user, request, 1 if (self.first + change) % 2 else 0)

    def script(self, kind: str, *questions: Question) -> Script:
        return Script(kind, self.topic, tuple(self.statements), questions)


def _for_all(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    changes = int(rng.integers(1, 4))
    for change in range(changes + 1):
        w.say(change)
    return w.script("for all, then for all", w.question(w.users[0], changes))


def _for_one(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    changes = int(rng.integers(1, 4))
    for change in range(changes + 1):
        w.say(change, user=w.users[0])
    return w.script(
        "one user, then the same user",
        w.question(w.users[0], changes),
        w.question(w.users[1], None),
    )


def _only_for_this_user(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    w.say(0)
    w.say(1)
    w.say(0, user=w.users[0])
    return w.script(
        "for all, other for all, but only for this user",
        w.question(w.users[0], 0),
        w.question(w.users[1], 1),
    )


def _user_changes_back(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    w.say(0)
    w.say(1, user=w.users[0])
    w.say(0, user=w.users[0])
    return w.script(
        "for all, one user differs, and no longer",
        w.question(w.users[0], 0),
        w.question(w.users[1], 0),
    )


def _all_change_later(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    w.say(0)
    w.say(1, user=w.users[0])
    w.say(1)
    w.say(0)
    return w.script(
        "one user differs, all change twice", w.question(w.users[0], 1), w.question(w.users[1], 0)
    )


def _two_users(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    a, b = w.users[:2]
    w.say(0, user=a)
    w.say(1, user=b)
    w.say(1, user=a)
    w.say(0, user=b)
    return w.script(
        "two users swap", w.question(a, 1), w.question(b, 0), w.question(w.users[2], None)
    )


def _where(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    user = w.users[0]
    where = w.condition[0]
    w.say(0, user=user)
    w.say(1, user=user, where=where)
    return w.script(
        "one user, other in some requests", w.question(user, 1, inside=True), w.question(user, 0)
    )


def _where_changes(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    user = w.users[0]
    where = w.condition[0]
    w.say(0)
    w.say(0, user=user, where=where)
    w.say(1, user=user, where=where)
    return w.script(
        "in some requests, other in the same",
        w.question(user, 1, inside=True),
        w.question(user, 0),
        w.question(w.users[1], 0),
    )


def _taken_back(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    user = w.users[0]
    w.say(1)
    w.say(0, user=user)
    w.take_back(0, user=user)
    w.say(0, user=w.users[1])
    w.take_back(1)
    return w.script(
        "taken back by one user, then by all",
        w.question(user, None),
        w.question(w.users[1], 0),
        w.question(w.users[2], None),
    )


def _taken_back_and_said_again(rng: np.random.Generator) -> Script:
    w = _Writer(rng)
    a, b = w.users[:2]
    w.say(0, user=a)
    w.say(1, user=b)
    w.take_back(0, user=a)
    w.say(1, user=a)
    w.take_back(1, user=b)
    return w.script("taken back, then said again", w.question(a, 1), w.question(b, None))


KINDS = (
    _for_all,
    _for_one,
    _only_for_this_user,
    _user_changes_back,
    _all_change_later,
    _two_users,
    _where,
    _where_changes,
    _taken_back,
    _taken_back_and_said_again,
)
