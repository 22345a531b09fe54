"""Checks of the steps of an answer: right, wrong, or following from a wrong step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backtalk.worlds.sums.alignment import AnswerAlignment, Equation, ExpectedLine
from backtalk.worlds.sums.parsing import AnswerLine
from backtalk.worlds.sums.task import SumTask, evaluate
from backtalk.worlds.world import CheckedStep, StepTruth


@dataclass(frozen=True)
class StepCheck:
    """Truth of a step, with the label and description of its error."""

    truth: StepTruth
    label: str
    description: str


def check_pair(task: SumTask, alignment: AnswerAlignment, at: int) -> StepCheck:
    """Return the check of the line that is aligned with an expected step.

    Parameters
    ----------
    task : SumTask
        Task that the text answers.
    alignment : AnswerAlignment
        Alignment of the answer.
    at : int
        Index of the expected line.
    """
    expected, line = alignment.expected[at], alignment.lines[alignment.pairs[at]]
    result, nth = line.step, f"Step {expected.index + 1}"
    if result is None:
        return StepCheck("wrong", "unfinished", f"{nth} is not finished.")
    if expected.matches(line):
        return StepCheck("right", "", "")
    closest = expected.closest_form(result)
    carried = _carried_forward(task, alignment, at)
    if carried is not None and carried.equals(result):
        return StepCheck("follows", "follows", f"{nth} follows from a wrong step.")
    if result[:3] == closest[:3] or (
        carried is not None and result[:3] == carried.closest_form(result)[:3]
    ):
        return StepCheck("wrong", "wrong-result", f"{nth} is worked out wrongly.")
    if result[1] != closest[1]:
        return StepCheck("wrong", "wrong-operation", f"{nth} does the wrong thing.")
    return StepCheck("wrong", "wrong-number", f"{nth} takes a wrong number.")


def _carried_forward(task: SumTask, alignment: AnswerAlignment, at: int) -> ExpectedLine | None:
    """Return the step computed correctly from the wrong step before it, if there is one."""
    before = alignment.pairs.get(at - 1)
    outcome = alignment.lines[before].step if before is not None else None
    position = alignment.expected[at].index
    if outcome is None or position == 0 or outcome[3] == task.values[position - 1][3]:
        return None
    left, operator, right = task.operations[position].step(outcome[3])
    result = evaluate(left, operator, right)
    step: Equation | None = None if result is None else (left, operator, right, result)
    return ExpectedLine("step", "", position, step) if step else None


def check_steps(task: SumTask, alignment: AnswerAlignment) -> tuple[CheckedStep, ...]:
    """Return the truth of each step of an answer, superfluous steps included."""
    expected_index: Mapping[int, int] = {line: at for at, line in alignment.pairs.items()}
    return tuple(
        CheckedStep(
            line.start,
            line.end,
            check_pair(task, alignment, expected_index[at]).truth
            if at in expected_index
            else _repeated_step_truth(alignment, line),
        )
        for at, line in enumerate(alignment.lines)
        if line.role == "step"
    )


def _repeated_step_truth(alignment: AnswerAlignment, line: AnswerLine) -> StepTruth:
    steps = (expected for expected in alignment.expected if expected.role == "step")
    return "right" if any(expected.matches(line) for expected in steps) else "wrong"
