"""Tasks of the mail world: requests with recipient, topic and facts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from backtalk.worlds.mail.phrases import (
    FACTS,
    FIRST_NAMES,
    LAST_NAMES,
    RECIPIENTS,
    SHORT,
    TOPICS,
    UNUSUAL_RECIPIENTS,
    MailStyle,
    MailTopic,
    Recipient,
    style_changes,
)
from backtalk.worlds.world import Rng, Rule


@dataclass(frozen=True)
class MailTask:
    """Recipient, topic and facts of a mail."""

    recipient: Recipient
    name: str
    """Name of the recipient, such as "Ms Klein" or "Ada"."""
    topic: MailTopic
    facts: tuple[tuple[str, str], ...]
    """Name and value of each fact of the topic, and of the deadline if an answer is needed."""
    short: bool
    """If true, the mail is to be short."""

    @property
    def fact(self) -> dict[str, str]:
        """Value of each fact by name."""
        return dict(self.facts)

    @property
    def deadline(self) -> str | None:
        """Deadline for an answer, or ``None`` if no answer is needed."""
        return self.fact.get("deadline")

    @property
    def notes(self) -> str:
        """Notes of the request."""
        return self.topic.notes.format(**self.fact)

    @property
    def sentence(self) -> str:
        """Sentence that states the facts."""
        return self.topic.sentence.format(**self.fact)

    @property
    def text(self) -> str:
        """Text of the request."""
        lines = [
            f"Write to {self.recipient.phrase}, {self.name}.",
            f"{self.topic.name}: {self.notes}.",
        ]
        if self.deadline:
            lines.append(f"Answer by {self.deadline}.")
        if self.short:
            lines.append(SHORT)
        return "\n".join(lines)

    def style(self, rules: Sequence[Rule] = ()) -> MailStyle:
        """Return the required style under rules."""
        recipient = self.recipient
        courtesy = False if self.short else True if recipient.courtesy else None
        style = MailStyle(
            greeting=recipient.greeting,
            ending=recipient.ending,
            emoji=recipient.emoji,
            apology=recipient.apology and self.topic.bad,
            courtesy=courtesy,
        )
        for rule in rules:
            style = replace(style, **style_changes(rule))  # type: ignore[arg-type]
        return style


def draw_task(rng: Rng, *, unusual: bool) -> MailTask:
    """Return a random task, an unusual one for the split "out-of-scope"."""
    recipients = UNUSUAL_RECIPIENTS if unusual else RECIPIENTS
    recipient = recipients[rng.integers(len(recipients))]
    if recipient.formal:
        title = ("Mr", "Ms")[rng.integers(2)]
        name = f"{title} {LAST_NAMES[rng.integers(len(LAST_NAMES))]}"
    else:
        name = FIRST_NAMES[rng.integers(len(FIRST_NAMES))]
    topic = TOPICS[rng.integers(len(TOPICS))]
    names = (*topic.facts, "deadline") if rng.random() < 0.5 else topic.facts
    facts = tuple((fact, FACTS[fact](rng)) for fact in names)
    return MailTask(recipient, name, topic, facts, short=bool(rng.random() < 0.3))


def parse_task(text: str) -> MailTask | None:
    """Return the task that a request states, or ``None``."""
    head = _HEAD.match(text)
    if head is None:
        return None
    recipient = next(
        (r for r in (*RECIPIENTS, *UNUSUAL_RECIPIENTS) if r.phrase == head["recipient"]), None
    )
    topic = next((topic for topic in TOPICS if topic.name == head["topic"]), None)
    if recipient is None or topic is None:
        return None
    result = fact_pattern(topic.notes).fullmatch(head["notes"])
    if result is None:
        return None
    facts = tuple((fact, result[fact]) for fact in topic.facts)
    if head["deadline"]:
        facts += (("deadline", head["deadline"]),)
    return MailTask(recipient, head["name"], topic, facts, short=bool(head["short"]))


_HEAD = re.compile(
    r"Write to (?P<recipient>[\w ]+), (?P<name>[\w ]+)\.\n(?P<topic>[\w ]+): (?P<notes>[^\n]+)\."
    rf"(?:\nAnswer by (?P<deadline>\w+)\.)?(?P<short>\n{re.escape(SHORT)})?\Z"
)


@lru_cache
def fact_pattern(template: str) -> re.Pattern[str]:
    """Return the pattern of a template's texts, with a named group for each fact."""
    return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[\\w: ]+?)", re.escape(template)))
