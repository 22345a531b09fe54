"""The programs world: small functions, judged by running them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from backtalk.worlds.programs.generator import ProgramGenerator
from backtalk.worlds.programs.phrases import RULES, Manner
from backtalk.worlds.programs.scoring import WEIGHTS, judge_program
from backtalk.worlds.programs.task import ProgramTask, draw_task, parse_task
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World, mend, world

_MOST_TRIES = 6


@world
class ProgramsWorld(World[ProgramTask]):
    """Small Python functions on numbers, lists and strings."""

    name: ClassVar[str] = "programs"
    about: ClassVar[str] = "Write a small Python function that does what the request specifies."
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 112
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> ProgramTask:
        """Return a request; an unusual one is on arguments that no feedback is about."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> ProgramTask | None:
        """Return the request that a text states, if it is one."""
        return parse_task(text)

    def applies(self, rule: Rule, task: ProgramTask) -> bool:
        """Return whether a rule is about functions on such arguments."""
        return rule.scope in {"all", task.kind.name}

    def judge(self, task: ProgramTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the truth about a program, which is run in a sandbox."""
        return judge_program(task, text, _manner(rules))

    def compose(self, task: ProgramTask, rules: Sequence[Rule], rng: Rng, care: ErrorRates) -> str:
        """Return a program of a writer who follows these rules."""
        return ProgramGenerator(task, _manner(rules), rng, care).write()

    def ideal(self, task: ProgramTask, rules: Sequence[Rule] = ()) -> str:
        """Return the right program."""
        return task.program(_manner(rules))

    def example(self, task: ProgramTask, answer: str) -> str:
        """Return the program under a line that says what its arguments are."""
        return f"For {task.kind.phrase}:\n{answer}"

    def rephrase(self, task: ProgramTask) -> str:
        """Return the request in other words."""
        given = " and ".join(task.arguments)
        return f"I meant that f takes {given} and gives back {task.specified}."

    def mislead(self, task: ProgramTask, text: str, rng: Rng) -> Issue | None:
        """Return advice to write what another specification asks for."""
        true = self.judge(task, text, ())
        told = {fault.start for fault in true.faults}
        others = [other for other in task.near() if other.arguments == task.arguments]
        for place in rng.permutation(len(others))[:_MOST_TRIES]:
            for fault in self.judge(others[place], text, ()).faults:
                misled = fault.aspect == "correct" and fault.start not in told
                if misled and self.judge(task, mend(text, [fault]), ()).utility < true.utility:
                    return fault
        return None


def _manner(rules: Sequence[Rule]) -> Manner:
    return frozenset(rule.what for rule in rules)
