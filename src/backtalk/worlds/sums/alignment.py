"""Alignment of the lines of an answer with the expected lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from backtalk.worlds.sums.parsing import AnswerLine, LineRole
from backtalk.worlds.sums.phrases import CLOSING, OPENING, AnswerLayout
from backtalk.worlds.sums.task import SumTask

Equation = tuple[int, str, int, int]
"""Left operand, operator, right operand and result of a step."""


@dataclass(frozen=True)
class ExpectedLine:
    """Line that an answer should have."""

    role: LineRole
    text: str
    index: int = 0
    """Index of a step, from 0."""
    step: Equation | None = None
    value: int | None = None
    lead: str = ""

    def matches(self, line: AnswerLine) -> bool:
        """Return true if a line of the role has the right content, whatever its layout."""
        if self.role == "step":
            result = line.step
            return result is not None and self.equals(result)
        return line.value == self.value if self.role == "last" else True

    def equals(self, match: Equation) -> bool:
        """Return true if an equation is the expected one, up to commutativity."""
        return self.step is not None and match in (self.step, swap_operands(self.step))

    def closest_form(self, match: Equation) -> Equation:
        """Return the expected equation, with the operand order that is closer to a given one."""
        step = self.step or match
        return max(
            (step, swap_operands(step)), key=lambda ordered: count_equal_parts(ordered, match)
        )


def swap_operands(step: Equation) -> Equation:
    """Return an equation with swapped operands if its operator is commutative."""
    left, operator, right, result = step
    return (right, operator, left, result) if operator in "+*" else step


def count_equal_parts(a: Equation, b: Equation) -> int:
    """Return the number of equal parts of two equations."""
    return sum(x == y for x, y in zip(a, b, strict=True))


def expected_lines(task: SumTask, layout: AnswerLayout) -> tuple[ExpectedLine, ...]:
    """Return the expected lines of an answer, in order."""
    lines = [ExpectedLine("opening", OPENING)] if layout.opening else []
    if layout.working:
        lines += [
            ExpectedLine("step", layout.step(index, step), index, values)
            for index, (step, values) in enumerate(zip(task.steps, task.values, strict=True))
        ]
    last = layout.last(task.answer, task.thing)
    lines.append(ExpectedLine("last", last, value=task.answer, lead=layout.lead))
    if layout.closing:
        lines.append(ExpectedLine("closing", CLOSING))
    return tuple(lines)


@dataclass(frozen=True)
class AnswerAlignment:
    """Lines of an answer aligned with the expected lines."""

    expected: tuple[ExpectedLine, ...]
    lines: tuple[AnswerLine, ...]
    layout: AnswerLayout

    @cached_property
    def steps(self) -> tuple[tuple[ExpectedLine, AnswerLine], ...]:
        """Expected steps that are present, each with its line."""
        return tuple(pair for pair in self._matched_pairs if pair[0].role == "step")

    @cached_property
    def last(self) -> tuple[ExpectedLine, AnswerLine] | None:
        """Expected and actual last line, or ``None`` if there is none."""
        return next((pair for pair in self._matched_pairs if pair[0].role == "last"), None)

    @property
    def _matched_pairs(self) -> Iterator[tuple[ExpectedLine, AnswerLine]]:
        return ((self.expected[at], self.lines[line]) for at, line in self.pairs.items())

    @cached_property
    def pairs(self) -> dict[int, int]:
        """Index of the line for each expected line that is present, right or wrong.

        The alignment keeps the order of both. It maximises, in this order: the right answer, the
        number of right steps, the number of matched lines, and their similarity. A fixed line
        only adds to the first criterion that it affects, so fixing one issue makes no other line
        worse.
        """
        best = [[0] * (len(self.lines) + 1)]
        for expected in self.expected:
            above, row = best[-1], [0]
            for at, line in enumerate(self.lines):
                score = max(above[at + 1], row[at])
                if expected.role == line.role:
                    score = max(score, above[at] + self._score_pair(expected, line))
                row.append(score)
            best.append(row)
        return self._trace_back(best)

    def _trace_back(self, best: Sequence[Sequence[int]]) -> dict[int, int]:
        pairs: dict[int, int] = {}
        row, column = len(self.expected), len(self.lines)
        while row and column:
            if best[row][column] == best[row][column - 1]:
                column -= 1
            elif best[row][column] == best[row - 1][column]:
                row -= 1
            else:
                row, column = row - 1, column - 1
                pairs[row] = column
        return dict(sorted(pairs.items()))

    def _score_pair(self, expected: ExpectedLine, line: AnswerLine) -> int:
        right = expected.matches(line)
        parts: tuple[int, ...]
        if expected.role == "last":
            parts = (right, 0, 1, 0, 0, line.whole and _has_lead(line, expected.lead))
        elif expected.role == "step":
            result = line.step
            perturb = count_equal_parts(expected.closest_form(result), result) if result else 0
            parts = (0, right, 0, 1, perturb, self._layout_score(expected, line))
        else:
            parts = (0, 0, 0, 1, 0, 0)
        value = 0
        for part in parts:
            value = value * _RADIX + part
        return value

    def _layout_score(self, expected: ExpectedLine, line: AnswerLine) -> int:
        return self.sign_fits(line) + self.number_fits(expected, line)

    def sign_fits(self, line: AnswerLine) -> bool:
        """Return true if a step has the sign of the layout."""
        return line.match is not None and line.match["sign"] == self.layout.sign

    def number_fits(self, expected: ExpectedLine, line: AnswerLine) -> bool:
        """Return true if a step has the number that the layout requires, or rightly none."""
        if line.match is None:
            return False
        right = str(expected.index + 1) if self.layout.numbered else None
        return line.match["number"] == right


_RADIX = 64
"""Radix above the sum of any criterion of :meth:`AnswerAlignment._score_pair` over all lines."""


def _has_lead(line: AnswerLine, lead: str) -> bool:
    return line.match is not None and line.match["lead"] == lead
