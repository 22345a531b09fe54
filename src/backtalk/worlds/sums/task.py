"""A request to work something out, with what is true about it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from backtalk.worlds.sums import phrases as language
from backtalk.worlds.sums.phrases import BARE, PRONOUNS, THINGS, VERBS, Layout
from backtalk.worlds.world import Rng, Rule

LARGEST = 99
"""No result is larger."""


def work_out(left: int, operation: str, right: int) -> int | None:
    """Return a step's result, or ``None`` where there is no whole number that is one."""
    if operation == "+":
        return left + right
    if operation == "-":
        return left - right
    if operation == "*":
        return left * right
    return left // right if right and left % right == 0 else None


def near(number: int, rng: Rng) -> int:
    """Return another number within bounds that one could take for this one by mistake."""
    off = (1, -1, 2, -2, 10, -10)[rng.choice(6, p=(0.25, 0.25, 0.15, 0.15, 0.1, 0.1))]
    return number + off if 0 <= number + off <= LARGEST else number - off


@dataclass(frozen=True)
class Move:
    """What one step does to the result so far."""

    operation: str
    operand: int
    verb: str = ""
    """How a word problem tells it, the operand left open; empty in an expression."""
    before: bool = False
    """Whether the operand stands before the result so far, as in ``3 + 4 * 2``."""

    def step(self, so_far: int) -> tuple[int, str, int]:
        """Return what is to be worked out."""
        if self.before:
            return self.operand, self.operation, so_far
        return so_far, self.operation, self.operand

    @property
    def told(self) -> str:
        """The move in words."""
        return self.verb.format(self.operand)


@dataclass(frozen=True)
class SumTask:
    """A number and what is done to it, as a story or as an expression."""

    name: str
    """Whom the story is about; empty in an expression."""
    thing: str
    """What is counted; empty in an expression."""
    start: int
    moves: tuple[Move, ...]

    @property
    def level(self) -> int:
        """How difficult it is: 1 for two steps, and one more for every further one."""
        return len(self.moves) - 1

    @property
    def scope(self) -> str:
        """What standing instructions tell requests apart by."""
        return self.thing or BARE

    @cached_property
    def values(self) -> tuple[tuple[int, str, int, int], ...]:
        """Each step: left, operation, right, result."""
        so_far, done = self.start, []
        for move in self.moves:
            left, operation, right = move.step(so_far)
            so_far = work_out(left, operation, right) or 0
            done.append((left, operation, right, so_far))
        return tuple(done)

    @property
    def answer(self) -> int:
        """The final result."""
        return self.values[-1][3]

    @cached_property
    def steps(self) -> tuple[str, ...]:
        """The steps as an answer writes them."""
        return tuple(f"{left} {sign} {right} = {to}" for left, sign, right, to in self.values)

    @property
    def expression(self) -> str:
        """The moves as one expression."""
        told = str(self.start)
        for move in self.moves:
            if move.before:
                told = f"{move.operand} {move.operation} {told}"
            else:
                told = f"{told} {move.operation} {move.operand}"
        return told

    @property
    def text(self) -> str:
        """The request."""
        if not self.thing:
            return f"Work out {self.expression}."
        pronoun = PRONOUNS[self.name]
        told = [move.told for move in self.moves]
        return (
            f"{self.name} has {self.start} {self.thing}. "
            f"{pronoun} {', '.join(told[:-1])} and {told[-1]}. "
            f"How many has {pronoun.lower()}?"
        )

    def layout(self, rules: Sequence[Rule] = ()) -> Layout:
        """Return how an answer is to be set out, where these rules are in force."""
        fitting = Layout()
        for rule in rules:
            fitting = replace(fitting, **language.changes(rule))  # type: ignore[arg-type]
        return fitting


def draw_task(rng: Rng, *, unusual: bool) -> SumTask:
    """Return a request at random; an unusual one halves, or is of level 5."""
    while True:
        halves = unusual and rng.random() < 0.5
        count = 6 if unusual and not halves else int(rng.integers(2, 6))
        task = _draw(rng, count, "/" if halves else "*")
        if task is not None and (not halves or any(m.operation == "/" for m in task.moves)):
            return task


def _draw(rng: Rng, count: int, rare: str) -> SumTask | None:
    """Return a request of so many steps, or ``None`` where the numbers drawn allow none.

    The rare operation, a product or a halving, occurs once at most; in an expression it is the
    first step, so that every step continues from the one before it.
    """
    thing = (*THINGS, "")[rng.integers(len(THINGS) + 1)]
    so_far = start = int(rng.integers(2, 21))
    place = int(rng.integers(count)) if thing else 0
    if rng.random() < 0.4 and rare == "*":
        place = count
    moves: list[Move] = []
    for at in range(count):
        before = not thing and at == 1 and place == 0 and bool(rng.random() < 0.5)
        operation = rare if at == place else "+-"[rng.integers(2)]
        if operation in "+-":
            operand = int(rng.integers(1, 21))
        else:
            operand = int(rng.integers(2, 6)) if rare == "*" else 2
        verbs = VERBS[operation]
        verb = verbs[rng.integers(len(verbs))] if thing else ""
        moves.append(Move(operation, operand, verb, before))
        result = work_out(*moves[-1].step(so_far))
        if result is None or not 0 <= result <= LARGEST or (operation == "*" and not so_far):
            return None
        so_far = result
    names = tuple(PRONOUNS)
    name = names[rng.integers(len(names))] if thing else ""
    return SumTask(name, thing, start, tuple(moves))


_N = r"(?:0|[1-9][0-9]?)"
_STORY = re.compile(
    rf"(?P<name>{'|'.join(PRONOUNS)}) has (?P<start>{_N}) (?P<thing>{'|'.join(THINGS)})\. "
    r"(?P<pronoun>She|He) (?P<told>[a-z0-9 ,]+)\. How many has (?:she|he)\?"
)
_EXPRESSION = re.compile(rf"Work out (?P<told>{_N}(?: [-+*/] {_N})+)\.")
_VERBS = tuple(
    (operation, verb, re.compile(verb.format(rf"(?P<operand>{_N})")))
    for operation, verbs in VERBS.items()
    for verb in verbs
)


def parse_task(text: str) -> SumTask | None:
    """Return the request that a text states, if it is one."""
    result = _STORY.fullmatch(text)
    if result:
        told = re.split(r", | and ", result["told"])
        moves = [move for phrase in told if (move := _move(phrase))]
        task = SumTask(result["name"], result["thing"], int(result["start"]), tuple(moves))
        return task if _possible(task) and task.text == text else None
    result = _EXPRESSION.fullmatch(text)
    if result is None:
        return None
    told = result["told"].split(" ")
    numbers, signs = [int(number) for number in told[::2]], told[1::2]
    moves = [Move(sign, number) for sign, number in zip(signs, numbers[1:], strict=True)]
    start = numbers[0]
    if len(moves) > 1 and signs[0] in "+-" and signs[1] in "*/":
        moves[:2] = [moves[1], Move(signs[0], start, before=True)]
        start = numbers[1]
    task = SumTask("", "", start, tuple(moves))
    later = any(move.operation in "*/" for move in moves[1:])
    return task if _possible(task) and not later and task.text == text else None


def _move(phrase: str) -> Move | None:
    for operation, verb, pattern in _VERBS:
        result = pattern.fullmatch(phrase)
        if result:
            return Move(operation, int(result.groupdict().get("operand", 2)), verb)
    return None


def _possible(task: SumTask) -> bool:
    """Return whether each step has a result within bounds."""
    so_far: int | None = task.start
    for move in task.moves:
        so_far = work_out(*move.step(so_far)) if so_far is not None else None
        if so_far is None or not 0 <= so_far <= LARGEST:
            return False
    return len(task.moves) > 1
