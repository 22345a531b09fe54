"""Check names and docstrings by the rules in CONTRIBUTING.md that a program can check."""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HEADLESS = re.compile(r"(What|Who|Whom|Whose|How|Which|Whether|Where|When|Why|That)\b")
"""A first word that makes a docstring a relative clause instead of a noun or a verb."""

BANNED_NAMES = frozenset(
    [
        "asked",
        "chance",
        "chances",
        "found",
        "given",
        "kept",
        "luck",
        "moment",
        "odds",
        "said",
        "talk",
        "talks",
        "told",
        "usual",
        "wanted",
    ]
)
"""Identifiers that name nothing, or not what the field means by the word."""

PREPOSITIONS = frozenset(
    [
        "about",
        "after",
        "around",
        "aside",
        "away",
        "before",
        "behind",
        "beside",
        "between",
        "by",
        "during",
        "from",
        "inside",
        "into",
        "off",
        "on",
        "out",
        "over",
        "past",
        "through",
        "to",
        "together",
        "toward",
        "under",
        "upon",
        "with",
        "within",
        "without",
    ]
)
PARTICIPLE = re.compile(r"[a-z]{3,}ed$")
PARTICIPLES_AS_TERMS = frozenset(
    {"distributed", "embed", "feed", "need", "seed", "speed", "supervised", "unpaired"}
)

MANY_PARAMETERS = 3

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Docstring:
    """A docstring with its place and what it documents."""

    line: int
    owner: str
    kind: str
    text: str


def docstrings(tree: ast.Module) -> Iterator[Docstring]:
    """Yield the docstrings of a module, its public classes, functions and attributes."""
    text = ast.get_docstring(tree)
    if text:
        yield Docstring(1, "the module", "module", text)
    yield from _inside(tree, "")


def _inside(node: ast.Module | ast.ClassDef, prefix: str) -> Iterator[Docstring]:
    for item, following in zip(node.body, [*node.body[1:], None], strict=False):
        if isinstance(item, ast.ClassDef | Function):
            text = ast.get_docstring(item)
            if text and is_public(item.name):
                kind = "class" if isinstance(item, ast.ClassDef) else "function"
                yield Docstring(item.lineno, prefix + item.name, kind, text)
            if isinstance(item, ast.ClassDef) and is_public(item.name):
                yield from _inside(item, f"{prefix}{item.name}.")
        elif (
            isinstance(item, ast.Assign | ast.AnnAssign)
            and isinstance(following, ast.Expr)
            and isinstance(following.value, ast.Constant)
            and isinstance(following.value.value, str)
        ):
            target = item.target if isinstance(item, ast.AnnAssign) else item.targets[0]
            name = ast.unparse(target)
            yield Docstring(following.lineno, prefix + name, "attribute", following.value.value)


def is_public(name: str) -> bool:
    """Return whether a name is part of an interface."""
    return not name.startswith("_")


def public_functions(tree: ast.Module) -> Iterator[tuple[str, Function]]:
    """Yield the public functions of a module and the public methods of its public classes."""
    for item in tree.body:
        if isinstance(item, Function) and is_public(item.name):
            yield item.name, item
        if isinstance(item, ast.ClassDef) and is_public(item.name):
            for method in item.body:
                if isinstance(method, Function) and is_public(method.name):
                    yield f"{item.name}.{method.name}", method


def parameters(function: Function) -> list[ast.arg]:
    """Return the parameters of a function, without ``self`` and ``cls``."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    extra = [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    return [one for one in [*named, *extra] if one.arg not in {"self", "cls"}]


def documented_parameters(text: str) -> set[str] | None:
    """Return the names in the Parameters section of a docstring, ``None`` if it has none."""
    match = re.search(
        r"^Parameters\n-+\n(.*?)(?=^\w[\w ]*\n-{3,}|\Z)", text, re.MULTILINE | re.DOTALL
    )
    if match is None:
        return None
    lines = [line for line in match.group(1).split("\n") if line and not line.startswith(" ")]
    return {name.strip().lstrip("*") for line in lines for name in line.split(" : ")[0].split(",")}


def is_command_option(parameter: ast.arg) -> bool:
    """Return whether a parameter is an option of the command line, which has its own help."""
    note = "" if parameter.annotation is None else ast.unparse(parameter.annotation)
    return "typer." in note or note.endswith(("Option", "Option | None"))


def overrides(function: Function) -> bool:
    """Return whether a function is marked as an override or overload, documented elsewhere."""
    names = {ast.unparse(one).split(".")[-1] for one in function.decorator_list}
    return not names.isdisjoint({"override", "overload"})


def problems(path: Path, root: Path) -> Iterator[str]:
    """Yield what is wrong in a file, as ``path:line: message``."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    shown = path.relative_to(root)
    for line, message in [
        *_module_name(path.stem),
        *_headless_docstrings(tree),
        *_parameter_sections(tree),
        *_banned_names(tree),
    ]:
        yield f"{shown}:{line}: {message}"


def _module_name(stem: str) -> Iterator[tuple[int, str]]:
    if stem in PREPOSITIONS or (PARTICIPLE.match(stem) and stem not in PARTICIPLES_AS_TERMS):
        yield 1, f"the module {stem!r} is named by a preposition or participle; use a noun"


def _headless_docstrings(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for one in docstrings(tree):
        if match := HEADLESS.match(one.text.strip()):
            yield (
                one.line,
                (
                    f"the docstring of {one.owner} begins with {match.group()!r}; "
                    "begin with a noun or a verb"
                ),
            )


def _parameter_sections(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for name, function in public_functions(tree):
        required = {one.arg for one in parameters(function) if not is_command_option(one)}
        listed = documented_parameters(ast.get_docstring(function) or "")
        if listed is None:
            if len(required) >= MANY_PARAMETERS and not overrides(function):
                count = len(required)
                yield function.lineno, f"{name} has {count} parameters and no Parameters section"
            continue
        for missing in sorted(required - listed):
            yield function.lineno, f"the Parameters section of {name} lacks {missing!r}"
        for unknown in sorted(listed - {one.arg for one in parameters(function)}):
            yield function.lineno, f"{name} has no parameter {unknown!r}"


def _banned_names(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        name = None
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            name = node.id
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.ClassDef | Function):
            name = node.name
        if name is not None and name.lower().strip("_") in BANNED_NAMES:
            yield node.lineno, f"the name {name!r} says nothing; use the field's noun"


def main() -> int:
    """Print the problems of the files given, and return 1 if there are any."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("paths", nargs="*", type=Path, default=[Path("src")])
    parser.add_argument("--counts", action="store_true", help="print figures instead of problems")
    arguments = parser.parse_args()
    root = Path.cwd()
    files = sorted(
        file
        for path in arguments.paths
        for file in ([path.resolve()] if path.is_file() else path.resolve().rglob("*.py"))
        if "migrations" not in file.parts
    )
    if arguments.counts:
        return _counts(files)
    found_any = False
    for file in files:
        for problem in problems(file, root):
            print(problem)  # noqa: T201 - the output of a command
            found_any = True
    return int(found_any)


def _counts(files: list[Path]) -> int:
    trees = [ast.parse(file.read_text(encoding="utf-8")) for file in files]
    every = [one for tree in trees for one in docstrings(tree)]
    core = [one for one in every if one.kind != "attribute"]
    for name, items in (("modules, classes, functions", core), ("with attributes", every)):
        headless = sum(bool(HEADLESS.match(one.text.strip())) for one in items)
        print(f"headless docstrings, {name}: {headless} of {len(items)}")  # noqa: T201
    bare = sum(
        len([one for one in parameters(function) if not is_command_option(one)]) >= MANY_PARAMETERS
        and documented_parameters(ast.get_docstring(function) or "") is None
        and not overrides(function)
        for tree in trees
        for _, function in public_functions(tree)
    )
    print(f"public functions of 3 or more parameters without a Parameters section: {bare}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
