"""The sums world: small problems, worked out step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from backtalk.worlds.sums.false_critiques import mislead_about
from backtalk.worlds.sums.generator import AnswerGenerator
from backtalk.worlds.sums.phrases import BARE, RULES
from backtalk.worlds.sums.scoring import WEIGHTS, ideal_answer, judge_answer
from backtalk.worlds.sums.task import SumTask, draw_task, parse_task
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World, world


@world
class SumsWorld(World[SumTask]):
    """Sums about apples, coins and stamps, and bare ones."""

    name: ClassVar[str] = "sums"
    about: ClassVar[str] = "Work out a small sum: every step right, set out as wanted."
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 108
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> SumTask:
        """Return a request; an unusual one has six steps, or halves something."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> SumTask | None:
        """Return the request that a text states, if it is one."""
        return parse_task(text)

    def applies(self, rule: Rule, task: SumTask) -> bool:
        """Return whether a rule is about sums of this sort."""
        return rule.scope in {"all", task.scope}

    def judge(self, task: SumTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the truth about an answer."""
        return judge_answer(task, text, task.layout(rules))

    def compose(self, task: SumTask, rules: Sequence[Rule], rng: Rng, care: ErrorRates) -> str:
        """Return an answer of a writer who follows these rules."""
        return AnswerGenerator(task, task.layout(rules), rng, care).write()

    def ideal(self, task: SumTask, rules: Sequence[Rule] = ()) -> str:
        """Return an answer without fault."""
        return ideal_answer(task, task.layout(rules))

    def example(self, task: SumTask, answer: str) -> str:
        """Return the answer under a line that says what the sum is about."""
        about = "Bare sum" if task.scope == BARE else f"Sum about {task.thing}"
        return f"{about}:\n{answer}"

    def rephrase(self, task: SumTask) -> str:
        """Return the request in other words."""
        if not task.thing:
            return f"I meant: how much is {task.expression}?"
        told = ", ".join(_IN_SHORT[move.operation].format(move.operand) for move in task.moves)
        return f"I meant: {task.start} {task.thing}, {told}. How many is that?"

    def mislead(self, task: SumTask, text: str, rng: Rng) -> Issue | None:
        """Return advice to spoil a right step or the right answer."""
        return mislead_about(task, text, rng)


_IN_SHORT = {"+": "{} more", "-": "{} fewer", "*": "times {}", "/": "half of that"}
