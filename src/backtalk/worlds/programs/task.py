"""A request for a program, with its specification as data and its reference implementation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from backtalk.worlds.programs.phrases import (
    DOCSTRING,
    DONE,
    FLAGS,
    KINDS,
    NUMBERS,
    START,
    STRINGS,
    UNUSUAL_KINDS,
    Kind,
    Manner,
    Op,
    ops,
)
from backtalk.worlds.world import Rng

_THEN = ", then "


@dataclass(frozen=True)
class Step:
    """One step of a specification, with its constant."""

    op: Op
    constant: int | str | None = None

    @property
    def phrase(self) -> str:
        """As the request names it."""
        return self.op.phrase.format(k=self.constant)

    @property
    def noun(self) -> str:
        """As advice names its result."""
        return self.op.noun.format(k=self.constant)

    @property
    def code(self) -> str:
        """The expression in Python."""
        return self.op.code.format(k=self.constant)


@dataclass(frozen=True)
class ProgramTask:
    """A function to write: on what, and the steps from its arguments to its result."""

    kind: Kind
    steps: tuple[Step, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of the arguments."""
        two = self.kind.always_two or any(step.op.second for step in self.steps)
        return (self.kind.first, self.kind.second) if two else (self.kind.first,)

    @property
    def text(self) -> str:
        """The request."""
        return f"Write a function f({', '.join(self.arguments)}) that returns {self.specified}."

    @property
    def specified(self) -> str:
        """What the function returns, in words."""
        if self.kind in {NUMBERS, STRINGS, FLAGS}:
            subject = self.steps[0].op.slot == "chain"
            chain = _THEN.join(step.phrase for step in self.steps)
            return f"{self.kind.first} {chain}" if subject else chain
        phrase = {step.op.slot: step.phrase for step in self.steps}
        each = f", each {phrase['each']}" if "each" in phrase else ""
        whole = phrase.get("aggregate", "the list")
        return f"{whole} of {phrase.get('which', 'the numbers')}{each}"

    @property
    def code(self) -> tuple[str, ...]:
        """The lines of the function's body."""
        *first, last = self.steps
        return (*(f"{self.kind.first} = {step.code}" for step in first), f"return {last.code}")

    @property
    def meanings(self) -> tuple[str, ...]:
        """What each line of the body does, in words."""
        *first, last = self.steps
        setting = (f"set {self.kind.first} to {step.noun}" for step in first)
        return (*setting, f"return {last.noun}")

    @property
    def signature(self) -> str:
        """The first line of the function, without a type and without its colon."""
        return f"def f({', '.join(self.arguments)})"

    @property
    def type_hint(self) -> str:
        """What states the type of the result."""
        return f" -> {self.steps[-1].op.result}"

    @property
    def check(self) -> str:
        """The line that checks the type of the first argument."""
        return f"assert isinstance({self.kind.first}, {self.kind.type})"

    def program(self, manner: Manner) -> str:
        """Return the right program, in that manner."""
        lines = [START] if "start" in manner else []
        lines.append(f"{self.signature}{self.type_hint if 'type' in manner else ''}:")
        lines += [f"    {DOCSTRING}"] if "docstring" in manner else []
        lines += [f"    {self.check}"] if "check" in manner else []
        lines += [f"    {line}" for line in self.code]
        lines += [DONE] if "done" in manner else []
        return "\n".join(lines)

    def result(self, arguments: tuple[Any, ...]) -> Any:
        """Return what the function is to return.

        Raises
        ------
        ValueError
            If the specification does not say: the largest of no numbers.
        """
        value = arguments[0]
        second = arguments[1] if len(arguments) > 1 else None
        for step in self.steps:
            if step.op.needs_some and not value:
                raise ValueError(f"{step.noun} of nothing")
            value = step.op.does(value, second, step.constant)
        return value

    def near(self) -> Iterator[ProgramTask]:
        """Yield specifications that are almost the same: a step less, another step or constant."""
        for task in self._changed():
            ended = any(step.op.last for step in task.steps[:-1])
            if not ended and len(task.arguments) <= len(self.arguments):
                yield task

    def _changed(self) -> Iterator[ProgramTask]:
        for index, step in enumerate(self.steps):
            before, after = self.steps[:index], self.steps[index + 1 :]
            if before or after:
                yield ProgramTask(self.kind, before + after)
            for op in ops(self.kind, step.op.slot):
                if op != step.op and _sort(op) == _sort(step.op):
                    yield replace(self, steps=(*before, Step(op, step.constant), *after))
            for constant in step.op.constants:
                if constant != step.constant:
                    yield replace(self, steps=(*before, Step(step.op, constant), *after))


def _sort(op: Op) -> set[type]:
    return {type(constant) for constant in op.constants}


def draw_task(rng: Rng, *, unusual: bool) -> ProgramTask:
    """Return a request at random."""
    kinds = UNUSUAL_KINDS if unusual else KINDS
    kind = kinds[rng.choice(len(kinds), p=(0.8, 0.2) if unusual else (0.3, 0.45, 0.25))]
    while True:
        if kind in {NUMBERS, STRINGS, FLAGS}:
            task = ProgramTask(kind, tuple(_draw_chain(kind, rng)))
        else:
            task = ProgramTask(kind, tuple(_draw_parts(kind, rng)))
        if task.steps and _sensible(task):
            return task


def _draw_chain(kind: Kind, rng: Rng) -> Iterator[Step]:
    count = 2 + int(rng.random() < 0.45)
    if kind == STRINGS and rng.random() < 0.6:
        yield _draw_step(ops(kind, "pick"), rng)
        count -= 1
    for number in range(count):
        final = number == count - 1
        yield _draw_step([op for op in ops(kind, "chain") if final or not op.last], rng)


def _draw_parts(kind: Kind, rng: Rng) -> Iterator[Step]:
    if kind in UNUSUAL_KINDS or rng.random() < 0.75:
        yield _draw_step(ops(kind, "which"), rng)
    if rng.random() < 0.5:
        yield _draw_step(ops(kind, "each"), rng)
    if rng.random() < 0.85:
        yield _draw_step(ops(kind, "aggregate"), rng)


def _draw_step(choices: tuple[Op, ...] | list[Op], rng: Rng) -> Step:
    op = choices[rng.integers(len(choices))]
    if not op.constants:
        return Step(op)
    return Step(op, op.constants[rng.integers(len(op.constants))])


def _sensible(task: ProgramTask) -> bool:
    """Return whether no two steps that follow each other are of one sort."""
    sorts = [step.op.phrase.split()[0] for step in task.steps]
    if task.kind not in {NUMBERS, STRINGS, FLAGS}:
        return True
    if task.steps[0].op.phrase.startswith("the ") and task.steps[0].op.slot == "chain":
        return False
    squares = sum(step.op.phrase in {"squared", "times y"} for step in task.steps)
    return squares <= 1 and all(one != other for one, other in pairwise(sorts))


def parse_task(text: str) -> ProgramTask | None:
    """Return the request that a text states, if it is one."""
    head = _HEAD.match(text)
    if head is None:
        return None
    for kind in (*KINDS, *UNUSUAL_KINDS):
        if head["arguments"].split(", ")[0] != kind.first:
            continue
        steps = _parse_steps(kind, head["specified"])
        if steps and (task := ProgramTask(kind, steps)).text == text:
            return task
    return None


_HEAD = re.compile(
    r"Write a function f\((?P<arguments>[a-z, ]+)\) that returns (?P<specified>.+)\.\Z"
)
_PARTS = re.compile(r"(?P<aggregate>the [a-z ]+?) of (?P<which>the .+?)(?:, each (?P<each>.+))?\Z")


def _parse_steps(kind: Kind, specified: str) -> tuple[Step, ...] | None:
    steps: list[Step | None] = []
    if kind in {NUMBERS, STRINGS, FLAGS}:
        first, *others = specified.split(_THEN)
        picked = _parse_step(ops(kind, "pick"), first)
        steps.append(
            picked or _parse_step(ops(kind, "chain"), first.removeprefix(f"{kind.first} "))
        )
        steps += [_parse_step(ops(kind, "chain"), phrase) for phrase in others]
    elif parts := _PARTS.match(specified):
        if parts["which"] != "the numbers":
            steps.append(_parse_step(ops(kind, "which"), parts["which"]))
        if parts["each"]:
            steps.append(_parse_step(ops(kind, "each"), parts["each"]))
        if parts["aggregate"] != "the list":
            steps.append(_parse_step(ops(kind, "aggregate"), parts["aggregate"]))
    results = tuple(step for step in steps if step is not None)
    return results if len(results) == len(steps) else None


def _parse_step(choices: tuple[Op, ...], phrase: str) -> Step | None:
    for op in choices:
        result = _pattern(op.phrase).fullmatch(phrase)
        if result is None:
            continue
        constant = next((k for k in op.constants if str(k) == result.groupdict().get("k")), None)
        if constant is not None or not op.constants:
            return Step(op, constant)
    return None


@lru_cache
def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(re.escape(phrase).replace(r"\{k\}", r"(?P<k>\w+)"))
