"""How good an answer is, and what is wrong with it."""

from __future__ import annotations

from dataclasses import replace

from backtalk.worlds.sums.alignment import Aligned, wanted_lines
from backtalk.worlds.sums.checking import check_steps
from backtalk.worlds.sums.faults import Judged
from backtalk.worlds.sums.parsing import read_answer
from backtalk.worlds.sums.phrases import Layout
from backtalk.worlds.sums.task import SumTask
from backtalk.worlds.world import Assessment

WEIGHTS = {"correct": 0.35, "steps": 0.25, "complete": 0.1, "relevant": 0.1, "manner": 0.2}
"""The answer right, the steps right, nothing missing, nothing needless, the layout fits."""


def judge_answer(task: SumTask, text: str, layout: Layout) -> Assessment:
    """Return the truth about an answer that is to be set out like that."""
    lines = read_answer(text)
    aligned = Aligned(wanted_lines(task, layout), lines, layout)
    result = Judged(task, layout, aligned, text).faults()
    faults = tuple(sorted(result, key=lambda fault: (fault.start, fault.end)))
    in_full = aligned
    if not layout.working:
        shown = replace(layout, working=True)
        in_full = Aligned(wanted_lines(task, shown), lines, shown)
    needless = sum(fault.aspect == "relevant" for fault in faults)
    aspects = {
        "correct": float(aligned.last is not None and aligned.last[0].right(aligned.last[1])),
        "steps": _steps_right(task, aligned),
        "complete": _complete(task, aligned),
        "relevant": 1 / (1 + needless) if aligned.pairs else 0.0,
        "manner": _manner(task, aligned),
    }
    trace = _trace(task, aligned)
    return Assessment(
        aspects,
        sum(WEIGHTS[name] * value for name, value in aspects.items()),
        faults,
        check_steps(task, in_full),
        passed=not trace,
        trace=trace,
    )


def _steps_right(task: SumTask, aligned: Aligned) -> float:
    if not aligned.layout.working:
        return float(aligned.last is not None)
    right = sum(wanted.right(line) for wanted, line in aligned.steps)
    return right / len(task.moves)


def _complete(task: SumTask, aligned: Aligned) -> float:
    last = aligned.last is not None
    if not aligned.layout.working:
        return float(last)
    return (len(aligned.steps) / len(task.moves) + last) / 2


def _manner(task: SumTask, aligned: Aligned) -> float:
    """Return the mean over the seven things that standing instructions are about."""
    layout, count = aligned.layout, len(task.moves)
    result = aligned.last[1].found if aligned.last else None
    roles = [line.role for line in aligned.lines]
    wanted = {aligned.wanted[at].role for at in aligned.pairs}
    if layout.working:
        steps = [
            sum(aligned.sign_fits(line) for _, line in aligned.steps) / count,
            sum(aligned.number_fits(step, line) for step, line in aligned.steps) / count,
            float(bool(aligned.steps)),
        ]
    else:
        steps = [float(result is not None)] * 2 + [max(0, 1 - roles.count("step") / count)]
    ends = [
        "opening" in wanted if layout.opening else "opening" not in roles,
        "closing" in wanted if layout.closing else "closing" not in roles,
        result is not None and result["lead"] == layout.lead,
        result is not None and result.groupdict().get("unit") == layout.unit_of(task.thing),
    ]
    return sum([*steps, *ends]) / 7


def _trace(task: SumTask, aligned: Aligned) -> str:
    """Return what a program prints that compares values; layout is nothing to it."""
    told = []
    there = {wanted.place: (wanted, line) for wanted, line in aligned.steps}
    for index, step in enumerate(task.steps if there else ()):
        result = "nothing"
        if index in there:
            wanted, line = there[index]
            if wanted.right(line):
                continue
            result = line.written
        told.append(f"step {index + 1}: expected {step}, found {result}")
    value = aligned.last[1].value if aligned.last else None
    if value != task.answer:
        told.append(f"expected {task.answer}, found {'nothing' if value is None else value}")
    return "\n".join(told)


def ideal_answer(task: SumTask, layout: Layout) -> str:
    """Return an answer without fault."""
    return "\n".join(wanted.text for wanted in wanted_lines(task, layout))
