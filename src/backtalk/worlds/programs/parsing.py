"""Line-by-line parser of programs, which also accepts invalid ones."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

LineKind = Literal[
    "blank", "comment", "string", "check", "unsafe", "print", "header", "code", "needless"
]

_UNSAFE_NAMES = {
    *("open", "exec", "eval", "compile", "globals", "locals", "vars", "input", "breakpoint"),
    *("getattr", "setattr", "delattr", "os", "sys", "subprocess"),
}
_STRING = re.compile(r"\"[^\"]*\"|'[^']*'|#.*")
_WORD = re.compile(r"\w+")
_RETURN = re.compile(r"    return\b")
_HEADER = re.compile(r"def +f\b")


@dataclass(frozen=True)
class ProgramLine:
    """Line of a program, ``text[start:end]``, without its line break."""

    number: int
    start: int
    end: int
    text: str
    kind: LineKind

    @property
    def body(self) -> str:
        """Line without its indentation."""
        return self.text.strip()


def read_lines(program: str) -> tuple[ProgramLine, ...]:
    """Return the lines of a program."""
    unsafe = unsafe_lines(program)
    lines = []
    position = 0
    for number, text in enumerate(program.split("\n"), start=1):
        kind = "unsafe" if number in unsafe else _line_kind(text.strip())
        lines.append(ProgramLine(number, position, position + len(text), text, kind))
        position += len(text) + 1
    return tuple(_mark_needless(lines))


def _line_kind(body: str) -> LineKind:
    if not body:
        return "blank"
    if body.startswith("#"):
        return "comment"
    if _STRING.fullmatch(body) or body.startswith(('"""', "'''")):
        return "string"
    if body.startswith("assert "):
        return "check"
    if body.startswith("print(") and body.endswith(")"):
        return "print"
    return "header" if _HEADER.match(body) else "code"


def _mark_needless(lines: list[ProgramLine]) -> Iterator[ProgramLine]:
    """Yield the lines, with those outside the function marked as needless."""
    inside = left = False
    for line in lines:
        first = line.kind == "header" and not inside
        inside = inside or first
        outside = left or not inside
        if line.kind in {"code", "header", "check", "string"} and outside and not first:
            yield replace(line, kind="needless")
        else:
            yield line
        left = left or (inside and bool(_RETURN.match(line.text)))


def unsafe_lines(program: str) -> set[int]:
    """Return the numbers of the lines that use unsafe names or imports."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        lines = enumerate(program.split("\n"), start=1)
        return {number for number, line in lines if _has_unsafe_words(_STRING.sub("", line))}
    return {
        number
        for node in ast.walk(tree)
        if _is_unsafe(node)
        for number in range(getattr(node, "lineno", 1), (getattr(node, "end_lineno", 1) or 1) + 1)
    }


def _is_unsafe(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _UNSAFE_NAMES or _is_dunder(name)
    return False


def _has_unsafe_words(line: str) -> bool:
    words = _WORD.findall(unicodedata.normalize("NFKC", line))
    return any(word == "import" or word in _UNSAFE_NAMES or _is_dunder(word) for word in words)


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


TOKEN = re.compile(r"\w+|==|!=|<=|>=|//|\*\*|->|\s+|.")


def tokens(line: str) -> list[tuple[int, int, str]]:
    """Return start, end and text of each token of a line, spaces included."""
    return [(*result.span(), result[0]) for result in TOKEN.finditer(line)]
