"""The mail world: requests for mails, with facts to get right and a manner that fits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

from backtalk.worlds.mail.generator import MailGenerator, another
from backtalk.worlds.mail.phrases import RULES
from backtalk.worlds.mail.scoring import WEIGHTS, ideal_mail, judge_mail
from backtalk.worlds.mail.task import MailTask, draw_task, parse_task
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rng, Rule, World, world


@world
class MailWorld(World[MailTask]):
    """Mails to a boss, customers, colleagues and friends."""

    name: ClassVar[str] = "mail"
    about: ClassVar[str] = "Write a mail to a given reader: facts right, in the manner that fits."
    weights = WEIGHTS
    max_tokens: ClassVar[int] = 96
    rules = RULES

    def draw(self, rng: Rng, *, unusual: bool) -> MailTask:
        """Return a request; an unusual one is to somebody whom no feedback is about."""
        return draw_task(rng, unusual=unusual)

    def parse(self, text: str) -> MailTask | None:
        """Return the request that a text states, if it is one."""
        return parse_task(text)

    def applies(self, rule: Rule, task: MailTask) -> bool:
        """Return whether a rule is about mails to this reader."""
        return rule.scope in {"all", task.reader.name}

    def judge(self, task: MailTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the truth about a mail."""
        return judge_mail(task, text, task.manner(rules))

    def compose(self, task: MailTask, rules: Sequence[Rule], rng: Rng, care: ErrorRates) -> str:
        """Return a mail of a writer who follows these rules."""
        return MailGenerator(task, task.manner(rules), rng, care).write()

    def ideal(self, task: MailTask, rules: Sequence[Rule] = ()) -> str:
        """Return a mail without fault."""
        return ideal_mail(task, task.manner(rules))

    def example(self, task: MailTask, answer: str) -> str:
        """Return the mail under a line that says whom it is to."""
        return f"To {task.reader.phrase}:\n{answer}"

    def rephrase(self, task: MailTask) -> str:
        """Return the request in other words."""
        return (
            f"I meant a mail to {task.reader.phrase}, {task.name}, "
            f"about this: {task.topic.name.lower()}, {task.notes}."
        )

    def mislead(self, task: MailTask, text: str, rng: Rng) -> Issue | None:
        """Return advice to state a fact that is not the request's."""
        told = {fault.start for fault in self.judge(task, text, ()).faults}
        facts = [fact for fact, _ in task.facts]
        for place in rng.permutation(len(facts)):
            fact = facts[place]
            wrong = {**task.fact, fact: another(fact, task.fact[fact], rng)}
            for fault in self.judge(replace(task, facts=tuple(wrong.items())), text, ()).faults:
                if fault.label == f"wrong-{fact}" and fault.start not in told:
                    return fault
        return None
