"""Reading a program line by line, so that a broken one can be read as well."""

from __future__ import annotations

import ast
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

Sort = Literal[
    "blank", "comment", "string", "check", "unsafe", "print", "header", "code", "needless"
]

_UNSAFE = {
    *("open", "exec", "eval", "compile", "globals", "locals", "vars", "input", "breakpoint"),
    *("getattr", "setattr", "delattr", "os", "sys", "subprocess"),
}
_STRING = re.compile(r"\"[^\"]*\"|'[^']*'|#.*")
_WORD = re.compile(r"\w+")
_RETURN = re.compile(r"    return\b")
_HEADER = re.compile(r"def +f\b")


@dataclass(frozen=True)
class Line:
    """A line of a program, ``text[start:end]``, without its line break."""

    number: int
    start: int
    end: int
    text: str
    sort: Sort

    @property
    def body(self) -> str:
        """The line without its indentation."""
        return self.text.strip()


def read_lines(program: str) -> tuple[Line, ...]:
    """Return the lines of a program."""
    unsafe = unsafe_lines(program)
    lines = []
    place = 0
    for number, text in enumerate(program.split("\n"), start=1):
        sort = "unsafe" if number in unsafe else _sort(text.strip())
        lines.append(Line(number, place, place + len(text), text, sort))
        place += len(text) + 1
    return tuple(_with_needless(lines))


def _sort(body: str) -> Sort:
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


def _with_needless(lines: list[Line]) -> Iterator[Line]:
    """Yield the lines, those marked that are outside of the function or behind its end."""
    inside = left = False
    for line in lines:
        first = line.sort == "header" and not inside
        inside = inside or first
        outside = left or not inside
        if line.sort in {"code", "header", "check", "string"} and outside and not first:
            yield replace(line, sort="needless")
        else:
            yield line
        left = left or (inside and bool(_RETURN.match(line.text)))


def unsafe_lines(program: str) -> set[int]:
    """Return the numbers of the lines that reach for what a program need not touch."""
    try:
        tree = ast.parse(program)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        lines = enumerate(program.split("\n"), start=1)
        return {number for number, line in lines if _unsafe_words(_STRING.sub("", line))}
    return {
        number
        for node in ast.walk(tree)
        if _unsafe(node)
        for number in range(getattr(node, "lineno", 1), (getattr(node, "end_lineno", 1) or 1) + 1)
    }


def _unsafe(node: ast.AST) -> bool:
    match node:
        case ast.Import() | ast.ImportFrom():
            return True
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name in _UNSAFE or _hidden(name)
    return False


def _unsafe_words(line: str) -> bool:
    words = _WORD.findall(unicodedata.normalize("NFKC", line))
    return any(word == "import" or word in _UNSAFE or _hidden(word) for word in words)


def _hidden(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


TOKEN = re.compile(r"\w+|==|!=|<=|>=|//|\*\*|->|\s+|.")


def tokens(line: str) -> list[tuple[int, int, str]]:
    """Return where the tokens of a line, spaces among them, begin and end, and what they are."""
    return [(*result.span(), result[0]) for result in TOKEN.finditer(line)]
