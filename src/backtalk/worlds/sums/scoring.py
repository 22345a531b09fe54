"""True utility of an answer, with its issues."""

from __future__ import annotations

from dataclasses import replace

from backtalk.worlds.sums.alignment import AnswerAlignment, expected_lines
from backtalk.worlds.sums.checking import check_steps
from backtalk.worlds.sums.issues import IssueFinder
from backtalk.worlds.sums.parsing import read_answer
from backtalk.worlds.sums.phrases import AnswerLayout
from backtalk.worlds.sums.task import SumTask
from backtalk.worlds.world import Assessment

WEIGHTS = {"correct": 0.35, "steps": 0.25, "complete": 0.1, "relevant": 0.1, "manner": 0.2}
"""Weights of: right answer, right steps, nothing missing, nothing superfluous, right layout."""


def score_answer(task: SumTask, text: str, layout: AnswerLayout) -> Assessment:
    """Return the assessment of an answer.

    Parameters
    ----------
    task : SumTask
        Task that the text answers.
    text : str
        Text of the answer.
    layout : AnswerLayout
        Required layout.
    """
    lines = read_answer(text)
    alignment = AnswerAlignment(expected_lines(task, layout), lines, layout)
    result = IssueFinder(task, layout, alignment, text).issues()
    issues = tuple(sorted(result, key=lambda issue: (issue.start, issue.end)))
    with_working = alignment
    if not layout.working:
        shown = replace(layout, working=True)
        with_working = AnswerAlignment(expected_lines(task, shown), lines, shown)
    needless = sum(issue.aspect == "relevant" for issue in issues)
    aspects = {
        "correct": float(
            alignment.last is not None and alignment.last[0].matches(alignment.last[1])
        ),
        "steps": _steps_score(task, alignment),
        "complete": _complete_score(task, alignment),
        "relevant": 1 / (1 + needless) if alignment.pairs else 0.0,
        "manner": _layout_aspect(task, alignment),
    }
    trace = _check_trace(task, alignment)
    return Assessment(
        aspects,
        sum(WEIGHTS[name] * value for name, value in aspects.items()),
        issues,
        check_steps(task, with_working),
        passed=not trace,
        trace=trace,
    )


def _steps_score(task: SumTask, alignment: AnswerAlignment) -> float:
    if not alignment.layout.working:
        return float(alignment.last is not None)
    right = sum(expected.matches(line) for expected, line in alignment.steps)
    return right / len(task.operations)


def _complete_score(task: SumTask, alignment: AnswerAlignment) -> float:
    last = alignment.last is not None
    if not alignment.layout.working:
        return float(last)
    return (len(alignment.steps) / len(task.operations) + last) / 2


def _layout_aspect(task: SumTask, alignment: AnswerAlignment) -> float:
    """Return the mean over the seven layout features that rules can change."""
    layout, count = alignment.layout, len(task.operations)
    result = alignment.last[1].match if alignment.last else None
    roles = [line.role for line in alignment.lines]
    expected = {alignment.expected[at].role for at in alignment.pairs}
    if layout.working:
        steps = [
            sum(alignment.sign_fits(line) for _, line in alignment.steps) / count,
            sum(alignment.number_fits(step, line) for step, line in alignment.steps) / count,
            float(bool(alignment.steps)),
        ]
    else:
        steps = [float(result is not None)] * 2 + [max(0, 1 - roles.count("step") / count)]
    ends = [
        "opening" in expected if layout.opening else "opening" not in roles,
        "closing" in expected if layout.closing else "closing" not in roles,
        result is not None and result["lead"] == layout.lead,
        result is not None and result.groupdict().get("unit") == layout.unit_for(task.thing),
    ]
    return sum([*steps, *ends]) / 7


def _check_trace(task: SumTask, alignment: AnswerAlignment) -> str:
    """Return the output of a check that compares values and ignores the layout."""
    messages = []
    there = {expected.index: (expected, line) for expected, line in alignment.steps}
    for index, step in enumerate(task.steps if there else ()):
        result = "nothing"
        if index in there:
            expected, line = there[index]
            if expected.matches(line):
                continue
            result = line.canonical_text
        messages.append(f"step {index + 1}: expected {step}, found {result}")
    value = alignment.last[1].value if alignment.last else None
    if value != task.answer:
        messages.append(f"expected {task.answer}, found {'nothing' if value is None else value}")
    return "\n".join(messages)


def ideal_answer(task: SumTask, layout: AnswerLayout) -> str:
    """Return an answer without issues."""
    return "\n".join(expected.text for expected in expected_lines(task, layout))
