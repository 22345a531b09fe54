"""False critiques: advice that would make a right step or answer wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator

from backtalk.worlds.sums.alignment import AnswerAlignment, expected_lines
from backtalk.worlds.sums.parsing import read_answer
from backtalk.worlds.sums.scoring import score_answer
from backtalk.worlds.sums.task import SumTask, evaluate, perturb
from backtalk.worlds.world import Issue, Rng, apply_fixes


def false_issue(task: SumTask, text: str, rng: Rng) -> Issue | None:
    """Return an issue that a right step or the right answer does not have.

    Parameters
    ----------
    task : SumTask
        Task that the text answers.
    text : str
        Text of the answer.
    rng : Rng
        Source of randomness.

    Returns
    -------
    Issue or None
        ``None`` if no step and no answer is right.
    """
    layout = task.layout()
    alignment = AnswerAlignment(expected_lines(task, layout), read_answer(text), layout)
    issues = list(_candidates(task, alignment, rng))
    utility = score_answer(task, text, layout).utility
    issues = [
        issue
        for issue in issues
        if score_answer(task, apply_fixes(text, [issue]), layout).utility < utility
    ]
    return issues[int(rng.integers(len(issues)))] if issues else None


def _candidates(task: SumTask, alignment: AnswerAlignment, rng: Rng) -> Iterator[Issue]:
    for expected, line in alignment.steps:
        if line.match is not None and expected.matches(line):
            yield _false_step_issue(expected.index, line.match, rng)
    if alignment.last is not None and alignment.last[0].matches(alignment.last[1]):
        result = alignment.last[1].match
        if result is not None:
            value = perturb(task.answer, rng)
            description, advice = "The answer is wrong.", f"The answer should be {value}."
            yield Issue(
                "correct", "wrong-answer", *result.span("value"), str(value), description, advice
            )


def _false_step_issue(position: int, match: re.Match[str], rng: Rng) -> Issue:
    left, right, result = (int(number) for number in match.group("left", "right", "result"))
    operator = match["operation"]
    nth, end = f"Step {position + 1}", match.end("result")
    operand = max(1, perturb(right, rng))
    value = evaluate(left, operator, operand)
    if rng.random() < 0.5 and value is not None and value >= 0 and operand != right:
        label, description = "wrong-number", f"{nth} takes a wrong number."
        start, right = match.start("right"), operand
        replacement = f"{operand} {match['sign']} {value}"
    else:
        label, description = "wrong-result", f"{nth} is worked out wrongly."
        start, value = match.start("result"), perturb(result, rng)
        replacement = str(value)
    advice = f"{nth} should be {left} {operator} {right} = {value}."
    return Issue("steps", label, start, end, replacement, description, advice)
