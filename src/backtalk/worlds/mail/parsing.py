"""Parser of mails: the parts and their spans."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from backtalk.worlds.mail.phrases import (
    APOLOGY,
    ASK,
    COURTESY,
    EMOJI,
    ENDINGS,
    GREETINGS,
    NEEDLESS,
    SENDER,
    THANKS,
    UNSAFE,
)
from backtalk.worlds.mail.task import MailTask, fact_pattern

SentenceRole = Literal[
    "message", "ask", "apology", "courtesy", "thanks", "emoji", "needless", "unsafe", "unclear"
]
_FIXED: dict[str, SentenceRole] = {
    APOLOGY: "apology",
    COURTESY: "courtesy",
    THANKS: "thanks",
    EMOJI: "emoji",
    **dict.fromkeys(NEEDLESS.values(), "needless"),
    **dict.fromkeys(UNSAFE.values(), "unsafe"),
}


@dataclass(frozen=True)
class MailPart:
    """Sentence or emoji of a mail, ``text[start:end]``, with its role."""

    role: SentenceRole
    start: int
    end: int
    text: str
    stated_facts: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """Start, end and value of each fact stated, by name."""


@dataclass(frozen=True)
class ParsedMail:
    """Greeting, ending and body parts of a mail."""

    greeting: re.Match[str] | None
    """Match with the groups ``word`` and ``name``."""
    ending: re.Match[str] | None
    """Match with the group ``word``."""
    body: tuple[int, int]
    """Span from the first to the last part; empty if there is none."""
    parts: tuple[MailPart, ...]

    def parts_with_role(self, role: SentenceRole) -> list[MailPart]:
        """Return the parts with a role."""
        return [part for part in self.parts if part.role == role]


_GREETING = re.compile(rf"(?P<word>{'|'.join(GREETINGS)}) (?P<name>[^,\n]+),(?:\n|\Z)")
_ENDING = re.compile(rf"(?:\A|\n)(?P<word>{'|'.join(ENDINGS)}),\n{SENDER}\s*\Z")
_MARK = re.compile(rf"{EMOJI}|[.!?]+(?=\s|{EMOJI}|\Z)|\n")


def read_mail(task: MailTask, text: str) -> ParsedMail:
    """Return the parts of a mail for a task."""
    greeting = _GREETING.match(text)
    ending = _ENDING.search(text)
    begin = greeting.end() if greeting else 0
    stop = ending.start() if ending else len(text)
    parts = tuple(_part(task, text, start, end) for start, end in _sentences(text, begin, stop))
    body = (parts[0].start, parts[-1].end) if parts else (begin, begin)
    return ParsedMail(greeting, ending, body, parts)


def _sentences(text: str, begin: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield the span of each sentence or emoji between two positions."""
    position = begin
    for mark in _MARK.finditer(text[begin:stop]):
        is_emoji = mark[0] == EMOJI
        end = begin + (mark.start() if is_emoji or mark[0] == "\n" else mark.end())
        yield from _trimmed(text, position, end)
        if is_emoji:
            yield begin + mark.start(), begin + mark.end()
        position = begin + mark.end()
    yield from _trimmed(text, position, max(stop, position))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _part(task: MailTask, text: str, start: int, end: int) -> MailPart:
    description = text[start:end]
    if description in _FIXED:
        return MailPart(_FIXED[description], start, end, description)
    for role, template in (("message", task.topic.sentence), ("ask", ASK)):
        result = fact_pattern(template).fullmatch(description)
        if result:
            facts = {
                fact: (start + result.start(fact), start + result.end(fact), value)
                for fact, value in result.groupdict().items()
            }
            return MailPart(role, start, end, description, facts)  # type: ignore[arg-type]
    return MailPart("unclear", start, end, description)
