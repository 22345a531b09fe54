"""What would make a program do what it should: its lines beside those of the right one."""

from __future__ import annotations

import keyword
import re
from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher

from backtalk.worlds.programs.parsing import Line, tokens
from backtalk.worlds.programs.phrases import Manner
from backtalk.worlds.programs.sandbox import TestRun
from backtalk.worlds.programs.side_tasks import HEADER, removed
from backtalk.worlds.programs.task import ProgramTask
from backtalk.worlds.world import Issue

_ALIKE = 0.5
"""How alike two lines are at least, for one to be the other with a fault in it."""
_GAP = 0.5
_MOST_LINES = 30
_MOST_CHANGES = 2
_MOST_WORDS = 10

_FUNCTIONS = {"sum", "len", "max", "min", "sorted", "list", "upper", "lower"}
_SAID = {
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


def rewrite(task: ProgramTask, text: str, manner: Manner, run: TestRun) -> Issue:
    """Return the fault of a program that must be written anew."""
    if not text.strip():
        said = "The program is missing."
    else:
        said = "The program never ends." if run.timed_out else "The program does not work."
    advice = "Write the whole program anew."
    return Issue("correct", "rewrite", 0, len(text), task.program(manner), said, advice)


def repairs(
    task: ProgramTask, text: str, lines: Sequence[Line], manner: Manner, *, whole_lines: bool
) -> Iterator[Issue]:
    """Yield what is wrong in the lines, each fault as small as it can be or a whole line."""
    yield from _header(task, lines, manner)
    for place, line, right in _aligned(task, lines):
        if line is None or right is None:
            yield _unpaired(task, lines, place, line)
        elif line.text != right and whole_lines:
            yield _whole_line(task, place, line, right)
        elif line.text != right:
            yield from _differences(task, text, place, line, right)


def _header(task: ProgramTask, lines: Sequence[Line], manner: Manner) -> Iterator[Issue]:
    line = next(line for line in lines if line.sort == "header")
    arguments = ", ".join(task.arguments)
    parts = HEADER.fullmatch(line.text)
    if parts is None or parts["rest"].strip():
        hint = task.type_hint if "type" in manner else ""
        advice = f"Write line {line.number} as {task.signature}{hint}:."
        yield _fault("wrong-line", line, (line.start, line.end), f"{task.signature}{hint}:", advice)
        return
    if parts["arguments"] != arguments:
        start = line.start + parts.start("arguments")
        end = line.start + parts.end("arguments")
        advice = f"The arguments should be {arguments}."
        yield _fault("wrong-name", line, (start, end), arguments, advice)
    if not parts["colon"]:
        place = line.start + parts.end("colon")
        advice = f"Put a colon at the end of line {line.number}."
        yield _fault("no-colon", line, (place, place), ":", advice)


def _aligned(task: ProgramTask, lines: Sequence[Line]) -> list[tuple[int, Line | None, str | None]]:
    """Return each line beside the one of the right program that it stands for.

    The number is how many lines of the right program come before.
    """
    result = [line for line in lines if line.sort == "code"][:_MOST_LINES]
    right = [f"    {line}" for line in task.code]
    pieces = [[token for *_, token in tokens(line)] for line in right]
    price = {(len(result), len(right)): (0.0, "end")}
    for i in range(len(result), -1, -1):
        for j in range(len(right), -1, -1):
            ways = []
            if i < len(result) and j < len(right):
                mine = [token for *_, token in tokens(result[i].text)]
                ratio = SequenceMatcher(None, mine, pieces[j], autojunk=False).ratio()
                if ratio >= _ALIKE:
                    ways.append((1 - ratio + price[i + 1, j + 1][0], "both"))
            if i < len(result):
                ways.append((_GAP + price[i + 1, j][0], "mine"))
            if j < len(right):
                ways.append((_GAP + price[i, j + 1][0], "right"))
            if ways:
                price[i, j] = min(ways)
    i = j = 0
    pairs: list[tuple[int, Line | None, str | None]] = []
    while (way := price[i, j][1]) != "end":
        mine_there, right_there = way in {"mine", "both"}, way in {"right", "both"}
        pairs.append((j, result[i] if mine_there else None, right[j] if right_there else None))
        i, j = i + mine_there, j + right_there
    return pairs


def _unpaired(task: ProgramTask, lines: Sequence[Line], place: int, line: Line | None) -> Issue:
    if line is not None:
        label = "endless" if line.body.startswith("while") else "extra-line"
        advice = f"Leave out line {line.number}."
        return _fault(label, line, removed(line, before=False), "", advice)
    before = _before(task, lines, place)
    advice = f"Add line {before.number + 1}: {task.meanings[place]}."
    put = f"\n    {task.code[place]}"
    return _fault("no-line", before, (before.end, before.end), put, advice)


def _before(task: ProgramTask, lines: Sequence[Line], place: int) -> Line:
    """Return the line after which a missing one belongs."""
    before = next(line for line in lines if line.sort == "header")
    for line in lines[before.number :]:
        if line.sort not in {"string", "check"}:
            break
        before = line
    for at, mine, right in _aligned(task, lines):
        if at < place and mine is not None and right is not None:
            before = mine
    return before


def _whole_line(task: ProgramTask, place: int, line: Line, right: str) -> Issue:
    advice = f"Line {line.number} should {task.meanings[place]}."
    return _fault("wrong-line", line, (line.start, line.end), right, advice)


def _differences(
    task: ProgramTask, text: str, place: int, line: Line, right: str
) -> Iterator[Issue]:
    mine, wanted = tokens(line.text), tokens(right)
    matcher = SequenceMatcher(
        None, [token for *_, token in mine], [token for *_, token in wanted], autojunk=False
    )
    codes = [code for code in matcher.get_opcodes() if code[0] != "equal"]
    if len(codes) > _MOST_CHANGES or line.text[:4] != right[:4]:
        yield _whole_line(task, place, line, right)
        return
    for _, i, i_end, j, j_end in codes:
        old = "".join(token for *_, token in mine[i:i_end])
        new = "".join(token for *_, token in wanted[j:j_end])
        start = line.start + (mine[i][0] if i < len(mine) else len(line.text))
        advice = _change(text, line, (start, start + len(old)), new)
        if len(advice.split()) > _MOST_WORDS:
            advice = f"Line {line.number} should {task.meanings[place]}."
        yield _fault(_label(old, new), line, (start, start + len(old)), new, advice)


def _change(text: str, line: Line, span: tuple[int, int], new: str) -> str:
    """Return what to change into what, with as much around it as makes the place clear."""
    ends = [line.start + at for start, end, _ in tokens(line.text) for at in (start, end)]
    start, end = span
    while _unclear(text, start, end) or not text[start:end].strip():
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


def _unclear(text: str, start: int, end: int) -> bool:
    part = text[start:end].strip()
    if not part or part.endswith("."):
        return True
    return len(re.findall(rf"(?<!\w){re.escape(part)}(?!\w)", text)) > 1


def _label(old: str, new: str) -> str:
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


def _fault(label: str, line: Line, span: tuple[int, int], new: str, advice: str) -> Issue:
    said = _SAID[label].format(n=line.number)
    return Issue("correct", label, *span, new, said, advice)
