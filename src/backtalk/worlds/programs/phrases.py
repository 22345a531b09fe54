"""What programs are made of: arguments, steps with what they compute, standing instructions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from backtalk.worlds.world import Rule

Slot = Literal["chain", "pick", "aggregate", "which", "each"]
"""Where in a specification a step stands: in a chain of steps, first in one, or in the parts of
"the sum of the even numbers, each times 3"."""
ResultType = Literal["int", "str", "list", "bool"]


@dataclass(frozen=True)
class Kind:
    """What sort of arguments a function has."""

    name: str
    first: str
    """The name of the first argument, which the steps change."""
    second: str
    """The name of the second one, where there can be one."""
    type: ResultType
    """The type of the first argument."""
    phrase: str
    """As a standing instruction names such functions."""
    always_two: bool = False


NUMBERS = Kind("numbers", "x", "y", "int", "functions on numbers")
LISTS = Kind("lists", "xs", "", "list", "functions on lists")
STRINGS = Kind("strings", "s", "", "str", "functions on strings")
PAIRS = Kind("pairs", "xs", "ys", "list", "functions on two lists", always_two=True)
FLAGS = Kind("flags", "a", "b", "bool", "functions on flags", always_two=True)
KINDS = (NUMBERS, LISTS, STRINGS)
UNUSUAL_KINDS = (PAIRS, FLAGS)
"""Functions of the split "out-of-scope": no feedback is given on them."""


@dataclass(frozen=True)
class Op:
    """A step that can be done; ``{k}`` stands for its constant."""

    kind: Kind
    slot: Slot
    phrase: str
    """As a request names it."""
    noun: str
    """As advice names its result."""
    code: str
    """The expression in Python."""
    does: Callable[[Any, Any, Any], Any]
    """What it computes, from the first argument, the second one and the constant."""
    result: ResultType
    constants: tuple[int | str, ...] = ()
    needs_some: bool = False
    """Whether it is defined only where something is left."""
    last: bool = False
    """Whether no step can follow."""

    @property
    def second(self) -> bool:
        """Whether it uses the second argument."""
        return bool(self.kind.second) and f" {self.kind.second}" in f" {self.phrase}"


_SMALL = tuple(range(2, 10))
_ANY = tuple(range(1, 13))
_FEW = (2, 3, 4)


def _chain(
    kind: Kind,
    phrase: str,
    code: str,
    does: Callable[[Any, Any, Any], Any],
    constants: tuple[int | str, ...] = (),
    *,
    result: ResultType | None = None,
    last: bool = False,
) -> Op:
    noun = phrase if phrase.startswith("the ") else f"{kind.first} {phrase}"
    return Op(kind, "chain", phrase, noun, code, does, result or kind.type, constants, last=last)


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
    phrase: str, code: str, does: Callable[[Any, Any, Any], Any], *constants: int | str
) -> Op:
    noun = phrase.removesuffix(" of s")
    return Op(STRINGS, "pick", phrase, noun, code, does, "str", constants)


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


def _keep(phrase: str, test: str, holds: Callable[[int, Any], bool], *constants: int) -> Op:
    code = f"[x for x in xs if {test}]"
    does = lambda xs, _, k: [x for x in xs if holds(x, k)]  # noqa: E731 - it closes over the test
    return Op(LISTS, "which", phrase, phrase, code, does, "list", constants)


def _each(kind: Kind, phrase: str, code: str, of: Callable[[int, Any], int], *constants: int) -> Op:
    does = lambda xs, _, k: [of(x, k) for x in xs]  # noqa: E731 - it closes over the change
    noun = f"the numbers {phrase}"
    return Op(kind, "each", phrase, noun, f"[{code} for x in xs]", does, "list", constants)


def _aggregate(
    kind: Kind, phrase: str, code: str, does: Callable[[list[int]], Any], *, some: bool = False
) -> Op:
    of = lambda xs, _, __: does(xs)  # noqa: E731 - it closes over what is done
    result: ResultType = "list" if "list" in phrase else "int"
    return Op(kind, "aggregate", phrase, phrase, code, of, result, needs_some=some)


def _on_each(kind: Kind) -> tuple[Op, ...]:
    return (
        _each(kind, "times {k}", "x * {k}", lambda x, k: x * k, *_SMALL),
        _each(kind, "plus {k}", "x + {k}", lambda x, k: x + k, *_ANY),
        _each(kind, "minus {k}", "x - {k}", lambda x, k: x - k, *_ANY),
        _each(kind, "modulo {k}", "x % {k}", lambda x, k: x % k, *_SMALL),
        _each(kind, "squared", "x * x", lambda x, _: x**2),
    )


def _on_all(kind: Kind) -> tuple[Op, ...]:
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
    _keep("the even numbers", "x % 2 == 0", lambda x, _: x % 2 == 0),
    _keep("the odd numbers", "x % 2 == 1", lambda x, _: x % 2 == 1),
    _keep("the positive numbers", "x > 0", lambda x, _: x > 0),
    _keep("the negative numbers", "x < 0", lambda x, _: x < 0),
    _keep("the numbers above {k}", "x > {k}", lambda x, k: x > k, *_ANY),
    _keep("the numbers below {k}", "x < {k}", lambda x, k: x < k, *_ANY),
    _keep("the numbers except {k}", "x != {k}", lambda x, k: x != k, *_ANY),
    _keep("the multiples of {k}", "x % {k} == 0", lambda x, k: x % k == 0, *_SMALL),
    *_on_each(LISTS),
    *_on_all(LISTS),
)


def _paired(phrase: str, code: str, of: Callable[[int, int], int]) -> Op:
    full = f"the {phrase} of xs and ys"
    does = lambda xs, ys, _: [of(x, y) for x, y in zip(xs, ys, strict=False)]  # noqa: E731
    return Op(
        PAIRS,
        "which",
        full,
        f"the {phrase} of both",
        f"[{code} for x, y in zip(xs, ys)]",
        does,
        "list",
    )


_ON_PAIRS = (
    _paired("sums", "x + y", lambda x, y: x + y),
    _paired("differences", "x - y", lambda x, y: x - y),
    _paired("products", "x * y", lambda x, y: x * y),
    _paired("maxima", "max(x, y)", max),
    _paired("minima", "min(x, y)", min),
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
OPS = (*_ON_NUMBERS, *_ON_LISTS, *_ON_STRINGS, *_ON_PAIRS, *_ON_FLAGS)


def ops(kind: Kind, *slots: Slot) -> tuple[Op, ...]:
    """Return what can be done in these places of a specification."""
    return tuple(op for op in OPS if op.kind == kind and op.slot in slots)


START, DONE, DOCSTRING = "# start", "# done", '"""Return the result."""'

Manner = frozenset[str]
"""What a program is to have beside its steps: the names of ``MANNERS``."""

MANNERS: Mapping[str, str] = {
    "start": "Begin with the comment # start",
    "type": "State the type of the result",
    "docstring": 'Add the docstring "Return the result."',
    "check": "Assert the type of the first argument",
    "done": "End with the comment # done",
}
"""What a standing instruction can ask for, and its words."""

_SCOPES = {kind.name: f"in {kind.phrase}" for kind in KINDS}

RULES = tuple(
    Rule(what, scope, f"{words} {where}.")
    for what, words in MANNERS.items()
    for scope, where in {**_SCOPES, "all": "in all functions"}.items()
)
