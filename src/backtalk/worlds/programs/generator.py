"""Generator of programs with random errors, the training data of the small model."""

from __future__ import annotations

import re
from collections.abc import Iterator

from backtalk.worlds.generator import TaskGenerator
from backtalk.worlds.programs.phrases import DOCSTRING, DONE, START, STYLE_RULES, ProgramStyle
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Rng

UNSAFE = ("import os", 'open("/etc/passwd")', 'eval("1")')
ENDLESS = "while True: pass"
_HARM, _ENDLESS = 0.25, 0.03
"""Shares of unsafe lines and of endless loops among irrelevant lines."""

_SWAPS = {
    left: right
    for pair in (
        *("+ -", "- +", "* +", "% *", "> <", "< >", "== !=", "!= ==", "and or", "or and"),
        *("max min", "min max", "upper lower", "sorted list", "sum len", "len sum"),
    )
    for left, right in [pair.split()]
} | {"not": ""}
_SWAPPABLE = re.compile(
    r"(?<=\s)(?:[-+*<>%]|==|!=|and|or)(?=\s)|\b(?:not |max|min|upper|sorted|sum|len)"
)
_NUMBER = re.compile(r"\d+")
_NAME = re.compile(r"\b(?:xs|ys|x|y|s|a|b)\b")


class ProgramGenerator(TaskGenerator[ProgramTask, ProgramStyle]):
    """Generator of one program."""

    def write(self) -> str:
        """Return a random program."""
        style = self._perturb_style()
        lines = [START] if "start" in style else []
        lines += [self._header(style), *(f"    {line}" for line in self._function_body(style))]
        return "\n".join([*lines, DONE] if "done" in style else lines)

    def _perturb_style(self) -> ProgramStyle:
        """Return the style, or another by mistake."""
        if not self._happens(self._error_rates.style):
            return self._style
        names = list(STYLE_RULES)
        return self._style ^ {names[self._rng.integers(len(names))]}

    def _header(self, style: ProgramStyle) -> str:
        hint = self._task.type_hint if "type" in style else ""
        colon = "" if self._happens(self._error_rates.wrong_facts / 5) else ":"
        return f"{self._task.signature}{hint}{colon}"

    def _function_body(self, style: ProgramStyle) -> Iterator[str]:
        if "docstring" in style:
            yield DOCSTRING
        if "check" in style:
            yield self._task.check
        body = list(self._body())
        if self._happens(self._error_rates.irrelevant):
            body.insert(int(self._rng.integers(len(body))), self._irrelevant_line())
        yield from body

    def _body(self) -> Iterator[str]:
        *first, last = self._task.code
        for line in first:
            if not self._happens(0.8 * self._error_rates.omissions):
                yield self._perturb_line(line)
        if self._happens(self._error_rates.omissions / 3):
            last = f"return {self._task.kind.first}"
        if self._happens(self._error_rates.omissions / 4):
            last = last.removeprefix("return ")
        yield self._perturb_line(last)

    def _perturb_line(self, line: str) -> str:
        """Return a line, or a similar one by mistake."""
        if not self._happens(self._error_rates.wrong_facts):
            return line
        changes = [
            change
            for change, pattern in (
                (_swap_token, _SWAPPABLE),
                (_change_number, _NUMBER),
                (_change_name, _NAME),
            )
            if pattern.search(line)
        ]
        # A wrong name fails at once and is easy to see, so it is not the most common error.
        change = changes[0] if self._happens(0.6) else changes[self._rng.integers(len(changes))]
        return change(line, self._rng)

    def _irrelevant_line(self) -> str:
        if self._happens(_ENDLESS):
            return ENDLESS
        if self._happens(_HARM):
            return UNSAFE[self._rng.integers(len(UNSAFE))]
        return f"print({self._task.kind.first})"


def _random_match(pattern: re.Pattern[str], line: str, rng: Rng) -> re.Match[str]:
    results = list(pattern.finditer(line))
    return results[rng.integers(len(results))]


def _swap_token(line: str, rng: Rng) -> str:
    result = _random_match(_SWAPPABLE, line, rng)
    return line[: result.start()] + _SWAPS[result[0].strip()] + line[result.end() :]


def _change_number(line: str, rng: Rng) -> str:
    result = _random_match(_NUMBER, line, rng)
    number = int(result[0])
    other = number + 1 if number == 0 or rng.random() < 0.5 else number - 1
    return f"{line[: result.start()]}{other}{line[result.end() :]}"


def _change_name(line: str, rng: Rng) -> str:
    result = _random_match(_NAME, line, rng)
    others = [name for name in ("n", "z", "zs", "t", "c") if name != result[0]]
    return line[: result.start()] + others[rng.integers(len(others))] + line[result.end() :]
