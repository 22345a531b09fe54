"""Parser of worked answers: the lines and their roles."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from backtalk.worlds.sums.phrases import CLOSING, LEADS, OPENING, THINGS

LineRole = Literal["opening", "step", "last", "closing", "other"]

_N = r"-?[0-9]{1,4}"
_STEP = re.compile(
    rf"(?:(?P<number>[0-9]{{1,2}})\.\s*)?(?P<left>{_N})\s*(?P<operation>[-+*/])\s*(?P<right>{_N})"
    rf"\s*(?P<sign>=|equals)\s*(?P<result>{_N})"
)
_UNFINISHED = re.compile(rf"(?:[0-9]{{1,2}}\.\s*)?{_N}\s*(?:[-+*/].*)?")
_LEADS = "|".join(LEADS)
_LAST = re.compile(rf"(?P<lead>{_LEADS})\s*(?P<value>{_N})(?:\s+(?P<unit>{'|'.join(THINGS)}))?")
_LAST_UNFINISHED = re.compile(rf"(?P<lead>{_LEADS}).*")
_ENDS: dict[str, LineRole] = {OPENING: "opening", CLOSING: "closing"}
_LINE = re.compile(r"[^\n]*\S[^\n]*")


@dataclass(frozen=True)
class AnswerLine:
    """Line of an answer, ``text[start:end]``, with its role."""

    role: LineRole
    start: int
    end: int
    text: str
    match: re.Match[str] | None = None
    """Match of a step or a last line; spans are positions in the whole text."""
    whole: bool = True
    """If false, a step or a last line is unfinished."""

    @property
    def step(self) -> tuple[int, str, int, int] | None:
        """Left operand, operator, right operand and result of a finished step."""
        if self.role != "step" or self.match is None:
            return None
        left, operator, right, result = self.match.group("left", "operation", "right", "result")
        return int(left), operator, int(right), int(result)

    @property
    def canonical_text(self) -> str:
        """Finished step in canonical form; the first 20 characters of any other line."""
        if self.step is None:
            return self.text[:20]
        left, operator, right, result = self.step
        return f"{left} {operator} {right} = {result}"

    @property
    def value(self) -> int | None:
        """Answer in a finished last line."""
        if self.role != "last" or self.match is None or not self.whole:
            return None
        return int(self.match["value"])


def read_answer(text: str) -> tuple[AnswerLine, ...]:
    """Return the non-blank lines of an answer."""
    return tuple(_line(text, *_trimmed(result)) for result in _LINE.finditer(text))


def _trimmed(match: re.Match[str]) -> tuple[int, int]:
    line = match[0]
    return (
        match.start() + len(line) - len(line.lstrip()),
        match.start() + len(line.rstrip()),
    )


def _line(text: str, start: int, end: int) -> AnswerLine:
    description = text[start:end]
    if description in _ENDS:
        return AnswerLine(_ENDS[description], start, end, description)
    step = _STEP.fullmatch(text, start, end)
    if step:
        return AnswerLine("step", start, end, description, step)
    last = _LAST.fullmatch(text, start, end)
    if last:
        return AnswerLine("last", start, end, description, last)
    if _UNFINISHED.fullmatch(description):
        return AnswerLine("step", start, end, description, whole=False)
    last = _LAST_UNFINISHED.fullmatch(text, start, end)
    if last:
        return AnswerLine("last", start, end, description, last, whole=False)
    return AnswerLine("other", start, end, description)
