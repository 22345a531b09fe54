"""Sums world: small problems, worked out step by step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from backtalk.worlds.registry import world
from backtalk.worlds.sums.false_critiques import false_issue
from backtalk.worlds.sums.generator import AnswerGenerator
from backtalk.worlds.sums.phrases import BARE, RULES
from backtalk.worlds.sums.scoring import WEIGHTS, ideal_answer, score_answer
from backtalk.worlds.sums.task import SumTask, draw_task, parse_task
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World


@world
class SumsWorld(World[SumTask]):
    """Sums about apples, coins and stamps, and bare expressions."""

    name: ClassVar[str] = "sums"
    description: ClassVar[str] = "Work out a small sum: every step right, in the required layout."
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 108
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> SumTask:
        """Return a random task; an unusual one has six steps, or halves something."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> SumTask | None:
        """Return the task that a request states, or ``None``."""
        return parse_task(text)

    def applies(self, rule: Rule, task: SumTask) -> bool:
        """Return true if a rule is about sums of this type."""
        return rule.scope in {"all", task.scope}

    def score_answer(self, task: SumTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the assessment of an answer.

        Parameters
        ----------
        task : SumTask
            Task that the text answers.
        text : str
            Text of the answer.
        rules : sequence of Rule
            Rules that apply to the task.
        """
        return score_answer(task, text, task.layout(rules))

    def compose(
        self, task: SumTask, rules: Sequence[Rule], rng: Rng, error_rates: ErrorRates
    ) -> str:
        """Return a random answer that follows the rules, up to errors.

        Parameters
        ----------
        task : SumTask
            Task to answer.
        rules : sequence of Rule
            Rules to follow, whatever their scope.
        rng : Rng
            Source of randomness.
        error_rates : ErrorRates
            Probability of each type of error.
        """
        return AnswerGenerator(task, task.layout(rules), rng, error_rates).write()

    def ideal(self, task: SumTask, rules: Sequence[Rule] = ()) -> str:
        """Return an answer without issues."""
        return ideal_answer(task, task.layout(rules))

    def example(self, task: SumTask, answer: str) -> str:
        """Return the answer below a line with the subject of the sum."""
        about = "Bare sum" if task.scope == BARE else f"Sum about {task.thing}"
        return f"{about}:\n{answer}"

    def rephrase(self, task: SumTask) -> str:
        """Return the request in other words."""
        if not task.thing:
            return f"I meant: how much is {task.expression}?"
        phrases = ", ".join(
            _SHORT_PHRASES[operation.operator].format(operation.operand)
            for operation in task.operations
        )
        return f"I meant: {task.start} {task.thing}, {phrases}. How many is that?"

    def false_critique(self, task: SumTask, text: str, rng: Rng) -> Issue | None:
        """Return advice that would make a right step or the right answer wrong.

        Parameters
        ----------
        task : SumTask
            Task that the text answers.
        text : str
            Text of the answer.
        rng : Rng
            Source of randomness.
        """
        return false_issue(task, text, rng)


_SHORT_PHRASES = {"+": "{} more", "-": "{} fewer", "*": "times {}", "/": "half of that"}
