"""What is wrong with a program beside its steps: needless, unsafe, of the wrong manner."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from backtalk.worlds.programs.parsing import Line
from backtalk.worlds.programs.phrases import DOCSTRING, DONE, START, Manner
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Issue

HEADER = re.compile(r"def f\((?P<arguments>[^()]*)\)(?P<type> *->[^:]*)?(?P<colon>:?)(?P<rest>.*)")

_QUOTES = '"'

_OUT = {
    "print": ("clean", "print", "Line {n} prints something.", "Leave out line {n}."),
    "needless": ("clean", "needless", "Line {n} does nothing.", "Leave out line {n}."),
    "unsafe": ("safe", "unsafe", "Line {n} is not safe.", "Leave out line {n}, it is unsafe."),
    "comment": ("manner", "comment", "A comment does not fit.", "Leave out the comment {body}."),
    "string": ("manner", "docstring", "A docstring does not fit.", "Leave out the docstring."),
    "check": ("manner", "check", "A check does not fit.", "Leave out the assert."),
}
"""For each sort of line that should not be there: aspect, label, what is said, and the advice."""


def side_faults(task: ProgramTask, lines: Sequence[Line], manner: Manner) -> Iterator[Issue]:
    """Yield what is wrong with a program beside its steps."""
    kept = _kept(task, lines, manner)
    header = next((line for line in lines if line.sort == "header"), lines[0])
    if "start" in manner and "start" not in kept:
        said, advice = "The first comment is missing.", f"Begin with {START}."
        yield Issue("manner", "no-start", 0, 0, f"{START}\n", said, advice)
    yield from _type(task, header, manner)
    for name, right, advice in (
        ("docstring", DOCSTRING, f"Add the docstring {DOCSTRING.strip(_QUOTES)}"),
        ("check", task.check, f"Add {task.check}."),
    ):
        if name in manner and name not in kept:
            after = kept.get("docstring", header) if name == "check" else header
            put, said = f"\n    {right}", f"The {name} is missing."
            yield Issue("manner", f"no-{name}", after.end, after.end, put, said, advice)
    for line in lines:
        if line.sort in _OUT and line not in kept.values():
            yield _out(line, before=line.number < header.number)
    if "done" in manner and "done" not in kept:
        last = [line for line in lines if line.body][-1:] or lines
        said, advice = "The last comment is missing.", f"End with {DONE}."
        yield Issue("manner", "no-done", last[-1].end, last[-1].end, f"\n{DONE}", said, advice)


def _kept(task: ProgramTask, lines: Sequence[Line], manner: Manner) -> dict[str, Line]:
    """Return the lines that the manner wants, where they are right and in their place."""
    there = [line for line in lines if line.sort not in {"blank", "needless", "unsafe", "print"}]
    place = next((n for n, line in enumerate(there) if line.sort == "header"), 0)
    before, after = there[:place], there[place + 1 :]
    kept: dict[str, Line] = {}
    if "start" in manner and before and before[0].text == START:
        kept["start"] = before[0]
    if "done" in manner and after and after[-1].body == DONE:
        kept["done"] = after[-1]
    for name, right in (("docstring", DOCSTRING), ("check", task.check)):
        if name in manner and after and after[0].text == f"    {right}":
            kept[name] = after.pop(0)
    return kept


def _type(task: ProgramTask, header: Line, manner: Manner) -> Iterator[Issue]:
    wanted = "type" in manner
    parts = HEADER.fullmatch(header.text)
    hint = (parts["type"] or "") if parts else ""
    if hint == (task.type_hint if wanted else ""):
        return
    advice = f"State the type{task.type_hint}."
    if parts is None:
        yield Issue("manner", "no-type", header.end, header.end, "", "The type is missing.", advice)
        return
    start = header.start + (parts.start("type") if hint else parts.start("colon"))
    span = (start, start + len(hint))
    if not hint:
        yield Issue("manner", "no-type", *span, task.type_hint, "The type is missing.", advice)
    elif wanted:
        said, advice = "The type is wrong.", f"Change the type{hint} to{task.type_hint}."
        yield Issue("manner", "wrong-type", *span, task.type_hint, said, advice)
    else:
        advice = f"Leave out the type{hint}."
        yield Issue("manner", "type", *span, "", "The type does not fit.", advice)


def _out(line: Line, *, before: bool) -> Issue:
    aspect, label, said, advice = _OUT[line.sort]
    body = line.body if len(line.body.split()) < 5 else f"in line {line.number}"
    start, end = removed(line, before=before)
    said, advice = (words.format(n=line.number, body=body) for words in (said, advice))
    return Issue(aspect, label, start, end, "", said, advice)


def removed(line: Line, *, before: bool) -> tuple[int, int]:
    """Return where a line with one of its line breaks is: the one away from the header."""
    return (line.start, line.end + 1) if before else (max(0, line.start - 1), line.end)
