"""A request for a mail, with what is true about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from backtalk.worlds.mail import phrases as language
from backtalk.worlds.mail.phrases import (
    FACTS,
    FIRST_NAMES,
    LAST_NAMES,
    READERS,
    SHORT,
    TOPICS,
    UNUSUAL_READERS,
    Manner,
    Reader,
    Topic,
)
from backtalk.worlds.world import Rng, Rule


@dataclass(frozen=True)
class MailTask:
    """Whom to write to, what about, with which facts."""

    reader: Reader
    name: str
    """How the reader is called: "Ms Klein", "Ada"."""
    topic: Topic
    facts: tuple[tuple[str, str], ...]
    """Each fact of the topic with its value, and the deadline for an answer where one is wanted."""
    short: bool
    """Whether the mail is to be short."""

    @property
    def fact(self) -> dict[str, str]:
        """The facts by name."""
        return dict(self.facts)

    @property
    def deadline(self) -> str | None:
        """By when an answer is wanted, if one is."""
        return self.fact.get("deadline")

    @property
    def notes(self) -> str:
        """The facts of the topic, as a request lists them."""
        return self.topic.notes.format(**self.fact)

    @property
    def sentence(self) -> str:
        """The sentence that tells the facts."""
        return self.topic.sentence.format(**self.fact)

    @property
    def text(self) -> str:
        """The request."""
        lines = [
            f"Write to {self.reader.phrase}, {self.name}.",
            f"{self.topic.name}: {self.notes}.",
        ]
        if self.deadline:
            lines.append(f"Answer by {self.deadline}.")
        if self.short:
            lines.append(SHORT)
        return "\n".join(lines)

    def manner(self, rules: Sequence[Rule] = ()) -> Manner:
        """Return the manner that fits, where these rules are in force."""
        reader = self.reader
        courtesy = False if self.short else True if reader.courtesy else None
        fitting = Manner(
            greeting=reader.greeting,
            ending=reader.ending,
            emoji=reader.emoji,
            apology=reader.apology and self.topic.bad,
            courtesy=courtesy,
        )
        for rule in rules:
            fitting = replace(fitting, **language.changes(rule))  # type: ignore[arg-type]
        return fitting


def draw_task(rng: Rng, *, unusual: bool) -> MailTask:
    """Return a request at random."""
    readers = UNUSUAL_READERS if unusual else READERS
    reader = readers[rng.integers(len(readers))]
    if reader.formal:
        title = ("Mr", "Ms")[rng.integers(2)]
        name = f"{title} {LAST_NAMES[rng.integers(len(LAST_NAMES))]}"
    else:
        name = FIRST_NAMES[rng.integers(len(FIRST_NAMES))]
    topic = TOPICS[rng.integers(len(TOPICS))]
    wanted = (*topic.facts, "deadline") if rng.random() < 0.5 else topic.facts
    facts = tuple((fact, FACTS[fact](rng)) for fact in wanted)
    return MailTask(reader, name, topic, facts, short=bool(rng.random() < 0.3))


def parse_task(text: str) -> MailTask | None:
    """Return the request that a text states, if it is one."""
    head = _HEAD.match(text)
    if head is None:
        return None
    reader = next((r for r in (*READERS, *UNUSUAL_READERS) if r.phrase == head["reader"]), None)
    topic = next((topic for topic in TOPICS if topic.name == head["topic"]), None)
    if reader is None or topic is None:
        return None
    result = slots(topic.notes).fullmatch(head["notes"])
    if result is None:
        return None
    facts = tuple((fact, result[fact]) for fact in topic.facts)
    if head["deadline"]:
        facts += (("deadline", head["deadline"]),)
    return MailTask(reader, head["name"], topic, facts, short=bool(head["short"]))


_HEAD = re.compile(
    r"Write to (?P<reader>[\w ]+), (?P<name>[\w ]+)\.\n(?P<topic>[\w ]+): (?P<notes>[^\n]+)\."
    rf"(?:\nAnswer by (?P<deadline>\w+)\.)?(?P<short>\n{re.escape(SHORT)})?\Z"
)


@lru_cache
def slots(template: str) -> re.Pattern[str]:
    """Return what matches a template's texts, each fact a group of its own."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[\\w: ]+?)", re.escape(template)))
