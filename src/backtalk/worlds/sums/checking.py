"""Whether each step of an answer is right, wrong, or follows from one that is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backtalk.worlds.sums.alignment import Aligned, Step, Wanted
from backtalk.worlds.sums.parsing import Line
from backtalk.worlds.sums.task import SumTask, work_out
from backtalk.worlds.world import CheckedStep, StepTruth


@dataclass(frozen=True)
class Checked:
    """What is wrong with a step, if anything is."""

    truth: StepTruth
    label: str
    said: str


def check_pair(task: SumTask, aligned: Aligned, at: int) -> Checked:
    """Return what is wrong with the step that stands for a wanted line."""
    wanted, line = aligned.wanted[at], aligned.lines[aligned.pairs[at]]
    result, nth = line.step, f"Step {wanted.place + 1}"
    if result is None:
        return Checked("wrong", "unfinished", f"{nth} is not finished.")
    if wanted.right(line):
        return Checked("right", "", "")
    expected = wanted.nearest(result)
    carried = _carried(task, aligned, at)
    if carried is not None and carried.same(result):
        return Checked("follows", "follows", f"{nth} follows from a wrong step.")
    if result[:3] == expected[:3] or (
        carried is not None and result[:3] == carried.nearest(result)[:3]
    ):
        return Checked("wrong", "wrong-result", f"{nth} is worked out wrongly.")
    if result[1] != expected[1]:
        return Checked("wrong", "wrong-operation", f"{nth} does the wrong thing.")
    return Checked("wrong", "wrong-number", f"{nth} takes a wrong number.")


def _carried(task: SumTask, aligned: Aligned, at: int) -> Wanted | None:
    """Return the step as it would be, rightly done from the wrong one before it."""
    before = aligned.pairs.get(at - 1)
    outcome = aligned.lines[before].step if before is not None else None
    place = aligned.wanted[at].place
    if outcome is None or place == 0 or outcome[3] == task.values[place - 1][3]:
        return None
    left, operation, right = task.moves[place].step(outcome[3])
    result = work_out(left, operation, right)
    step: Step | None = None if result is None else (left, operation, right, result)
    return Wanted("step", "", place, step) if step else None


def check_steps(task: SumTask, aligned: Aligned) -> tuple[CheckedStep, ...]:
    """Return the truth about each step of an answer, also about those that nobody wanted."""
    stands_for: Mapping[int, int] = {line: at for at, line in aligned.pairs.items()}
    return tuple(
        CheckedStep(
            line.start,
            line.end,
            check_pair(task, aligned, stands_for[at]).truth
            if at in stands_for
            else _repeats(aligned, line),
        )
        for at, line in enumerate(aligned.lines)
        if line.role == "step"
    )


def _repeats(aligned: Aligned, line: Line) -> StepTruth:
    steps = (wanted for wanted in aligned.wanted if wanted.role == "step")
    return "right" if any(wanted.right(line) for wanted in steps) else "wrong"
