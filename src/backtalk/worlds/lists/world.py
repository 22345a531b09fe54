"""Lists world: words to sort or remove, and chores to order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from backtalk.worlds.lists import layout
from backtalk.worlds.lists.false_critiques import false_issue
from backtalk.worlds.lists.generator import ListGenerator
from backtalk.worlds.lists.layout import RULES, layout_for
from backtalk.worlds.lists.scoring import WEIGHTS, score_list
from backtalk.worlds.lists.task import ListsTask, draw_task, parse_task
from backtalk.worlds.registry import world
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World


@world
class ListsWorld(World[ListsTask]):
    """Lists to sort alphabetically, to remove words from, or to plan."""

    name: ClassVar[str] = "lists"
    description: ClassVar[str] = "Sort words, remove words or order chores, in the required layout."
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 44
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> ListsTask:
        """Return a random task; an unusual one sorts from z to a, or by length."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> ListsTask | None:
        """Return the task that a request states, or ``None``."""
        return parse_task(text)

    def applies(self, rule: Rule, task: ListsTask) -> bool:
        """Return true if a rule is about this type of task."""
        return layout.applies(rule, task)

    def score_answer(self, task: ListsTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the assessment of a list.

        Parameters
        ----------
        task : ListsTask
            Task that the text answers.
        text : str
            Text of the answer.
        rules : sequence of Rule
            Rules that apply to the task.
        """
        return score_list(task, text, layout_for(rules))

    def compose(
        self, task: ListsTask, rules: Sequence[Rule], rng: Rng, error_rates: ErrorRates
    ) -> str:
        """Return a random list that follows the rules, up to errors.

        Parameters
        ----------
        task : ListsTask
            Task to answer.
        rules : sequence of Rule
            Rules to follow, whatever their scope.
        rng : Rng
            Source of randomness.
        error_rates : ErrorRates
            Probability of each type of error.
        """
        return ListGenerator(task, layout_for(rules), rng, error_rates).write()

    def ideal(self, task: ListsTask, rules: Sequence[Rule] = ()) -> str:
        """Return a list without issues."""
        return layout_for(rules).render(task.expected)

    def example(self, task: ListsTask, answer: str) -> str:
        """Return the list below a line with the instruction."""
        return f"{task.head}:\n{answer}"

    def rephrase(self, task: ListsTask) -> str:
        """Return the request in other words."""
        match task.kind:
            case "alphabet":
                requested = "these words by the alphabet"
            case "reverse":
                requested = "these words from z to a"
            case "length":
                requested = "these words, the shortest first"
            case "word":
                requested = f"these words without {task.target}"
            case "letter":
                requested = f"these words without those that begin with {task.target}"
            case "chores":
                requested = "these chores in an order that fits"
        return f"I meant {requested}: {task.items}."

    def false_critique(self, task: ListsTask, text: str, rng: Rng) -> Issue | None:
        """Return wrong advice to move, remove or add a word.

        Parameters
        ----------
        task : ListsTask
            Task that the text answers.
        text : str
            Text of the answer.
        rng : Rng
            Source of randomness.
        """
        return false_issue(task, text, rng)
