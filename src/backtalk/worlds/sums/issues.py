"""Issues of an answer, with spans, descriptions and fixes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from backtalk.worlds.sums.alignment import AnswerAlignment, ExpectedLine
from backtalk.worlds.sums.checking import check_pair
from backtalk.worlds.sums.parsing import AnswerLine
from backtalk.worlds.sums.phrases import CLOSING, NEEDLESS, OPENING, AnswerLayout
from backtalk.worlds.sums.task import SumTask
from backtalk.worlds.world import Issue

_ENDS = {
    "opening": ("beginning", "Begin with", OPENING),
    "closing": ("ending", "End with", CLOSING),
}
_PIECES = ("left", "operation", "right", "sign", "result")


@dataclass(frozen=True)
class IssueFinder:
    """Finder of the issues of an aligned answer."""

    task: SumTask
    layout: AnswerLayout
    alignment: AnswerAlignment
    text: str

    def issues(self) -> Iterator[Issue]:
        """Yield the issues; those at one position in the order of their replacements."""
        if not self.alignment.pairs:
            yield self._empty_issue()
            return
        for at, expected in enumerate(self.alignment.expected):
            if at not in self.alignment.pairs:
                yield from self._missing_issues(at, expected)
                continue
            line = self.alignment.lines[self.alignment.pairs[at]]
            if expected.role == "step":
                yield from self._step_issues(at, expected, line)
            elif expected.role == "last":
                yield from self._last_line_issues(expected, line)
        yield from self._superfluous_issues()

    def _empty_issue(self) -> Issue:
        right = "\n".join(expected.text for expected in self.alignment.expected)
        description, advice = (
            "There is no answer.",
            f"Work it out: the answer is {self.task.answer}.",
        )
        return Issue("complete", "nothing", 0, len(self.text), right, description, advice)

    def _missing_issues(self, at: int, expected: ExpectedLine) -> Iterator[Issue]:
        if expected.role != "step" or self.alignment.steps:
            yield self._missing_lines_issue(at, expected.text, _missing_reason(self.task, expected))
        elif expected.index == 0:
            steps = (line.text for line in self.alignment.expected if line.role == "step")
            why = ("manner", "no-working", "The steps are missing.", "Show the steps.")
            yield self._missing_lines_issue(at, "\n".join(steps), why)

    def _missing_lines_issue(self, at: int, lines: str, why: tuple[str, str, str, str]) -> Issue:
        """Return the issue that lines are missing after the last expected line before them."""
        pairs = self.alignment.pairs
        before = max((there for there in pairs if there < at), default=None)
        if before is None:
            position, lines = self.alignment.lines[min(pairs.values())].start, f"{lines}\n"
        else:
            position, lines = self.alignment.lines[pairs[before]].end, f"\n{lines}"
        aspect, label, description, advice = why
        return Issue(aspect, label, position, position, lines, description, advice)

    def _step_issues(self, at: int, expected: ExpectedLine, line: AnswerLine) -> Iterator[Issue]:
        check = check_pair(self.task, self.alignment, at)
        nth = expected.index + 1
        advice = f"Step {nth} should be {self.task.steps[expected.index]}."
        if line.match is None or line.step is None or expected.step is None:
            replacement = expected.text
            yield Issue(
                "steps", check.label, line.start, line.end, replacement, check.description, advice
            )
            return
        if not self.alignment.number_fits(expected, line):
            yield self._number_issue(expected, line.match)
        left, operator, right, result = map(str, expected.closest_form(line.step))
        pieces = (left, operator, right, self.layout.sign, result)
        same = [str(part) for part in (*line.step[:3], "", line.step[3])]
        off = [i for i, piece in enumerate(pieces) if i != 3 and piece != same[i]]
        if off:
            start, end = line.match.start(_PIECES[off[0]]), line.match.end(_PIECES[off[-1]])
            replacement = " ".join(pieces[off[0] : off[-1] + 1])
            yield Issue("steps", check.label, start, end, replacement, check.description, advice)
        if not self.alignment.sign_fits(line) and not (off and off[0] < 3 < off[-1]):
            sign = self.layout.sign
            description, advice = (
                f"The sign in step {nth} does not fit.",
                f"Write {sign} in step {nth}.",
            )
            yield Issue("manner", "sign", *self._sign_fix(line), description, advice)

    def _sign_fix(self, line: AnswerLine) -> tuple[int, int, str]:
        """Return the span of a step's sign and its replacement, separated by spaces."""
        start, end = line.match.span("sign") if line.match else (0, 0)
        before = "" if self.text[start - 1] == " " else " "
        behind = "" if self.text[end : end + 1] == " " else " "
        return start, end, f"{before}{self.layout.sign}{behind}"

    def _number_issue(self, expected: ExpectedLine, match: re.Match[str]) -> Issue:
        nth, number = expected.index + 1, self.layout.number(expected.index)
        description, advice = (
            f"The number of step {nth} does not fit.",
            f"Write {nth}. before step {nth}.",
        )
        start, end = match.start(), match.start("left")
        if not number:
            advice = f"Leave out the number before step {nth}."
        return Issue("manner", "number", start, end, number, description, advice)

    def _last_line_issues(self, expected: ExpectedLine, line: AnswerLine) -> Iterator[Issue]:
        if line.match is None:
            return
        lead = self.layout.lead
        if line.match["lead"] != lead:
            description = "The last line begins wrongly."
            advice = f"Begin the last line with {lead.removesuffix(':')}."
            yield Issue("manner", "lead", *line.match.span("lead"), lead, description, advice)
        advice = f"The answer should be {self.task.answer}."
        if not line.whole:
            position, right = line.match.end("lead"), expected.text[len(lead) :]
            description = "The answer is missing."
            yield Issue("correct", "no-answer", position, line.end, right, description, advice)
            return
        if not expected.matches(line):
            label, description = self._wrong_answer_reason(line)
            right = str(self.task.answer)
            yield Issue("correct", label, *line.match.span("value"), right, description, advice)
        yield from self._unit_issues(line.match)

    def _wrong_answer_reason(self, line: AnswerLine) -> tuple[str, str]:
        steps = self.alignment.steps
        if steps and (step := steps[-1][1].step) is not None and step[3] == line.value:
            return "answer-follows", "The answer follows from a wrong step."
        return "wrong-answer", "The answer is wrong."

    def _unit_issues(self, match: re.Match[str]) -> Iterator[Issue]:
        right, unit, position = (
            self.layout.unit_for(self.task.thing),
            match["unit"],
            match.end("value"),
        )
        if unit == right:
            return
        if unit is None:
            description, advice = "The unit is missing.", f"Write {right} behind the answer."
        elif right is None:
            description, advice = "The unit is not wanted.", f"Leave out {unit}."
        else:
            description, advice = "The unit is wrong.", f"Write {right} for {unit}."
        replacement = f" {right}" if right else ""
        yield Issue("manner", "unit", position, match.end(), replacement, description, advice)

    def _superfluous_issues(self) -> Iterator[Issue]:
        lines, used = self.alignment.lines, set(self.alignment.pairs.values())
        for free, group in groupby(range(len(lines)), key=lambda at: at not in used):
            if not free:
                continue
            run = list(group)
            for working, count_equal_parts in groupby(run, key=self._is_unwanted_step):
                cut = list(count_equal_parts)
                for first, last in [(cut[0], cut[-1])] if working else [(at, at) for at in cut]:
                    if run[0] == 0:
                        start, end = lines[first].start, lines[last + 1].start
                    else:
                        start, end = lines[first - 1].end, lines[last].end
                    aspect, label, description, advice = self._removal_reason(lines[first])
                    yield Issue(aspect, label, start, end, "", description, advice)

    def _is_unwanted_step(self, at: int) -> bool:
        return not self.layout.working and self.alignment.lines[at].role == "step"

    def _removal_reason(self, line: AnswerLine) -> tuple[str, str, str, str]:
        """Return aspect, label, description and advice for a superfluous line."""
        if line.role == "step":
            return self._step_removal_reason(line)
        if line.role == "last":
            description, advice = "An answer is out of place.", "Give the answer only at the end."
            return "relevant", "misplaced", description, advice
        if line.role != "other":
            where, _, words = _ENDS[line.role]
            words = words.removesuffix(".")
            if line.role in {expected.role for expected in self.alignment.expected}:
                description, advice = f"The {where} is out of place.", f"Write {words} only once."
                return "relevant", "misplaced", description, advice
            return "manner", line.role, f"The {where} does not fit.", f"Leave out {words}."
        for what, needless in NEEDLESS.items():
            if line.text == needless:
                description = "Something does not belong there."
                return "relevant", "needless", description, f"Leave out {what}."
        description, advice = "Something makes no sense.", "Leave out what makes no sense."
        return "relevant", "unclear", description, advice

    def _step_removal_reason(self, line: AnswerLine) -> tuple[str, str, str, str]:
        if not self.layout.working:
            return "manner", "working", "The steps are not wanted.", "Give only the answer."
        if line.step is None:
            description, advice = "Something makes no sense.", "Leave out what makes no sense."
            return "relevant", "unclear", description, advice
        for expected in self.alignment.expected:
            if expected.role == "step" and expected.matches(line):
                step = self.task.steps[expected.index]
                advice = f"Write {step} only as step {expected.index + 1}."
                return "relevant", "misplaced", "A step is out of place.", advice
        advice = f"Leave out {line.canonical_text}."
        return "relevant", "extra-step", "A step is not needed.", advice


def _missing_reason(task: SumTask, expected: ExpectedLine) -> tuple[str, str, str, str]:
    if expected.role == "step":
        nth = expected.index + 1
        advice = f"Add {task.steps[expected.index]} as step {nth}."
        return "complete", "missing-step", f"Step {nth} is missing.", advice
    if expected.role == "last":
        advice = f"Add the last line {expected.text}."
        return "complete", "no-answer", "The answer is missing.", advice
    where, begin, words = _ENDS[expected.role]
    return "manner", expected.role, f"The {where} is missing.", f"{begin} {words}"
