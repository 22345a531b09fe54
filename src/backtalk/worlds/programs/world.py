"""Programs world: small functions, scored by running them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from backtalk.worlds.programs.generator import ProgramGenerator
from backtalk.worlds.programs.phrases import RULES, ProgramStyle
from backtalk.worlds.programs.scoring import WEIGHTS, score_program
from backtalk.worlds.programs.task import ProgramTask, draw_task, parse_task
from backtalk.worlds.registry import world
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World, apply_fixes

_MAX_TRIES = 6


@world
class ProgramsWorld(World[ProgramTask]):
    """Small Python functions on numbers, lists and strings."""

    name: ClassVar[str] = "programs"
    description: ClassVar[str] = (
        "Write a small Python function that does what the request specifies."
    )
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 112
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> ProgramTask:
        """Return a random task; an unusual one has arguments that get no feedback."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> ProgramTask | None:
        """Return the task that a request states, or ``None``."""
        return parse_task(text)

    def applies(self, rule: Rule, task: ProgramTask) -> bool:
        """Return true if a rule is about functions on such arguments."""
        return rule.scope in {"all", task.kind.name}

    def score_answer(self, task: ProgramTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the assessment of a program, which is run in a sandbox.

        Parameters
        ----------
        task : ProgramTask
            Task that the text answers.
        text : str
            Text of the answer.
        rules : sequence of Rule
            Rules that apply to the task.
        """
        return score_program(task, text, _style(rules))

    def compose(
        self, task: ProgramTask, rules: Sequence[Rule], rng: Rng, error_rates: ErrorRates
    ) -> str:
        """Return a random program that follows the rules, up to errors.

        Parameters
        ----------
        task : ProgramTask
            Task to answer.
        rules : sequence of Rule
            Rules to follow, whatever their scope.
        rng : Rng
            Source of randomness.
        error_rates : ErrorRates
            Probability of each type of error.
        """
        return ProgramGenerator(task, _style(rules), rng, error_rates).write()

    def ideal(self, task: ProgramTask, rules: Sequence[Rule] = ()) -> str:
        """Return the right program."""
        return task.program(_style(rules))

    def example(self, task: ProgramTask, answer: str) -> str:
        """Return the program below a line with its argument kind."""
        return f"For {task.kind.phrase}:\n{answer}"

    def rephrase(self, task: ProgramTask) -> str:
        """Return the request in other words."""
        arguments = " and ".join(task.arguments)
        return f"I meant that f takes {arguments} and gives back {task.specification}."

    def false_critique(self, task: ProgramTask, text: str, rng: Rng) -> Issue | None:
        """Return advice that follows another specification.

        Parameters
        ----------
        task : ProgramTask
            Task that the text answers.
        text : str
            Text of the answer.
        rng : Rng
            Source of randomness.
        """
        assessment = self.score_answer(task, text, ())
        known_starts = {issue.start for issue in assessment.issues}
        others = [other for other in task.near_tasks() if other.arguments == task.arguments]
        for position in rng.permutation(len(others))[:_MAX_TRIES]:
            for issue in self.score_answer(others[position], text, ()).issues:
                misled = issue.aspect == "correct" and issue.start not in known_starts
                if (
                    misled
                    and self.score_answer(task, apply_fixes(text, [issue]), ()).utility
                    < assessment.utility
                ):
                    return issue
        return None


def _style(rules: Sequence[Rule]) -> ProgramStyle:
    return frozenset(rule.action for rule in rules)
