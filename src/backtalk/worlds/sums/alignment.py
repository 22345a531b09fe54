"""Which line of an answer stands for which line of what it should be."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from backtalk.worlds.sums.parsing import Line, Role
from backtalk.worlds.sums.phrases import CLOSING, OPENING, Layout
from backtalk.worlds.sums.task import SumTask

Step = tuple[int, str, int, int]


@dataclass(frozen=True)
class Wanted:
    """A line that an answer should have."""

    role: Role
    text: str
    place: int = 0
    """Of a step, counted from 0."""
    step: Step | None = None
    value: int | None = None
    lead: str = ""

    def right(self, line: Line) -> bool:
        """Return whether a line of that role says what it should, however it is set out."""
        if self.role == "step":
            result = line.step
            return result is not None and self.same(result)
        return line.value == self.value if self.role == "last" else True

    def same(self, found: Step) -> bool:
        """Return whether a step is this one; the order of a sum or a product does not matter."""
        return self.step is not None and found in (self.step, swapped(self.step))

    def nearest(self, found: Step) -> Step:
        """Return this step, its operands in the order that is more like a step found."""
        step = self.step or found
        return max((step, swapped(step)), key=lambda ordered: alike(ordered, found))


def swapped(step: Step) -> Step:
    """Return a step with its operands swapped, where that changes nothing."""
    left, operation, right, result = step
    return (right, operation, left, result) if operation in "+*" else step


def alike(one: Step, other: Step) -> int:
    """Return how many parts two steps have in common."""
    return sum(a == b for a, b in zip(one, other, strict=True))


def wanted_lines(task: SumTask, layout: Layout) -> tuple[Wanted, ...]:
    """Return the lines that an answer should have, in order."""
    lines = [Wanted("opening", OPENING)] if layout.opening else []
    if layout.working:
        lines += [
            Wanted("step", layout.step(index, step), index, values)
            for index, (step, values) in enumerate(zip(task.steps, task.values, strict=True))
        ]
    last = layout.last(task.answer, task.thing)
    lines.append(Wanted("last", last, value=task.answer, lead=layout.lead))
    if layout.closing:
        lines.append(Wanted("closing", CLOSING))
    return tuple(lines)


@dataclass(frozen=True)
class Aligned:
    """The lines of an answer beside those that it should have."""

    wanted: tuple[Wanted, ...]
    lines: tuple[Line, ...]
    layout: Layout

    @cached_property
    def steps(self) -> tuple[tuple[Wanted, Line], ...]:
        """Each wanted step that is there, with the line that stands for it."""
        return tuple(pair for pair in self._paired if pair[0].role == "step")

    @cached_property
    def last(self) -> tuple[Wanted, Line] | None:
        """The last line, if it is there, with what it should be."""
        return next((pair for pair in self._paired if pair[0].role == "last"), None)

    @property
    def _paired(self) -> Iterator[tuple[Wanted, Line]]:
        return ((self.wanted[at], self.lines[line]) for at, line in self.pairs.items())

    @cached_property
    def pairs(self) -> dict[int, int]:
        """For each wanted line that is there, right or wrong, which line found it is.

        The pairs keep the order of both. Those are chosen that mend best: first the right
        answer counts, then how many steps are right, then how many lines are there at all, and
        last how much alike they are. As a mended line only adds to the first of these that it
        touches, mending one fault makes no other line worse.
        """
        best = [[0] * (len(self.lines) + 1)]
        for wanted in self.wanted:
            above, row = best[-1], [0]
            for at, line in enumerate(self.lines):
                score = max(above[at + 1], row[at])
                if wanted.role == line.role:
                    score = max(score, above[at] + self._worth(wanted, line))
                row.append(score)
            best.append(row)
        return self._followed_back(best)

    def _followed_back(self, best: Sequence[Sequence[int]]) -> dict[int, int]:
        pairs: dict[int, int] = {}
        row, column = len(self.wanted), len(self.lines)
        while row and column:
            if best[row][column] == best[row][column - 1]:
                column -= 1
            elif best[row][column] == best[row - 1][column]:
                row -= 1
            else:
                row, column = row - 1, column - 1
                pairs[row] = column
        return dict(sorted(pairs.items()))

    def _worth(self, wanted: Wanted, line: Line) -> int:
        right = wanted.right(line)
        parts: tuple[int, ...]
        if wanted.role == "last":
            parts = (right, 0, 1, 0, 0, line.whole and _begins(line, wanted.lead))
        elif wanted.role == "step":
            result = line.step
            near = alike(wanted.nearest(result), result) if result else 0
            parts = (0, right, 0, 1, near, self._set_out(wanted, line))
        else:
            parts = (0, 0, 0, 1, 0, 0)
        worth = 0
        for part in parts:
            worth = worth * _MOST + part
        return worth

    def _set_out(self, wanted: Wanted, line: Line) -> int:
        return self.sign_fits(line) + self.number_fits(wanted, line)

    def sign_fits(self, line: Line) -> bool:
        """Return whether a step's sign is the wanted one."""
        return line.found is not None and line.found["sign"] == self.layout.sign

    def number_fits(self, wanted: Wanted, line: Line) -> bool:
        """Return whether a step has the number that it should have, or rightly none."""
        if line.found is None:
            return False
        right = str(wanted.place + 1) if self.layout.numbered else None
        return line.found["number"] == right


_MOST = 64
"""More than any one count of :meth:`Aligned._worth` sums to, over all lines."""


def _begins(line: Line, lead: str) -> bool:
    return line.found is not None and line.found["lead"] == lead
