"""Tasks of the sums world: requests with their operations and true results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from backtalk.worlds.sums.phrases import BARE, PRONOUNS, THINGS, VERBS, AnswerLayout, layout_changes
from backtalk.worlds.world import Rng, Rule

LARGEST = 99
"""Largest allowed result."""


def evaluate(left: int, operator: str, right: int) -> int | None:
    """Return the result of a step, ``None`` if it is not a whole number.

    Parameters
    ----------
    left : int
        Left operand.
    operator : str
        One of ``+ - * /``.
    right : int
        Right operand.
    """
    if operator == "+":
        return left + right
    if operator == "-":
        return left - right
    if operator == "*":
        return left * right
    return left // right if right and left % right == 0 else None


def perturb(number: int, rng: Rng) -> int:
    """Return a different number within bounds that could result from a mistake."""
    off = (1, -1, 2, -2, 10, -10)[rng.choice(6, p=(0.25, 0.25, 0.15, 0.15, 0.1, 0.1))]
    return number + off if 0 <= number + off <= LARGEST else number - off


@dataclass(frozen=True)
class Operation:
    """Operation of one step on the result so far."""

    operator: str
    operand: int
    verb: str = ""
    """Verb phrase in a word problem, with a placeholder; empty in an expression."""
    operand_first: bool = False
    """If true, the operand is the left one, as in ``3 + 4 * 2``."""

    def step(self, so_far: int) -> tuple[int, str, int]:
        """Return left operand, operator and right operand."""
        if self.operand_first:
            return self.operand, self.operator, so_far
        return so_far, self.operator, self.operand

    @property
    def phrase(self) -> str:
        """Operation in words."""
        return self.verb.format(self.operand)


@dataclass(frozen=True)
class SumTask:
    """Number with operations on it, as a word problem or an expression."""

    name: str
    """Name of the person in the word problem; empty in an expression."""
    thing: str
    """Thing counted; empty in an expression."""
    start: int
    operations: tuple[Operation, ...]

    @property
    def level(self) -> int:
        """Difficulty: the number of steps minus 1."""
        return len(self.operations) - 1

    @property
    def scope(self) -> str:
        """Scope identifier that rules refer to."""
        return self.thing or BARE

    @cached_property
    def values(self) -> tuple[tuple[int, str, int, int], ...]:
        """Left operand, operator, right operand and result of each step."""
        so_far, done = self.start, []
        for operation in self.operations:
            left, operator, right = operation.step(so_far)
            so_far = evaluate(left, operator, right) or 0
            done.append((left, operator, right, so_far))
        return tuple(done)

    @property
    def answer(self) -> int:
        """Final result."""
        return self.values[-1][3]

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """Text of each step."""
        return tuple(f"{left} {sign} {right} = {to}" for left, sign, right, to in self.values)

    @property
    def expression(self) -> str:
        """All operations as one expression."""
        expression = str(self.start)
        for operation in self.operations:
            if operation.operand_first:
                expression = f"{operation.operand} {operation.operator} {expression}"
            else:
                expression = f"{expression} {operation.operator} {operation.operand}"
        return expression

    @property
    def text(self) -> str:
        """Text of the request."""
        if not self.thing:
            return f"Work out {self.expression}."
        pronoun = PRONOUNS[self.name]
        phrases = [operation.phrase for operation in self.operations]
        return (
            f"{self.name} has {self.start} {self.thing}. "
            f"{pronoun} {', '.join(phrases[:-1])} and {phrases[-1]}. "
            f"How many has {pronoun.lower()}?"
        )

    def layout(self, rules: Sequence[Rule] = ()) -> AnswerLayout:
        """Return the required layout of an answer under rules."""
        layout = AnswerLayout()
        for rule in rules:
            layout = replace(layout, **layout_changes(rule))  # type: ignore[arg-type]
        return layout


def draw_task(rng: Rng, *, unusual: bool) -> SumTask:
    """Return a random task; an unusual one halves, or is of level 5."""
    while True:
        halves = unusual and rng.random() < 0.5
        count = 6 if unusual and not halves else int(rng.integers(2, 6))
        task = _draw(rng, count, "/" if halves else "*")
        if task is not None and (not halves or any(m.operator == "/" for m in task.operations)):
            return task


def _draw(rng: Rng, count: int, rare: str) -> SumTask | None:
    """Return a task with ``count`` steps, or ``None`` if the numbers drawn are out of bounds.

    The rare operator, a product or a halving, occurs once at most; in an expression it is the
    first step, so that every step continues from the one before it.
    """
    thing = (*THINGS, "")[rng.integers(len(THINGS) + 1)]
    so_far = start = int(rng.integers(2, 21))
    position = int(rng.integers(count)) if thing else 0
    if rng.random() < 0.4 and rare == "*":
        position = count
    operations: list[Operation] = []
    for at in range(count):
        before = not thing and at == 1 and position == 0 and bool(rng.random() < 0.5)
        operator = rare if at == position else "+-"[rng.integers(2)]
        if operator in "+-":
            operand = int(rng.integers(1, 21))
        else:
            operand = int(rng.integers(2, 6)) if rare == "*" else 2
        verbs = VERBS[operator]
        verb = verbs[rng.integers(len(verbs))] if thing else ""
        operations.append(Operation(operator, operand, verb, before))
        result = evaluate(*operations[-1].step(so_far))
        if result is None or not 0 <= result <= LARGEST or (operator == "*" and not so_far):
            return None
        so_far = result
    names = tuple(PRONOUNS)
    name = names[rng.integers(len(names))] if thing else ""
    return SumTask(name, thing, start, tuple(operations))


_N = r"(?:0|[1-9][0-9]?)"
_STORY = re.compile(
    rf"(?P<name>{'|'.join(PRONOUNS)}) has (?P<start>{_N}) (?P<thing>{'|'.join(THINGS)})\. "
    r"(?P<pronoun>She|He) (?P<phrases>[a-z0-9 ,]+)\. How many has (?:she|he)\?"
)
_EXPRESSION = re.compile(rf"Work out (?P<phrases>{_N}(?: [-+*/] {_N})+)\.")
_VERBS = tuple(
    (operator, verb, re.compile(verb.format(rf"(?P<operand>{_N})")))
    for operator, verbs in VERBS.items()
    for verb in verbs
)


def parse_task(text: str) -> SumTask | None:
    """Return the task that a request states, or ``None``."""
    result = _STORY.fullmatch(text)
    if result:
        phrases = re.split(r", | and ", result["phrases"])
        operations = [operation for phrase in phrases if (operation := _parse_operation(phrase))]
        task = SumTask(result["name"], result["thing"], int(result["start"]), tuple(operations))
        return task if _is_possible(task) and task.text == text else None
    result = _EXPRESSION.fullmatch(text)
    if result is None:
        return None
    phrases = result["phrases"].split(" ")
    numbers, signs = [int(number) for number in phrases[::2]], phrases[1::2]
    operations = [Operation(sign, number) for sign, number in zip(signs, numbers[1:], strict=True)]
    start = numbers[0]
    if len(operations) > 1 and signs[0] in "+-" and signs[1] in "*/":
        operations[:2] = [operations[1], Operation(signs[0], start, operand_first=True)]
        start = numbers[1]
    task = SumTask("", "", start, tuple(operations))
    later = any(operation.operator in "*/" for operation in operations[1:])
    return task if _is_possible(task) and not later and task.text == text else None


def _parse_operation(phrase: str) -> Operation | None:
    for operator, verb, pattern in _VERBS:
        result = pattern.fullmatch(phrase)
        if result:
            return Operation(operator, int(result.groupdict().get("operand", 2)), verb)
    return None


def _is_possible(task: SumTask) -> bool:
    """Return true if each step has a result within bounds."""
    so_far: int | None = task.start
    for operation in task.operations:
        so_far = evaluate(*operation.step(so_far)) if so_far is not None else None
        if so_far is None or not 0 <= so_far <= LARGEST:
            return False
    return len(task.operations) > 1
