"""Phrases of the programs world: argument kinds, step templates and rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from backtalk.worlds.world import Rule

StepSlot = Literal["chain", "pick", "aggregate", "which", "each"]
"""Slot of a step in a specification: in a chain of steps, first in a chain, or in the parts of
"the sum of the even numbers, each times 3"."""
ResultType = Literal["int", "str", "list", "bool"]


@dataclass(frozen=True)
class ArgumentKind:
    """Kind of the arguments of a function."""

    name: str
    first: str
    """Name of the first argument, which the steps change."""
    second: str
    """Name of the second argument; empty if there is none."""
    type: ResultType
    """Type of the first argument."""
    phrase: str
    """Phrase for such functions in rules."""
    always_two: bool = False


NUMBERS = ArgumentKind("numbers", "x", "y", "int", "functions on numbers")
LISTS = ArgumentKind("lists", "xs", "", "list", "functions on lists")
STRINGS = ArgumentKind("strings", "s", "", "str", "functions on strings")
PAIRS = ArgumentKind("pairs", "xs", "ys", "list", "functions on two lists", always_two=True)
FLAGS = ArgumentKind("flags", "a", "b", "bool", "functions on flags", always_two=True)
ARGUMENT_KINDS = (NUMBERS, LISTS, STRINGS)
UNUSUAL_ARGUMENT_KINDS = (PAIRS, FLAGS)
"""Argument kinds in the split "out-of-scope"; such functions get no feedback."""


@dataclass(frozen=True)
class StepTemplate:
    """Template of a step; ``{k}`` is the placeholder of its constant."""

    kind: ArgumentKind
    slot: StepSlot
    phrase: str
    """Phrase in requests."""
    noun: str
    """Noun phrase for the result in advice."""
    code: str
    """Python expression."""
    compute: Callable[[Any, Any, Any], Any]
    """Function of the first argument, the second argument and the constant."""
    result: ResultType
    constants: tuple[int | str, ...] = ()
    needs_some: bool = False
    """If true, it is undefined for empty input."""
    last: bool = False
    """If true, no step can follow."""

    @property
    def second(self) -> bool:
        """If true, it uses the second argument."""
        return bool(self.kind.second) and f" {self.kind.second}" in f" {self.phrase}"


_SMALL = tuple(range(2, 10))
_ANY = tuple(range(1, 13))
_FEW = (2, 3, 4)


def _chain(
    kind: ArgumentKind,
    phrase: str,
    code: str,
    compute: Callable[[Any, Any, Any], Any],
    constants: tuple[int | str, ...] = (),
    *,
    result: ResultType | None = None,
    last: bool = False,
) -> StepTemplate:
    noun = phrase if phrase.startswith("the ") else f"{kind.first} {phrase}"
    return StepTemplate(
        kind, "chain", phrase, noun, code, compute, result or kind.type, constants, last=last
    )


_ON_NUMBERS = (
    _chain(NUMBERS, "times {k}", "x * {k}", lambda x, _, k: x * k, _SMALL),
    _chain(NUMBERS, "plus {k}", "x + {k}", lambda x, _, k: x + k, _ANY),
    _chain(NUMBERS, "minus {k}", "x - {k}", lambda x, _, k: x - k, _ANY),
    _chain(NUMBERS, "times y", "x * y", lambda x, y, _: x * y),
    _chain(NUMBERS, "plus y", "x + y", lambda x, y, _: x + y),
    _chain(NUMBERS, "minus y", "x - y", lambda x, y, _: x - y),
    _chain(NUMBERS, "squared", "x * x", lambda x, _, __: x**2),
    _chain(NUMBERS, "modulo {k}", "x % {k}", lambda x, _, k: x % k, _SMALL, last=True),
    _chain(NUMBERS, "at most {k}", "min(x, {k})", lambda x, _, k: min(x, k), _ANY, last=True),
    _chain(NUMBERS, "at least {k}", "max(x, {k})", lambda x, _, k: max(x, k), _ANY, last=True),
)


def _pick(
    phrase: str, code: str, compute: Callable[[Any, Any, Any], Any], *constants: int | str
) -> StepTemplate:
    noun = phrase.removesuffix(" of s")
    return StepTemplate(STRINGS, "pick", phrase, noun, code, compute, "str", constants)


_ON_STRINGS = (
    _pick("the first {k} letters of s", "s[:{k}]", lambda s, _, k: s[:k], *_FEW),
    _pick("the last {k} letters of s", "s[-{k}:]", lambda s, _, k: s[-k:], *_FEW),
    _pick("s after letter {k}", "s[{k}:]", lambda s, _, k: s[k:], *_FEW),
    _pick("s without {k}", 's.replace("{k}", "")', lambda s, _, k: "".join(s.split(k)), *"aenrt"),
    _pick("every other letter of s", "s[::2]", lambda s, _, __: s[::2]),
    _chain(STRINGS, "backwards", "s[::-1]", lambda s, _, __: "".join(reversed(s))),
    _chain(STRINGS, "in capitals", "s.upper()", lambda s, _, __: s.upper()),
    _chain(STRINGS, "times {k}", "s * {k}", lambda s, _, k: "".join([s] * k), _FEW),
    _chain(STRINGS, "plus {k}", 's + "{k}"', lambda s, _, k: f"{s}{k}", tuple("bdkxz")),
    _chain(STRINGS, "the length", "len(s)", lambda s, _, __: len(s), result="int", last=True),
    _chain(
        STRINGS,
        "the number of {k}",
        's.count("{k}")',
        lambda s, _, k: list(s).count(k),
        tuple("aenrt"),
        result="int",
        last=True,
    ),
)


def _filter(
    phrase: str, test: str, holds: Callable[[int, Any], bool], *constants: int
) -> StepTemplate:
    code = f"[x for x in xs if {test}]"
    compute = lambda xs, _, k: [x for x in xs if holds(x, k)]  # noqa: E731 - it closes over the test
    return StepTemplate(LISTS, "which", phrase, phrase, code, compute, "list", constants)


def _each(
    kind: ArgumentKind, phrase: str, code: str, of: Callable[[int, Any], int], *constants: int
) -> StepTemplate:
    compute = lambda xs, _, k: [of(x, k) for x in xs]  # noqa: E731 - it closes over the change
    noun = f"the numbers {phrase}"
    return StepTemplate(
        kind, "each", phrase, noun, f"[{code} for x in xs]", compute, "list", constants
    )


def _aggregate(
    kind: ArgumentKind,
    phrase: str,
    code: str,
    compute: Callable[[list[int]], Any],
    *,
    some: bool = False,
) -> StepTemplate:
    of = lambda xs, _, __: compute(xs)  # noqa: E731 - it closes over what is done
    result: ResultType = "list" if "list" in phrase else "int"
    return StepTemplate(kind, "aggregate", phrase, phrase, code, of, result, needs_some=some)


def _on_each(kind: ArgumentKind) -> tuple[StepTemplate, ...]:
    return (
        _each(kind, "times {k}", "x * {k}", lambda x, k: x * k, *_SMALL),
        _each(kind, "plus {k}", "x + {k}", lambda x, k: x + k, *_ANY),
        _each(kind, "minus {k}", "x - {k}", lambda x, k: x - k, *_ANY),
        _each(kind, "modulo {k}", "x % {k}", lambda x, k: x % k, *_SMALL),
        _each(kind, "squared", "x * x", lambda x, _: x**2),
    )


def _on_all(kind: ArgumentKind) -> tuple[StepTemplate, ...]:
    return (
        _aggregate(kind, "the sum", "sum(xs)", sum),
        _aggregate(kind, "the number", "len(xs)", len),
        _aggregate(kind, "the largest", "max(xs)", max, some=True),
        _aggregate(kind, "the smallest", "min(xs)", min, some=True),
        _aggregate(kind, "the first", "xs[0]", lambda xs: next(iter(xs)), some=True),
        _aggregate(kind, "the last", "xs[-1]", lambda xs: next(reversed(xs)), some=True),
        _aggregate(kind, "the sorted list", "sorted(xs)", sorted),
        _aggregate(kind, "the reversed list", "xs[::-1]", lambda xs: list(reversed(xs))),
    )


_ON_LISTS = (
    _filter("the even numbers", "x % 2 == 0", lambda x, _: x % 2 == 0),
    _filter("the odd numbers", "x % 2 == 1", lambda x, _: x % 2 == 1),
    _filter("the positive numbers", "x > 0", lambda x, _: x > 0),
    _filter("the negative numbers", "x < 0", lambda x, _: x < 0),
    _filter("the numbers above {k}", "x > {k}", lambda x, k: x > k, *_ANY),
    _filter("the numbers below {k}", "x < {k}", lambda x, k: x < k, *_ANY),
    _filter("the numbers except {k}", "x != {k}", lambda x, k: x != k, *_ANY),
    _filter("the multiples of {k}", "x % {k} == 0", lambda x, k: x % k == 0, *_SMALL),
    *_on_each(LISTS),
    *_on_all(LISTS),
)


def _pairwise(phrase: str, code: str, of: Callable[[int, int], int]) -> StepTemplate:
    full = f"the {phrase} of xs and ys"
    compute = lambda xs, ys, _: [of(x, y) for x, y in zip(xs, ys, strict=False)]  # noqa: E731
    return StepTemplate(
        PAIRS,
        "which",
        full,
        f"the {phrase} of both",
        f"[{code} for x, y in zip(xs, ys)]",
        compute,
        "list",
    )


_ON_PAIRS = (
    _pairwise("sums", "x + y", lambda x, y: x + y),
    _pairwise("differences", "x - y", lambda x, y: x - y),
    _pairwise("products", "x * y", lambda x, y: x * y),
    _pairwise("maxima", "max(x, y)", max),
    _pairwise("minima", "min(x, y)", min),
    *_on_each(PAIRS),
    *_on_all(PAIRS),
)
_ON_FLAGS = (
    _chain(FLAGS, "and b", "a and b", lambda a, b, _: a and b),
    _chain(FLAGS, "or b", "a or b", lambda a, b, _: a or b),
    _chain(FLAGS, "equal to b", "a == b", lambda a, b, _: a == b),
    _chain(FLAGS, "unequal to b", "a != b", lambda a, b, _: a != b),
    _chain(FLAGS, "negated", "not a", lambda a, _, __: not a),
)
STEP_TEMPLATES = (*_ON_NUMBERS, *_ON_LISTS, *_ON_STRINGS, *_ON_PAIRS, *_ON_FLAGS)


def step_templates(kind: ArgumentKind, *slots: StepSlot) -> tuple[StepTemplate, ...]:
    """Return the step templates of an argument kind for some slots."""
    return tuple(
        template for template in STEP_TEMPLATES if template.kind == kind and template.slot in slots
    )


START, DONE, DOCSTRING = "# start", "# done", '"""Return the result."""'

ProgramStyle = frozenset[str]
"""Required style features of a program: keys of ``STYLE_RULES``."""

STYLE_RULES: Mapping[str, str] = {
    "start": "Begin with the comment # start",
    "type": "State the type of the result",
    "docstring": 'Add the docstring "Return the result."',
    "check": "Assert the type of the first argument",
    "done": "End with the comment # done",
}
"""Wording of the rule for each style feature."""

_SCOPES = {kind.name: f"in {kind.phrase}" for kind in ARGUMENT_KINDS}

RULES = tuple(
    Rule(what, scope, f"{words} {where}.")
    for what, words in STYLE_RULES.items()
    for scope, where in {**_SCOPES, "all": "in all functions"}.items()
)
