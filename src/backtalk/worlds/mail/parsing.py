"""Reading a mail: its parts, and where they stand."""

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
from backtalk.worlds.mail.task import MailTask, slots

Role = Literal[
    "message", "ask", "apology", "courtesy", "thanks", "emoji", "needless", "unsafe", "unclear"
]
_FIXED: dict[str, Role] = {
    APOLOGY: "apology",
    COURTESY: "courtesy",
    THANKS: "thanks",
    EMOJI: "emoji",
    **dict.fromkeys(NEEDLESS.values(), "needless"),
    **dict.fromkeys(UNSAFE.values(), "unsafe"),
}


@dataclass(frozen=True)
class Part:
    """A stretch of a mail, ``text[start:end]``, and what it does."""

    role: Role
    start: int
    end: int
    text: str
    slots: dict[str, tuple[int, int, str]] = field(default_factory=dict)
    """The facts that it states: where, and what it says."""


@dataclass(frozen=True)
class Mail:
    """The parts of a mail."""

    greeting: re.Match[str] | None
    """With the groups ``word`` and ``name``."""
    ending: re.Match[str] | None
    """With the group ``word``."""
    body: tuple[int, int]
    """From the first part's beginning to the last one's end; empty if there is none."""
    parts: tuple[Part, ...]

    def having(self, role: Role) -> list[Part]:
        """Return the parts of a role."""
        return [part for part in self.parts if part.role == role]


_GREETING = re.compile(rf"(?P<word>{'|'.join(GREETINGS)}) (?P<name>[^,\n]+),(?:\n|\Z)")
_ENDING = re.compile(rf"(?:\A|\n)(?P<word>{'|'.join(ENDINGS)}),\n{SENDER}\s*\Z")
_MARK = re.compile(rf"{EMOJI}|[.!?]+(?=\s|{EMOJI}|\Z)|\n")


def read_mail(task: MailTask, text: str) -> Mail:
    """Return the parts of a mail on a task."""
    greeting = _GREETING.match(text)
    ending = _ENDING.search(text)
    begin = greeting.end() if greeting else 0
    stop = ending.start() if ending else len(text)
    parts = tuple(_part(task, text, start, end) for start, end in _sentences(text, begin, stop))
    body = (parts[0].start, parts[-1].end) if parts else (begin, begin)
    return Mail(greeting, ending, body, parts)


def _sentences(text: str, begin: int, stop: int) -> Iterator[tuple[int, int]]:
    """Yield where each sentence or emoji between two places begins and ends."""
    place = begin
    for mark in _MARK.finditer(text[begin:stop]):
        is_emoji = mark[0] == EMOJI
        end = begin + (mark.start() if is_emoji or mark[0] == "\n" else mark.end())
        yield from _trimmed(text, place, end)
        if is_emoji:
            yield begin + mark.start(), begin + mark.end()
        place = begin + mark.end()
    yield from _trimmed(text, place, max(stop, place))


def _trimmed(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    piece = text[start:end]
    if piece.strip():
        yield start + len(piece) - len(piece.lstrip()), start + len(piece.rstrip())


def _part(task: MailTask, text: str, start: int, end: int) -> Part:
    said = text[start:end]
    if said in _FIXED:
        return Part(_FIXED[said], start, end, said)
    for role, template in (("message", task.topic.sentence), ("ask", ASK)):
        result = slots(template).fullmatch(said)
        if result:
            facts = {
                fact: (start + result.start(fact), start + result.end(fact), value)
                for fact, value in result.groupdict().items()
            }
            return Part(role, start, end, said, facts)  # type: ignore[arg-type]
    return Part("unclear", start, end, said)
