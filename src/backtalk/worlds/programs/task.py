"""Tasks of the programs world: specifications as data, with reference implementations."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import pairwise
from typing import Any

from backtalk.worlds.programs.phrases import (
    ARGUMENT_KINDS,
    DOCSTRING,
    DONE,
    FLAGS,
    NUMBERS,
    START,
    STRINGS,
    UNUSUAL_ARGUMENT_KINDS,
    ArgumentKind,
    ProgramStyle,
    StepTemplate,
    step_templates,
)
from backtalk.worlds.world import Rng

_THEN = ", then "


@dataclass(frozen=True)
class ProgramStep:
    """Step of a specification: a template with its constant."""

    template: StepTemplate
    constant: int | str | None = None

    @property
    def phrase(self) -> str:
        """Phrase in the request."""
        return self.template.phrase.format(k=self.constant)

    @property
    def noun(self) -> str:
        """Noun phrase for the result in advice."""
        return self.template.noun.format(k=self.constant)

    @property
    def code(self) -> str:
        """Python expression."""
        return self.template.code.format(k=self.constant)


@dataclass(frozen=True)
class ProgramTask:
    """Function to write: the kind of its arguments and the steps to its result."""

    kind: ArgumentKind
    steps: tuple[ProgramStep, ...]

    @property
    def arguments(self) -> tuple[str, ...]:
        """Names of the arguments."""
        two = self.kind.always_two or any(step.template.second for step in self.steps)
        return (self.kind.first, self.kind.second) if two else (self.kind.first,)

    @property
    def text(self) -> str:
        """Text of the request."""
        return f"Write a function f({', '.join(self.arguments)}) that returns {self.specification}."

    @property
    def specification(self) -> str:
        """Specification of the result in words."""
        if self.kind in {NUMBERS, STRINGS, FLAGS}:
            subject = self.steps[0].template.slot == "chain"
            chain = _THEN.join(step.phrase for step in self.steps)
            return f"{self.kind.first} {chain}" if subject else chain
        phrase = {step.template.slot: step.phrase for step in self.steps}
        each = f", each {phrase['each']}" if "each" in phrase else ""
        whole = phrase.get("aggregate", "the list")
        return f"{whole} of {phrase.get('which', 'the numbers')}{each}"

    @property
    def code(self) -> tuple[str, ...]:
        """Lines of the function's body."""
        *first, last = self.steps
        return (*(f"{self.kind.first} = {step.code}" for step in first), f"return {last.code}")

    @property
    def meanings(self) -> tuple[str, ...]:
        """Meaning of each line of the body in words."""
        *first, last = self.steps
        setting = (f"set {self.kind.first} to {step.noun}" for step in first)
        return (*setting, f"return {last.noun}")

    @property
    def signature(self) -> str:
        """First line of the function, without type hint and colon."""
        return f"def f({', '.join(self.arguments)})"

    @property
    def type_hint(self) -> str:
        """Type hint of the result."""
        return f" -> {self.steps[-1].template.result}"

    @property
    def check(self) -> str:
        """Line that checks the type of the first argument."""
        return f"assert isinstance({self.kind.first}, {self.kind.type})"

    def program(self, style: ProgramStyle) -> str:
        """Return the right program in a style."""
        lines = [START] if "start" in style else []
        lines.append(f"{self.signature}{self.type_hint if 'type' in style else ''}:")
        lines += [f"    {DOCSTRING}"] if "docstring" in style else []
        lines += [f"    {self.check}"] if "check" in style else []
        lines += [f"    {line}" for line in self.code]
        lines += [DONE] if "done" in style else []
        return "\n".join(lines)

    def result(self, arguments: tuple[Any, ...]) -> Any:
        """Return the specified result for arguments.

        Raises
        ------
        ValueError
            If the specification leaves it undefined, such as the largest of no numbers.
        """
        value = arguments[0]
        second = arguments[1] if len(arguments) > 1 else None
        for step in self.steps:
            if step.template.needs_some and not value:
                raise ValueError(f"{step.noun} of nothing")
            value = step.template.compute(value, second, step.constant)
        return value

    def near_tasks(self) -> Iterator[ProgramTask]:
        """Yield similar tasks: a step less, another step or another constant."""
        for task in self._variants():
            has_inner_end = any(step.template.last for step in task.steps[:-1])
            if not has_inner_end and len(task.arguments) <= len(self.arguments):
                yield task

    def _variants(self) -> Iterator[ProgramTask]:
        for index, step in enumerate(self.steps):
            before, after = self.steps[:index], self.steps[index + 1 :]
            if before or after:
                yield ProgramTask(self.kind, before + after)
            for template in step_templates(self.kind, step.template.slot):
                if template != step.template and _constant_types(template) == _constant_types(
                    step.template
                ):
                    yield replace(
                        self, steps=(*before, ProgramStep(template, step.constant), *after)
                    )
            for constant in step.template.constants:
                if constant != step.constant:
                    yield replace(
                        self, steps=(*before, ProgramStep(step.template, constant), *after)
                    )


def _constant_types(template: StepTemplate) -> set[type]:
    return {type(constant) for constant in template.constants}


def draw_task(rng: Rng, *, unusual: bool) -> ProgramTask:
    """Return a random task, an unusual one for the split "out-of-scope"."""
    kinds = UNUSUAL_ARGUMENT_KINDS if unusual else ARGUMENT_KINDS
    kind = kinds[rng.choice(len(kinds), p=(0.8, 0.2) if unusual else (0.3, 0.45, 0.25))]
    while True:
        if kind in {NUMBERS, STRINGS, FLAGS}:
            task = ProgramTask(kind, tuple(_draw_chain(kind, rng)))
        else:
            task = ProgramTask(kind, tuple(_draw_list_steps(kind, rng)))
        if task.steps and _is_sensible(task):
            return task


def _draw_chain(kind: ArgumentKind, rng: Rng) -> Iterator[ProgramStep]:
    count = 2 + int(rng.random() < 0.45)
    if kind == STRINGS and rng.random() < 0.6:
        yield _draw_step(step_templates(kind, "pick"), rng)
        count -= 1
    for number in range(count):
        final = number == count - 1
        yield _draw_step(
            [template for template in step_templates(kind, "chain") if final or not template.last],
            rng,
        )


def _draw_list_steps(kind: ArgumentKind, rng: Rng) -> Iterator[ProgramStep]:
    if kind in UNUSUAL_ARGUMENT_KINDS or rng.random() < 0.75:
        yield _draw_step(step_templates(kind, "which"), rng)
    if rng.random() < 0.5:
        yield _draw_step(step_templates(kind, "each"), rng)
    if rng.random() < 0.85:
        yield _draw_step(step_templates(kind, "aggregate"), rng)


def _draw_step(choices: tuple[StepTemplate, ...] | list[StepTemplate], rng: Rng) -> ProgramStep:
    template = choices[rng.integers(len(choices))]
    if not template.constants:
        return ProgramStep(template)
    return ProgramStep(template, template.constants[rng.integers(len(template.constants))])


def _is_sensible(task: ProgramTask) -> bool:
    """Return true if no two successive steps are of the same kind."""
    first_words = [step.template.phrase.split()[0] for step in task.steps]
    if task.kind not in {NUMBERS, STRINGS, FLAGS}:
        return True
    if task.steps[0].template.phrase.startswith("the ") and task.steps[0].template.slot == "chain":
        return False
    squares = sum(step.template.phrase in {"squared", "times y"} for step in task.steps)
    return squares <= 1 and all(a != b for a, b in pairwise(first_words))


def parse_task(text: str) -> ProgramTask | None:
    """Return the task that a request states, or ``None``."""
    head = _HEAD.match(text)
    if head is None:
        return None
    for kind in (*ARGUMENT_KINDS, *UNUSUAL_ARGUMENT_KINDS):
        if head["arguments"].split(", ")[0] != kind.first:
            continue
        steps = _parse_steps(kind, head["specification"])
        if steps and (task := ProgramTask(kind, steps)).text == text:
            return task
    return None


_HEAD = re.compile(
    r"Write a function f\((?P<arguments>[a-z, ]+)\) that returns (?P<specification>.+)\.\Z"
)
_PARTS = re.compile(r"(?P<aggregate>the [a-z ]+?) of (?P<which>the .+?)(?:, each (?P<each>.+))?\Z")


def _parse_steps(kind: ArgumentKind, specification: str) -> tuple[ProgramStep, ...] | None:
    steps: list[ProgramStep | None] = []
    if kind in {NUMBERS, STRINGS, FLAGS}:
        first, *others = specification.split(_THEN)
        picked = _parse_step(step_templates(kind, "pick"), first)
        steps.append(
            picked
            or _parse_step(step_templates(kind, "chain"), first.removeprefix(f"{kind.first} "))
        )
        steps += [_parse_step(step_templates(kind, "chain"), phrase) for phrase in others]
    elif parts := _PARTS.match(specification):
        if parts["which"] != "the numbers":
            steps.append(_parse_step(step_templates(kind, "which"), parts["which"]))
        if parts["each"]:
            steps.append(_parse_step(step_templates(kind, "each"), parts["each"]))
        if parts["aggregate"] != "the list":
            steps.append(_parse_step(step_templates(kind, "aggregate"), parts["aggregate"]))
    results = tuple(step for step in steps if step is not None)
    return results if len(results) == len(steps) else None


def _parse_step(choices: tuple[StepTemplate, ...], phrase: str) -> ProgramStep | None:
    for template in choices:
        result = _pattern(template.phrase).fullmatch(phrase)
        if result is None:
            continue
        constant = next(
            (k for k in template.constants if str(k) == result.groupdict().get("k")), None
        )
        if constant is not None or not template.constants:
            return ProgramStep(template, constant)
    return None


@lru_cache
def _pattern(phrase: str) -> re.Pattern[str]:
    return re.compile(re.escape(phrase).replace(r"\{k\}", r"(?P<k>\w+)"))
