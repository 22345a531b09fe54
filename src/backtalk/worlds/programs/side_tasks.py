"""Issues of a program other than its steps: needless or unsafe lines, wrong style."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from backtalk.worlds.programs.parsing import ProgramLine
from backtalk.worlds.programs.phrases import DOCSTRING, DONE, START, ProgramStyle
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Issue

HEADER = re.compile(r"def f\((?P<arguments>[^()]*)\)(?P<type> *->[^:]*)?(?P<colon>:?)(?P<rest>.*)")

_QUOTES = '"'

_REMOVALS = {
    "print": ("clean", "print", "Line {n} prints something.", "Leave out line {n}."),
    "needless": ("clean", "needless", "Line {n} does nothing.", "Leave out line {n}."),
    "unsafe": ("safe", "unsafe", "Line {n} is not safe.", "Leave out line {n}, it is unsafe."),
    "comment": ("manner", "comment", "A comment does not fit.", "Leave out the comment {body}."),
    "string": ("manner", "docstring", "A docstring does not fit.", "Leave out the docstring."),
    "check": ("manner", "check", "A check does not fit.", "Leave out the assert."),
}
"""Aspect, label, description and advice for each kind of line to remove."""


def side_issues(
    task: ProgramTask, lines: Sequence[ProgramLine], style: ProgramStyle
) -> Iterator[Issue]:
    """Yield the issues of a program other than its steps.

    Parameters
    ----------
    task : ProgramTask
        Task that the program answers.
    lines : sequence of ProgramLine
        Parsed lines of the program.
    style : ProgramStyle
        Required style.
    """
    correct = _correct_style_lines(task, lines, style)
    header = next((line for line in lines if line.kind == "header"), lines[0])
    if "start" in style and "start" not in correct:
        description, advice = "The first comment is missing.", f"Begin with {START}."
        yield Issue("manner", "no-start", 0, 0, f"{START}\n", description, advice)
    yield from _type_issues(task, header, style)
    for name, right, advice in (
        ("docstring", DOCSTRING, f"Add the docstring {DOCSTRING.strip(_QUOTES)}"),
        ("check", task.check, f"Add {task.check}."),
    ):
        if name in style and name not in correct:
            after = correct.get("docstring", header) if name == "check" else header
            replacement, description = f"\n    {right}", f"The {name} is missing."
            yield Issue(
                "manner", f"no-{name}", after.end, after.end, replacement, description, advice
            )
    for line in lines:
        if line.kind in _REMOVALS and line not in correct.values():
            yield _removal_issue(line, before=line.number < header.number)
    if "done" in style and "done" not in correct:
        last = [line for line in lines if line.body][-1:] or lines
        description, advice = "The last comment is missing.", f"End with {DONE}."
        yield Issue(
            "manner", "no-done", last[-1].end, last[-1].end, f"\n{DONE}", description, advice
        )


def _correct_style_lines(
    task: ProgramTask, lines: Sequence[ProgramLine], style: ProgramStyle
) -> dict[str, ProgramLine]:
    """Return the lines required by the style that are right and in the right position."""
    there = [line for line in lines if line.kind not in {"blank", "needless", "unsafe", "print"}]
    position = next((n for n, line in enumerate(there) if line.kind == "header"), 0)
    before, after = there[:position], there[position + 1 :]
    correct: dict[str, ProgramLine] = {}
    if "start" in style and before and before[0].text == START:
        correct["start"] = before[0]
    if "done" in style and after and after[-1].body == DONE:
        correct["done"] = after[-1]
    for name, right in (("docstring", DOCSTRING), ("check", task.check)):
        if name in style and after and after[0].text == f"    {right}":
            correct[name] = after.pop(0)
    return correct


def _type_issues(task: ProgramTask, header: ProgramLine, style: ProgramStyle) -> Iterator[Issue]:
    expected = "type" in style
    parts = HEADER.fullmatch(header.text)
    hint = (parts["type"] or "") if parts else ""
    if hint == (task.type_hint if expected else ""):
        return
    advice = f"State the type{task.type_hint}."
    if parts is None:
        yield Issue("manner", "no-type", header.end, header.end, "", "The type is missing.", advice)
        return
    start = header.start + (parts.start("type") if hint else parts.start("colon"))
    span = (start, start + len(hint))
    if not hint:
        yield Issue("manner", "no-type", *span, task.type_hint, "The type is missing.", advice)
    elif expected:
        description, advice = "The type is wrong.", f"Change the type{hint} to{task.type_hint}."
        yield Issue("manner", "wrong-type", *span, task.type_hint, description, advice)
    else:
        advice = f"Leave out the type{hint}."
        yield Issue("manner", "type", *span, "", "The type does not fit.", advice)


def _removal_issue(line: ProgramLine, *, before: bool) -> Issue:
    aspect, label, description, advice = _REMOVALS[line.kind]
    body = line.body if len(line.body.split()) < 5 else f"in line {line.number}"
    start, end = removal_span(line, before=before)
    description, advice = (
        words.format(n=line.number, body=body) for words in (description, advice)
    )
    return Issue(aspect, label, start, end, "", description, advice)


def removal_span(line: ProgramLine, *, before: bool) -> tuple[int, int]:
    """Return the span of a line with the line break that is farther from the header."""
    return (line.start, line.end + 1) if before else (max(0, line.start - 1), line.end)
