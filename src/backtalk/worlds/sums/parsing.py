"""Reading a worked answer: its lines, and what each of them is."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from backtalk.worlds.sums.phrases import CLOSING, LEADS, OPENING, THINGS

Role = Literal["opening", "step", "last", "closing", "other"]

_N = r"-?[0-9]{1,4}"
_STEP = re.compile(
    rf"(?:(?P<number>[0-9]{{1,2}})\.\s*)?(?P<left>{_N})\s*(?P<operation>[-+*/])\s*(?P<right>{_N})"
    rf"\s*(?P<sign>=|equals)\s*(?P<result>{_N})"
)
_UNFINISHED = re.compile(rf"(?:[0-9]{{1,2}}\.\s*)?{_N}\s*(?:[-+*/].*)?")
_LEADS = "|".join(LEADS)
_LAST = re.compile(rf"(?P<lead>{_LEADS})\s*(?P<value>{_N})(?:\s+(?P<unit>{'|'.join(THINGS)}))?")
_LAST_UNFINISHED = re.compile(rf"(?P<lead>{_LEADS}).*")
_ENDS: dict[str, Role] = {OPENING: "opening", CLOSING: "closing"}
_LINE = re.compile(r"[^\n]*\S[^\n]*")


@dataclass(frozen=True)
class Line:
    """A line, ``text[start:end]``, and what it is."""

    role: Role
    start: int
    end: int
    text: str
    found: re.Match[str] | None = None
    """The groups of a step or a last line; spans are places in the whole text."""
    whole: bool = True
    """Whether a step or a last line has all that it needs."""

    @property
    def step(self) -> tuple[int, str, int, int] | None:
        """Left, operation, right and result of a whole step."""
        if self.role != "step" or self.found is None:
            return None
        left, operation, right, result = self.found.group("left", "operation", "right", "result")
        return int(left), operation, int(right), int(result)

    @property
    def written(self) -> str:
        """A whole step as it is usually written; of anything else, its beginning."""
        if self.step is None:
            return self.text[:20]
        left, operation, right, result = self.step
        return f"{left} {operation} {right} = {result}"

    @property
    def value(self) -> int | None:
        """What a whole last line gives as the answer."""
        if self.role != "last" or self.found is None or not self.whole:
            return None
        return int(self.found["value"])


def read_answer(text: str) -> tuple[Line, ...]:
    """Return the lines of an answer that are not blank."""
    return tuple(_line(text, *_trimmed(result)) for result in _LINE.finditer(text))


def _trimmed(found: re.Match[str]) -> tuple[int, int]:
    line = found[0]
    return (
        found.start() + len(line) - len(line.lstrip()),
        found.start() + len(line.rstrip()),
    )


def _line(text: str, start: int, end: int) -> Line:
    said = text[start:end]
    if said in _ENDS:
        return Line(_ENDS[said], start, end, said)
    step = _STEP.fullmatch(text, start, end)
    if step:
        return Line("step", start, end, said, step)
    last = _LAST.fullmatch(text, start, end)
    if last:
        return Line("last", start, end, said, last)
    if _UNFINISHED.fullmatch(said):
        return Line("step", start, end, said, whole=False)
    last = _LAST_UNFINISHED.fullmatch(text, start, end)
    if last:
        return Line("last", start, end, said, last, whole=False)
    return Line("other", start, end, said)
