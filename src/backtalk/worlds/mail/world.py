"""Mail world: requests for mails, with facts to state and a style that suits the recipient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from backtalk.worlds.mail.generator import MailGenerator, wrong_value
from backtalk.worlds.mail.phrases import RULES
from backtalk.worlds.mail.scoring import WEIGHTS, ideal_mail, score_mail
from backtalk.worlds.mail.task import MailTask, draw_task, parse_task
from backtalk.worlds.registry import world
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World


@world
class MailWorld(World[MailTask]):
    """Mails to a boss, customers, colleagues and friends."""

    name: ClassVar[str] = "mail"
    description: ClassVar[str] = "Write a mail to a recipient: right facts, in a suitable style."
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 96
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> MailTask:
        """Return a random task; an unusual one is to a recipient that gets no feedback."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> MailTask | None:
        """Return the task that a request states, or ``None``."""
        return parse_task(text)

    def applies(self, rule: Rule, task: MailTask) -> bool:
        """Return true if a rule is about mails to this recipient."""
        return rule.scope in {"all", task.recipient.name}

    def score_answer(self, task: MailTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the assessment of a mail.

        Parameters
        ----------
        task : MailTask
            Task that the text answers.
        text : str
            Text of the answer.
        rules : sequence of Rule
            Rules that apply to the task.
        """
        return score_mail(task, text, task.style(rules))

    def compose(
        self, task: MailTask, rules: Sequence[Rule], rng: Rng, error_rates: ErrorRates
    ) -> str:
        """Return a random mail that follows the rules, up to errors.

        Parameters
        ----------
        task : MailTask
            Task to answer.
        rules : sequence of Rule
            Rules to follow, whatever their scope.
        rng : Rng
            Source of randomness.
        error_rates : ErrorRates
            Probability of each type of error.
        """
        return MailGenerator(task, task.style(rules), rng, error_rates).write()

    def ideal(self, task: MailTask, rules: Sequence[Rule] = ()) -> str:
        """Return a mail without issues."""
        return ideal_mail(task, task.style(rules))

    def example(self, task: MailTask, answer: str) -> str:
        """Return the mail below a line with the recipient."""
        return f"To {task.recipient.phrase}:\n{answer}"

    def rephrase(self, task: MailTask) -> str:
        """Return the request in other words."""
        return (
            f"I meant a mail to {task.recipient.phrase}, {task.name}, "
            f"about this: {task.topic.name.lower()}, {task.notes}."
        )

    def false_critique(self, task: MailTask, text: str, rng: Rng) -> Issue | None:
        """Return advice to state a wrong fact.

        Parameters
        ----------
        task : MailTask
            Task that the text answers.
        text : str
            Text of the answer.
        rng : Rng
            Source of randomness.
        """
        known_starts = {issue.start for issue in self.score_answer(task, text, ()).issues}
        facts = [fact for fact, _ in task.facts]
        for position in rng.permutation(len(facts)):
            fact = facts[position]
            wrong = {**task.fact, fact: wrong_value(fact, task.fact[fact], rng)}
            for issue in self.score_answer(
                replace(task, facts=tuple(wrong.items())), text, ()
            ).issues:
                if issue.label == f"wrong-{fact}" and issue.start not in known_starts:
                    return issue
        return None
