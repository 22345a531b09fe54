"""A writer of programs, of any care: what the small model is trained on."""

from __future__ import annotations

import re
from collections.abc import Iterator

from backtalk.worlds.generator import TaskGenerator
from backtalk.worlds.programs.phrases import DOCSTRING, DONE, MANNERS, START, Manner
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Rng

UNSAFE = ("import os", 'open("/etc/passwd")', 'eval("1")')
ENDLESS = "while True: pass"
_HARM, _ENDLESS = 0.25, 0.03
"""The shares of lines put in that do harm, and that never end."""

_SWAPS = {
    left: right
    for pair in (
        *("+ -", "- +", "* +", "% *", "> <", "< >", "== !=", "!= ==", "and or", "or and"),
        *("max min", "min max", "upper lower", "sorted list", "sum len", "len sum"),
    )
    for left, right in [pair.split()]
} | {"not": ""}
_SWAPPED = re.compile(
    r"(?<=\s)(?:[-+*<>%]|==|!=|and|or)(?=\s)|\b(?:not |max|min|upper|sorted|sum|len)"
)
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"\b(?:xs|ys|x|y|s|a|b)\b")


class ProgramGenerator(TaskGenerator[ProgramTask, Manner]):
    """Writes one program."""

    def write(self) -> str:
        """Return the program."""
        manner = self._as_meant()
        lines = [START] if "start" in manner else []
        lines += [self._header(manner), *(f"    {line}" for line in self._inside(manner))]
        return "\n".join([*lines, DONE] if "done" in manner else lines)

    def _as_meant(self) -> Manner:
        """Return the manner, or by mistake another."""
        if not self._happens(self._care.style):
            return self._manner
        names = list(MANNERS)
        return self._manner ^ {names[self._probability.integers(len(names))]}

    def _header(self, manner: Manner) -> str:
        hint = self._task.type_hint if "type" in manner else ""
        colon = "" if self._happens(self._care.wrong_facts / 5) else ":"
        return f"{self._task.signature}{hint}{colon}"

    def _inside(self, manner: Manner) -> Iterator[str]:
        if "docstring" in manner:
            yield DOCSTRING
        if "check" in manner:
            yield self._task.check
        body = list(self._body())
        if self._happens(self._care.irrelevant):
            body.insert(int(self._probability.integers(len(body))), self._extra())
        yield from body

    def _body(self) -> Iterator[str]:
        *first, last = self._task.code
        for line in first:
            if not self._happens(0.8 * self._care.omissions):
                yield self._slipped(line)
        if self._happens(self._care.omissions / 3):
            last = f"return {self._task.kind.first}"
        if self._happens(self._care.omissions / 4):
            last = last.removeprefix("return ")
        yield self._slipped(last)

    def _slipped(self, line: str) -> str:
        """Return a line, or by mistake one like it."""
        if not self._happens(self._care.wrong_facts):
            return line
        ways = [
            way
            for way, pattern in ((_swapped, _SWAPPED), (_counted, _NUMBER), (_named, _NAME))
            if pattern.search(line)
        ]
        # A wrong name is an error at once, and so too easy to see to be the most common slip.
        way = ways[0] if self._happens(0.6) else ways[self._probability.integers(len(ways))]
        return way(line, self._probability)

    def _extra(self) -> str:
        if self._happens(_ENDLESS):
            return ENDLESS
        if self._happens(_HARM):
            return UNSAFE[self._probability.integers(len(UNSAFE))]
        return f"print({self._task.kind.first})"


def _one_of(pattern: re.Pattern[str], line: str, rng: Rng) -> re.Match[str]:
    results = list(pattern.finditer(line))
    return results[rng.integers(len(results))]


def _swapped(line: str, rng: Rng) -> str:
    result = _one_of(_SWAPPED, line, rng)
    return line[: result.start()] + _SWAPS[result[0].strip()] + line[result.end() :]


def _counted(line: str, rng: Rng) -> str:
    result = _one_of(_NUMBER, line, rng)
    number = int(result[0])
    other = number + 1 if number == 0 or rng.random() < 0.5 else number - 1
    return f"{line[: result.start()]}{other}{line[result.end() :]}"


def _named(line: str, rng: Rng) -> str:
    result = _one_of(_NAME, line, rng)
    others = [name for name in ("n", "z", "zs", "t", "c") if name != result[0]]
    return line[: result.start()] + others[rng.integers(len(others))] + line[result.end() :]
