"""Repairs of a program, from the alignment of its lines with the right program."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from backtalk.worlds.programs.parsing import ProgramLine, tokens
from backtalk.worlds.programs.phrases import ProgramStyle
from backtalk.worlds.programs.sandbox import TestRun
from backtalk.worlds.programs.side_tasks import HEADER, removal_span
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Issue

_ALIKE = 0.5
"""Minimum similarity ratio of lines that are aligned."""
_GAP = 0.5
_MAX_LINES = 30
_MAX_CHANGES = 2
_MAX_WORDS = 10

_FUNCTIONS = {"sum", "len", "max", "min", "sorted", "list", "upper", "lower"}
_DESCRIPTIONS = {
    "wrong-constant": "Line {n} has a wrong value.",
    "wrong-operator": "Line {n} has a wrong operator.",
    "wrong-name": "Line {n} has a wrong name.",
    "wrong-function": "Line {n} calls a wrong function.",
    "no-return": "Line {n} returns nothing.",
    "no-colon": "A colon is missing.",
    "wrong-line": "Line {n} is wrong.",
    "no-line": "A step is missing.",
    "extra-line": "Line {n} does not belong there.",
    "endless": "Line {n} never ends.",
}


def rewrite(task: ProgramTask, text: str, style: ProgramStyle, run: TestRun) -> Issue:
    """Return the issue of a program that must be rewritten completely.

    Parameters
    ----------
    task : ProgramTask
        Task that the program answers.
    text : str
        Text of the program.
    style : ProgramStyle
        Required style.
    run : TestRun
        Result of its tests.
    """
    if not text.strip():
        description = "The program is missing."
    else:
        description = "The program never ends." if run.timed_out else "The program does not work."
    advice = "Write the whole program anew."
    return Issue("correct", "rewrite", 0, len(text), task.program(style), description, advice)


def repairs(
    task: ProgramTask,
    text: str,
    lines: Sequence[ProgramLine],
    style: ProgramStyle,
    *,
    whole_lines: bool,
) -> Iterator[Issue]:
    """Yield the issues of the lines.

    Parameters
    ----------
    task : ProgramTask
        Task that the program answers.
    text : str
        Text of the program.
    lines : sequence of ProgramLine
        Parsed lines of the program.
    style : ProgramStyle
        Required style.
    whole_lines : bool
        If true, each fix replaces a whole line; otherwise it is as small as possible.
    """
    yield from _header_issues(task, lines, style)
    for position, line, right in _align_lines(task, lines):
        if line is None or right is None:
            yield _unmatched_line_issue(task, lines, position, line)
        elif line.text != right and whole_lines:
            yield _whole_line_issue(task, position, line, right)
        elif line.text != right:
            yield from _difference_issues(task, text, position, line, right)


def _header_issues(
    task: ProgramTask, lines: Sequence[ProgramLine], style: ProgramStyle
) -> Iterator[Issue]:
    line = next(line for line in lines if line.kind == "header")
    arguments = ", ".join(task.arguments)
    parts = HEADER.fullmatch(line.text)
    if parts is None or parts["rest"].strip():
        hint = task.type_hint if "type" in style else ""
        advice = f"Write line {line.number} as {task.signature}{hint}:."
        yield _issue("wrong-line", line, (line.start, line.end), f"{task.signature}{hint}:", advice)
        return
    if parts["arguments"] != arguments:
        start = line.start + parts.start("arguments")
        end = line.start + parts.end("arguments")
        advice = f"The arguments should be {arguments}."
        yield _issue("wrong-name", line, (start, end), arguments, advice)
    if not parts["colon"]:
        position = line.start + parts.end("colon")
        advice = f"Put a colon at the end of line {line.number}."
        yield _issue("no-colon", line, (position, position), ":", advice)


def _align_lines(
    task: ProgramTask, lines: Sequence[ProgramLine]
) -> list[tuple[int, ProgramLine | None, str | None]]:
    """Return pairs of aligned lines, each with the number of right lines before it.

    The lines of the program are the second items, those of the right program the third ones.
    """
    result = [line for line in lines if line.kind == "code"][:_MAX_LINES]
    right = [f"    {line}" for line in task.code]
    right_tokens = [[token for *_, token in tokens(line)] for line in right]
    cost = {(len(result), len(right)): (0.0, "end")}
    for i in range(len(result), -1, -1):
        for j in range(len(right), -1, -1):
            ways = []
            if i < len(result) and j < len(right):
                actual = [token for *_, token in tokens(result[i].text)]
                ratio = SequenceMatcher(None, actual, right_tokens[j], autojunk=False).ratio()
                if ratio >= _ALIKE:
                    ways.append((1 - ratio + cost[i + 1, j + 1][0], "both"))
            if i < len(result):
                ways.append((_GAP + cost[i + 1, j][0], "mine"))
            if j < len(right):
                ways.append((_GAP + cost[i, j + 1][0], "right"))
            if ways:
                cost[i, j] = min(ways)
    i = j = 0
    pairs: list[tuple[int, ProgramLine | None, str | None]] = []
    while (way := cost[i, j][1]) != "end":
        mine_there, right_there = way in {"mine", "both"}, way in {"right", "both"}
        pairs.append((j, result[i] if mine_there else None, right[j] if right_there else None))
        i, j = i + mine_there, j + right_there
    return pairs


def _unmatched_line_issue(
    task: ProgramTask, lines: Sequence[ProgramLine], position: int, line: ProgramLine | None
) -> Issue:
    if line is not None:
        label = "endless" if line.body.startswith("while") else "extra-line"
        advice = f"Leave out line {line.number}."
        return _issue(label, line, removal_span(line, before=False), "", advice)
    before = _preceding_line(task, lines, position)
    advice = f"Add line {before.number + 1}: {task.meanings[position]}."
    replacement = f"\n    {task.code[position]}"
    return _issue("no-line", before, (before.end, before.end), replacement, advice)


def _preceding_line(task: ProgramTask, lines: Sequence[ProgramLine], position: int) -> ProgramLine:
    """Return the line after which a missing line belongs."""
    before = next(line for line in lines if line.kind == "header")
    for line in lines[before.number :]:
        if line.kind not in {"string", "check"}:
            break
        before = line
    for at, actual, right in _align_lines(task, lines):
        if at < position and actual is not None and right is not None:
            before = actual
    return before


def _whole_line_issue(task: ProgramTask, position: int, line: ProgramLine, right: str) -> Issue:
    advice = f"Line {line.number} should {task.meanings[position]}."
    return _issue("wrong-line", line, (line.start, line.end), right, advice)


def _difference_issues(
    task: ProgramTask, text: str, position: int, line: ProgramLine, right: str
) -> Iterator[Issue]:
    actual, expected = tokens(line.text), tokens(right)
    matcher = SequenceMatcher(
        None, [token for *_, token in actual], [token for *_, token in expected], autojunk=False
    )
    codes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    if len(codes) > _MAX_CHANGES or line.text[:4] != right[:4]:
        yield _whole_line_issue(task, position, line, right)
        return
    for _, i, i_end, j, j_end in codes:
        old = "".join(token for *_, token in actual[i:i_end])
        new = "".join(token for *_, token in expected[j:j_end])
        start = line.start + (actual[i][0] if i < len(actual) else len(line.text))
        advice = _change_advice(text, line, (start, start + len(old)), new)
        if len(advice.split()) > _MAX_WORDS:
            advice = f"Line {line.number} should {task.meanings[position]}."
        yield _issue(_label_change(old, new), line, (start, start + len(old)), new, advice)


def _change_advice(text: str, line: ProgramLine, span: tuple[int, int], new: str) -> str:
    """Return the advice for a change, with enough context to be unambiguous."""
    ends = [line.start + at for start, end, _ in tokens(line.text) for at in (start, end)]
    start, end = span
    while _is_ambiguous(text, start, end) or not text[start:end].strip():
        later = [at for at in ends if at > end]
        earlier = [at for at in ends if at < start]
        if earlier and (not later or end - span[1] > span[0] - start):
            start = max(earlier)
        elif later:
            end = min(later)
        else:
            break
    changed = text[start : span[0]] + new + text[span[1] : end]
    return f"Change {text[start:end].strip()} to {changed.strip()}."


def _is_ambiguous(text: str, start: int, end: int) -> bool:
    part = text[start:end].strip()
    if not part or part.endswith("."):
        return True
    return len(re.findall(rf"(?<!\w){re.escape(part)}(?!\w)", text)) > 1


def _label_change(old: str, new: str) -> str:
    if new.strip().startswith("return"):
        return "no-return"
    if {new.strip(), old.strip()} <= _FUNCTIONS:
        return "wrong-function"
    for part in (new.strip(), old.strip()):
        if part.isdecimal() or (part and part[-1] in "\"'"):
            return "wrong-constant"
        if part.isidentifier():
            return "wrong-operator" if keyword.iskeyword(part) else "wrong-name"
        if part and not any(letter.isalnum() for letter in part):
            return "wrong-operator"
    return "wrong-line"


def _issue(label: str, line: ProgramLine, span: tuple[int, int], new: str, advice: str) -> Issue:
    description = _DESCRIPTIONS[label].format(n=line.number)
    return Issue("correct", label, *span, new, description, advice)
