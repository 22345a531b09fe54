"""The list world: words to sort or to take out, and chores to put in order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from backtalk.worlds.lists import layout
from backtalk.worlds.lists.false_critiques import false_fault
from backtalk.worlds.lists.generator import ListGenerator
from backtalk.worlds.lists.layout import RULES, layout_of
from backtalk.worlds.lists.scoring import WEIGHTS, judge_list
from backtalk.worlds.lists.task import ListsTask, draw_task, parse_task
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World, world


@world
class ListsWorld(World[ListsTask]):
    """Lists to sort by the alphabet, to thin out, or to plan."""

    name: ClassVar[str] = "lists"
    about: ClassVar[str] = "Sort words, take words out, or order chores; laid out as asked."
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 44
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> ListsTask:
        """Return a request; an unusual one sorts from z to a, or by length."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> ListsTask | None:
        """Return the request that a text states, if it is one."""
        return parse_task(text)

    def applies(self, rule: Rule, task: ListsTask) -> bool:
        """Return whether a rule is about this sort of request."""
        return layout.applies(rule, task)

    def judge(self, task: ListsTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the truth about a list."""
        return judge_list(task, text, layout_of(rules))

    def compose(self, task: ListsTask, rules: Sequence[Rule], rng: Rng, care: ErrorRates) -> str:
        """Return a list of a writer who follows these rules."""
        return ListGenerator(task, layout_of(rules), rng, care).write()

    def ideal(self, task: ListsTask, rules: Sequence[Rule] = ()) -> str:
        """Return a list without fault."""
        return layout_of(rules).written(task.wanted)

    def example(self, task: ListsTask, answer: str) -> str:
        """Return the list under a line that says what was to be done."""
        return f"{task.head}:\n{answer}"

    def rephrase(self, task: ListsTask) -> str:
        """Return the request in other words."""
        match task.kind:
            case "alphabet":
                asked = "these words by the alphabet"
            case "reverse":
                asked = "these words from z to a"
            case "length":
                asked = "these words, the shortest first"
            case "word":
                asked = f"these words without {task.target}"
            case "letter":
                asked = f"these words without those that begin with {task.target}"
            case "chores":
                asked = "these chores in an order that fits"
        return f"I meant {asked}: {task.listed}."

    def mislead(self, task: ListsTask, text: str, rng: Rng) -> Issue | None:
        """Return advice to move, leave out or add a word, where that is wrong."""
        return false_fault(task, text, rng)
