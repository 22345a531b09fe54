"""Advice of somebody who errs: it would spoil what is right."""

from __future__ import annotations

import re
from collections.abc import Iterator

from backtalk.worlds.sums.alignment import Aligned, wanted_lines
from backtalk.worlds.sums.parsing import read_answer
from backtalk.worlds.sums.scoring import judge_answer
from backtalk.worlds.sums.task import SumTask, near, work_out
from backtalk.worlds.world import Issue, Rng, mend


def mislead_about(task: SumTask, text: str, rng: Rng) -> Issue | None:
    """Return a fault that a right step or the right answer does not have, if there is one."""
    layout = task.layout()
    aligned = Aligned(wanted_lines(task, layout), read_answer(text), layout)
    faults = list(_untrue(task, aligned, rng))
    utility = judge_answer(task, text, layout).utility
    faults = [
        fault
        for fault in faults
        if judge_answer(task, mend(text, [fault]), layout).utility < utility
    ]
    return faults[int(rng.integers(len(faults)))] if faults else None


def _untrue(task: SumTask, aligned: Aligned, rng: Rng) -> Iterator[Issue]:
    for wanted, line in aligned.steps:
        if line.found is not None and wanted.right(line):
            yield _of_step(wanted.place, line.found, rng)
    if aligned.last is not None and aligned.last[0].right(aligned.last[1]):
        result = aligned.last[1].found
        if result is not None:
            value = near(task.answer, rng)
            said, advice = "The answer is wrong.", f"The answer should be {value}."
            yield Issue("correct", "wrong-answer", *result.span("value"), str(value), said, advice)


def _of_step(place: int, found: re.Match[str], rng: Rng) -> Issue:
    left, right, result = (int(number) for number in found.group("left", "right", "result"))
    operation = found["operation"]
    nth, end = f"Step {place + 1}", found.end("result")
    operand = max(1, near(right, rng))
    value = work_out(left, operation, operand)
    if rng.random() < 0.5 and value is not None and value >= 0 and operand != right:
        label, said = "wrong-number", f"{nth} takes a wrong number."
        start, right = found.start("right"), operand
        put = f"{operand} {found['sign']} {value}"
    else:
        label, said = "wrong-result", f"{nth} is worked out wrongly."
        start, value = found.start("result"), near(result, rng)
        put = str(value)
    advice = f"{nth} should be {left} {operation} {right} = {value}."
    return Issue("steps", label, start, end, put, said, advice)
