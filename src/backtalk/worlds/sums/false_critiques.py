"""Advice of somebody who errs: it would spoil what is right."""

from __future__ import annotations

import re
from collections.abc import Iterator

from backtalk.worlds.sums.alignment import Aligned, wanted_lines
from backtalk.worlds.sums.parsing import read_answer
from backtalk.worlds.sums.scoring import judge_answer
from backtalk.worlds.sums.task import SumTask, near, work_out
from backtalk.worlds.world import Chance, Issue, mend


def mislead_about(task: SumTask, text: str, chance: Chance) -> Issue | None:
    """Return a fault that a right step or the right answer does not have, if there is one."""
    layout = task.layout()
    aligned = Aligned(wanted_lines(task, layout), read_answer(text), layout)
    faults = list(_untrue(task, aligned, chance))
    utility = judge_answer(task, text, layout).utility
    faults = [
        fault
        for fault in faults
        if judge_answer(task, mend(text, [fault]), layout).utility < utility
    ]
    return faults[int(chance.integers(len(faults)))] if faults else None


def _untrue(task: SumTask, aligned: Aligned, chance: Chance) -> Iterator[Issue]:
    for wanted, line in aligned.steps:
        if line.found is not None and wanted.right(line):
            yield _of_step(wanted.place, line.found, chance)
    if aligned.last is not None and aligned.last[0].right(aligned.last[1]):
        found = aligned.last[1].found
        if found is not None:
            value = near(task.answer, chance)
            said, advice = "The answer is wrong.", f"The answer should be {value}."
            yield Issue("correct", "wrong-answer", *found.span("value"), str(value), said, advice)


def _of_step(place: int, found: re.Match[str], chance: Chance) -> Issue:
    left, right, result = (int(number) for number in found.group("left", "right", "result"))
    operation = found["operation"]
    nth, end = f"Step {place + 1}", found.end("result")
    operand = max(1, near(right, chance))
    value = work_out(left, operation, operand)
    if chance.random() < 0.5 and value is not None and value >= 0 and operand != right:
        label, said = "wrong-number", f"{nth} takes a wrong number."
        start, right = found.start("right"), operand
        put = f"{operand} {found['sign']} {value}"
    else:
        label, said = "wrong-result", f"{nth} is worked out wrongly."
        start, value = found.start("result"), near(result, chance)
        put = str(value)
    advice = f"{nth} should be {left} {operation} {right} = {value}."
    return Issue("steps", label, start, end, put, said, advice)
