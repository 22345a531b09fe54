"""What is wrong with an answer: where, why, and what would mend it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from backtalk.worlds.sums.alignment import Aligned, Wanted
from backtalk.worlds.sums.checking import check_pair
from backtalk.worlds.sums.parsing import Line
from backtalk.worlds.sums.phrases import CLOSING, NEEDLESS, OPENING, Layout
from backtalk.worlds.sums.task import SumTask
from backtalk.worlds.world import Issue

_ENDS = {
    "opening": ("beginning", "Begin with", OPENING),
    "closing": ("ending", "End with", CLOSING),
}
_PIECES = ("left", "operation", "right", "sign", "result")


@dataclass(frozen=True)
class Judged:
    """An answer beside what it should be."""

    task: SumTask
    layout: Layout
    aligned: Aligned
    text: str

    def faults(self) -> Iterator[Issue]:
        """Yield the faults; those at one place in the order of what they put there."""
        if not self.aligned.pairs:
            yield self._nothing()
            return
        for at, wanted in enumerate(self.aligned.wanted):
            if at not in self.aligned.pairs:
                yield from self._missing(at, wanted)
                continue
            line = self.aligned.lines[self.aligned.pairs[at]]
            if wanted.role == "step":
                yield from self._step(at, wanted, line)
            elif wanted.role == "last":
                yield from self._last(wanted, line)
        yield from self._needless()

    def _nothing(self) -> Issue:
        right = "\n".join(wanted.text for wanted in self.aligned.wanted)
        said, advice = "There is no answer.", f"Work it out: the answer is {self.task.answer}."
        return Issue("complete", "nothing", 0, len(self.text), right, said, advice)

    def _missing(self, at: int, wanted: Wanted) -> Iterator[Issue]:
        if wanted.role != "step" or self.aligned.steps:
            yield self._put_in(at, wanted.text, _why_missing(self.task, wanted))
        elif wanted.place == 0:
            steps = (line.text for line in self.aligned.wanted if line.role == "step")
            why = ("manner", "no-working", "The steps are missing.", "Show the steps.")
            yield self._put_in(at, "\n".join(steps), why)

    def _put_in(self, at: int, lines: str, why: tuple[str, str, str, str]) -> Issue:
        """Return the fault that lines are missing, behind the last wanted one before them."""
        pairs = self.aligned.pairs
        before = max((there for there in pairs if there < at), default=None)
        if before is None:
            place, lines = self.aligned.lines[min(pairs.values())].start, f"{lines}\n"
        else:
            place, lines = self.aligned.lines[pairs[before]].end, f"\n{lines}"
        aspect, label, said, advice = why
        return Issue(aspect, label, place, place, lines, said, advice)

    def _step(self, at: int, wanted: Wanted, line: Line) -> Iterator[Issue]:
        checked = check_pair(self.task, self.aligned, at)
        nth = wanted.place + 1
        advice = f"Step {nth} should be {self.task.steps[wanted.place]}."
        if line.found is None or line.step is None or wanted.step is None:
            put = wanted.text
            yield Issue("steps", checked.label, line.start, line.end, put, checked.said, advice)
            return
        if not self.aligned.number_fits(wanted, line):
            yield self._number(wanted, line.found)
        left, operation, right, result = map(str, wanted.nearest(line.step))
        pieces = (left, operation, right, self.layout.sign, result)
        same = [str(part) for part in (*line.step[:3], "", line.step[3])]
        off = [i for i, piece in enumerate(pieces) if i != 3 and piece != same[i]]
        if off:
            start, end = line.found.start(_PIECES[off[0]]), line.found.end(_PIECES[off[-1]])
            put = " ".join(pieces[off[0] : off[-1] + 1])
            yield Issue("steps", checked.label, start, end, put, checked.said, advice)
        if not self.aligned.sign_fits(line) and not (off and off[0] < 3 < off[-1]):
            sign = self.layout.sign
            said, advice = f"The sign in step {nth} does not fit.", f"Write {sign} in step {nth}."
            yield Issue("manner", "sign", *self._sign(line), said, advice)

    def _sign(self, line: Line) -> tuple[int, int, str]:
        """Return where a step's sign stands and what to put there, parted by spaces."""
        start, end = line.found.span("sign") if line.found else (0, 0)
        before = "" if self.text[start - 1] == " " else " "
        behind = "" if self.text[end : end + 1] == " " else " "
        return start, end, f"{before}{self.layout.sign}{behind}"

    def _number(self, wanted: Wanted, found: re.Match[str]) -> Issue:
        nth, number = wanted.place + 1, self.layout.number(wanted.place)
        said, advice = f"The number of step {nth} does not fit.", f"Write {nth}. before step {nth}."
        start, end = found.start(), found.start("left")
        if not number:
            advice = f"Leave out the number before step {nth}."
        return Issue("manner", "number", start, end, number, said, advice)

    def _last(self, wanted: Wanted, line: Line) -> Iterator[Issue]:
        if line.found is None:
            return
        lead = self.layout.lead
        if line.found["lead"] != lead:
            said = "The last line begins wrongly."
            advice = f"Begin the last line with {lead.removesuffix(':')}."
            yield Issue("manner", "lead", *line.found.span("lead"), lead, said, advice)
        advice = f"The answer should be {self.task.answer}."
        if not line.whole:
            place, right = line.found.end("lead"), wanted.text[len(lead) :]
            said = "The answer is missing."
            yield Issue("correct", "no-answer", place, line.end, right, said, advice)
            return
        if not wanted.right(line):
            label, said = self._why_wrong(line)
            right = str(self.task.answer)
            yield Issue("correct", label, *line.found.span("value"), right, said, advice)
        yield from self._unit(line.found)

    def _why_wrong(self, line: Line) -> tuple[str, str]:
        steps = self.aligned.steps
        if steps and (step := steps[-1][1].step) is not None and step[3] == line.value:
            return "answer-follows", "The answer follows from a wrong step."
        return "wrong-answer", "The answer is wrong."

    def _unit(self, found: re.Match[str]) -> Iterator[Issue]:
        right, unit, place = self.layout.unit_of(self.task.thing), found["unit"], found.end("value")
        if unit == right:
            return
        if unit is None:
            said, advice = "The unit is missing.", f"Write {right} behind the answer."
        elif right is None:
            said, advice = "The unit is not wanted.", f"Leave out {unit}."
        else:
            said, advice = "The unit is wrong.", f"Write {right} for {unit}."
        put = f" {right}" if right else ""
        yield Issue("manner", "unit", place, found.end(), put, said, advice)

    def _needless(self) -> Iterator[Issue]:
        lines, used = self.aligned.lines, set(self.aligned.pairs.values())
        for free, group in groupby(range(len(lines)), key=lambda at: at not in used):
            if not free:
                continue
            run = list(group)
            for working, alike in groupby(run, key=self._is_working):
                cut = list(alike)
                for first, last in [(cut[0], cut[-1])] if working else [(at, at) for at in cut]:
                    if run[0] == 0:
                        start, end = lines[first].start, lines[last + 1].start
                    else:
                        start, end = lines[first - 1].end, lines[last].end
                    aspect, label, said, advice = self._why_out(lines[first])
                    yield Issue(aspect, label, start, end, "", said, advice)

    def _is_working(self, at: int) -> bool:
        return not self.layout.working and self.aligned.lines[at].role == "step"

    def _why_out(self, line: Line) -> tuple[str, str, str, str]:
        """Return aspect, label, what to say and what to advise about a line to leave out."""
        if line.role == "step":
            return self._why_step_out(line)
        if line.role == "last":
            said, advice = "An answer is out of place.", "Give the answer only at the end."
            return "relevant", "misplaced", said, advice
        if line.role != "other":
            where, _, words = _ENDS[line.role]
            words = words.removesuffix(".")
            if line.role in {wanted.role for wanted in self.aligned.wanted}:
                said, advice = f"The {where} is out of place.", f"Write {words} only once."
                return "relevant", "misplaced", said, advice
            return "manner", line.role, f"The {where} does not fit.", f"Leave out {words}."
        for what, needless in NEEDLESS.items():
            if line.text == needless:
                said = "Something does not belong there."
                return "relevant", "needless", said, f"Leave out {what}."
        said, advice = "Something makes no sense.", "Leave out what makes no sense."
        return "relevant", "unclear", said, advice

    def _why_step_out(self, line: Line) -> tuple[str, str, str, str]:
        if not self.layout.working:
            return "manner", "working", "The steps are not wanted.", "Give only the answer."
        if line.step is None:
            said, advice = "Something makes no sense.", "Leave out what makes no sense."
            return "relevant", "unclear", said, advice
        for wanted in self.aligned.wanted:
            if wanted.role == "step" and wanted.right(line):
                step = self.task.steps[wanted.place]
                advice = f"Write {step} only as step {wanted.place + 1}."
                return "relevant", "misplaced", "A step is out of place.", advice
        advice = f"Leave out {line.written}."
        return "relevant", "extra-step", "A step is not needed.", advice


def _why_missing(task: SumTask, wanted: Wanted) -> tuple[str, str, str, str]:
    if wanted.role == "step":
        nth = wanted.place + 1
        advice = f"Add {task.steps[wanted.place]} as step {nth}."
        return "complete", "missing-step", f"Step {nth} is missing.", advice
    if wanted.role == "last":
        advice = f"Add the last line {wanted.text}."
        return "complete", "no-answer", "The answer is missing.", advice
    where, begin, words = _ENDS[wanted.role]
    return "manner", wanted.role, f"The {where} is missing.", f"{begin} {words}"
