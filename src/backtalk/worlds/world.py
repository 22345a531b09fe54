"""Worlds: simulated tasks whose true utility is known.

A world gives prompts, the *true utility* of any text, and the issues of a text with their spans.
Simulated annotators derive all their feedback from these. Only evaluation may read the utility.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np

from backtalk.errors import RecordError, UnknownName
from backtalk.feedback import Message
from backtalk.feedback import split as splits
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt

Split = Literal["train", "held-out", "out-of-scope"]
"""Split of a world's prompts. ``"out-of-scope"`` prompts are of a kind that gets no feedback; they
show the side effects of learning."""
SPLITS: tuple[Split, ...] = ("train", "held-out", "out-of-scope")

Rng = np.random.Generator


@dataclass(frozen=True)
class Issue:
    """Something wrong with a text: its span, a description and a fix."""

    aspect: str
    label: str
    """Type of issue, such as "wrong-day" or "emoji"."""
    start: int
    end: int
    """End of the span ``text[start:end]``; equal to ``start`` if something is missing."""
    replacement: str
    """Text to put in place of the span."""
    description: str
    """Sentence that states what is wrong, without the correction."""
    advice: str
    """Sentence that states what to change into what."""


StepTruth = Literal["right", "wrong", "follows"]
"""Truth of a step. ``"follows"``: correct, given an earlier step that was wrong."""


@dataclass(frozen=True)
class CheckedStep:
    """One step of a worked answer, ``text[start:end]``, with its truth."""

    start: int
    end: int
    truth: StepTruth


@dataclass(frozen=True)
class Assessment:
    """True aspects, utility and issues of a text."""

    aspects: Mapping[str, float]
    """Score of each aspect, in [0, 1]."""
    utility: float
    """Weighted mean of the aspects, in [0, 1]."""
    issues: tuple[Issue, ...] = ()
    """Issues in the order of the text; empty only if the utility is 1."""
    steps: tuple[CheckedStep, ...] = ()
    passed: bool = True
    """Result of an automatic check of the answer."""
    trace: str = ""
    """Output of that check if the answer does not pass."""


@dataclass(frozen=True)
class Rule:
    """Standing instruction with a scope."""

    action: str
    """Identifier of the action that the rule asks for."""
    scope: str
    """Identifier of the prompts that the rule applies to; ``"all"`` for every prompt."""
    text: str
    """Wording of the rule, as a person would state it."""


class WorldTask(Protocol):
    """Task of a world. Hashable; two tasks are equal if their prompts are."""

    @property
    def text(self) -> str:
        """Text of the user's request."""
        ...


AnyTask = TypeVar("AnyTask", bound=WorldTask)


@dataclass(frozen=True)
class ErrorRates:
    """Probability of each type of error in generated answers, in [0, 1].

    The small models are trained on answers with the default rates.
    """

    wrong_facts: float = 0.3
    """Wrong facts or wrong steps, which make an answer false."""
    omissions: float = 0.25
    """Missing parts."""
    irrelevant: float = 0.35
    """Irrelevant or unsafe parts."""
    style: float = 0.3
    """Unsuitable style."""
    overgeneralise: float = 0.4
    """Probability that a rule is followed outside its scope."""

    @classmethod
    def from_options(cls, **options: float) -> ErrorRates:
        """Return the rates of the options given, and the defaults of the others.

        The names before version 0.1 are accepted: ``slips``, ``gaps``, ``extras``, ``manner`` and
        ``spills``.

        Raises
        ------
        TypeError
            If an option is unknown.
        """
        return cls(**{_OLD_RATE_NAMES.get(name, name): rate for name, rate in options.items()})


_OLD_RATE_NAMES: Mapping[str, str] = {
    "slips": "wrong_facts",
    "gaps": "omissions",
    "extras": "irrelevant",
    "manner": "style",
    "spills": "overgeneralise",
}


class World(ABC, Generic[AnyTask]):
    """Simulated task. Subclasses are registered with :func:`~backtalk.worlds.world`.

    All truth about a prompt can be computed from its text, so any answer to any prompt of the
    world can be scored, also one that a person edited.
    """

    name: ClassVar[str]
    description: ClassVar[str]
    """Description of the task in one sentence."""
    weights: ClassVar[Mapping[str, float]]
    """Weight of each aspect in the true utility; they sum to 1."""
    max_tokens: ClassVar[int]
    """Maximum number of tokens in an answer."""
    rules: ClassVar[tuple[Rule, ...]]
    """All rules of the world."""

    @abstractmethod
    def draw(self, rng: Rng, *, unusual: bool) -> AnyTask:
        """Return a random task; if unusual, one for the split ``"out-of-scope"``."""

    @abstractmethod
    def parse(self, text: str) -> AnyTask | None:
        """Return the task that a request states, or ``None`` if it is not one of this world."""

    @abstractmethod
    def applies(self, rule: Rule, task: AnyTask) -> bool:
        """Return true if a task is in the scope of a rule."""

    @abstractmethod
    def score_answer(self, task: AnyTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the assessment of an answer.

        Parameters
        ----------
        task : AnyTask
            Task that the text answers.
        text : str
            Text of the answer.
        rules : sequence of Rule
            Rules that apply to the task.
        """

    @abstractmethod
    def compose(
        self, task: AnyTask, rules: Sequence[Rule], rng: Rng, error_rates: ErrorRates
    ) -> str:
        """Return a random answer that follows all of the rules, up to errors.

        Parameters
        ----------
        task : AnyTask
            Task to answer.
        rules : sequence of Rule
            Rules to follow, whatever their scope.
        rng : Rng
            Source of randomness.
        error_rates : ErrorRates
            Probability of each type of error.
        """

    @abstractmethod
    def ideal(self, task: AnyTask, rules: Sequence[Rule] = ()) -> str:
        """Return an answer of utility 1 under rules that apply to the task."""

    @abstractmethod
    def example(self, task: AnyTask, answer: str) -> str:
        """Return the answer with as much of its task as shows which rules apply."""

    @abstractmethod
    def rephrase(self, task: AnyTask) -> str:
        """Return the request in other words, as a user would who was misunderstood."""

    @abstractmethod
    def false_critique(self, task: AnyTask, text: str, rng: Rng) -> Issue | None:
        """Return an issue that an answer does not have, as a mistaken annotator would report it.

        Following its advice lowers the utility.

        Parameters
        ----------
        task : AnyTask
            Task that the text answers.
        text : str
            Text of the answer.
        rng : Rng
            Source of randomness.

        Returns
        -------
        Issue or None
            ``None`` if nothing in the answer could be criticised falsely.
        """

    def write(
        self, task: AnyTask, rng: Rng, error_rates: ErrorRates, rules: Sequence[Rule] = ()
    ) -> str:
        """Return a random answer written under rules.

        A rule is followed in its scope, and outside with the probability
        :attr:`ErrorRates.overgeneralise`.

        Parameters
        ----------
        task : AnyTask
            Task to answer.
        rng : Rng
            Source of randomness.
        error_rates : ErrorRates
            Probability of each type of error.
        rules : sequence of Rule, default ()
            Rules stated to the writer, in and out of scope.
        """
        followed = [
            rule
            for rule in rules
            if self.applies(rule, task) or rng.random() < error_rates.overgeneralise
        ]
        return self.compose(task, followed, rng, error_rates)

    def tasks(self, split: Split, count: int, *, seed: int = 0) -> tuple[AnyTask, ...]:
        """Return distinct random tasks; no two splits share any.

        Parameters
        ----------
        split : Split
            Split of the tasks.
        count : int
            Number of tasks.
        seed : int, default 0
            Seed of the draw.

        Raises
        ------
        RecordError
            If the split does not have that many tasks.
        """
        rng = np.random.default_rng([seed, SPLITS.index(split)])
        results: dict[AnyTask, None] = {}
        for _ in range(1000 + 40 * count):
            if len(results) == count:
                return tuple(results)
            task = self.draw(rng, unusual=split == "out-of-scope")
            if split == "out-of-scope" or split == split_of(task.text):
                results[task] = None
        raise RecordError(
            f"The world {self.name!r} does not have {count} different {split} tasks, only "
            f"{len(results)}",
            "Ask for fewer",
        )

    def prompts(self, split: Split, count: int, *, seed: int = 0) -> tuple[Prompt, ...]:
        """Return the prompts of distinct random tasks.

        Parameters
        ----------
        split : Split
            Split of the tasks.
        count : int
            Number of prompts.
        seed : int, default 0
            Seed of the draw.
        """
        return tuple((Message.user(task.text),) for task in self.tasks(split, count, seed=seed))

    def parse_prompt(self, prompt: Prompt) -> AnyTask:
        """Return the task that the last user message of a prompt states.

        Raises
        ------
        RecordError
            If it is not a task of this world.
        """
        request = next(message.text for message in reversed(prompt) if message.role == "user")
        task: AnyTask | None = self._cached_parse(request)
        if task is None:
            raise RecordError(
                f"The request {request[:60]!r} is not one of the world {self.name!r}",
                "Use prompts that its prompts() method returns",
            )
        return task

    def score(self, prompt: Prompt, text: str, rules: Sequence[Rule] = ()) -> Assessment:
        """Return the assessment of an answer. Only evaluation and simulated people may read it.

        Parameters
        ----------
        prompt : Prompt
            Messages that the text answers; rules stated in system messages count.
        text : str
            Text of the answer.
        rules : sequence of Rule, default ()
            Additional rules, each within its scope.

        Raises
        ------
        RecordError
            If the prompt is not one of this world.
        """
        task = self.parse_prompt(prompt)
        applicable = self.applicable_rules(task, [*self.stated_rules(prompt), *rules])
        return self.score_answer(task, text, applicable)

    def applicable_rules(self, task: AnyTask, rules: Sequence[Rule]) -> tuple[Rule, ...]:
        """Return the rules whose scope contains the task."""
        return tuple(rule for rule in rules if self.applies(rule, task))

    def stated_rules(self, prompt: Prompt) -> tuple[Rule, ...]:
        """Return the rules that the system messages of a prompt state."""
        system = [message.text for message in prompt if message.role == "system"]
        return tuple(rule for rule in self.rules for text in system if rule.text in text)

    def get_rule(self, text: str) -> Rule:
        """Return the rule with that wording.

        Raises
        ------
        UnknownName
            If the world has no such rule.
        """
        for rule in self.rules:
            if rule.text == text:
                return rule
        raise UnknownName.among("rule", text, [rule.text for rule in self.rules])

    def utility(self, aspects: Mapping[str, float]) -> float:
        """Return the weighted mean of aspects, in [0, 1]."""
        return sum(weight * aspects[name] for name, weight in self.weights.items())

    @cached_property
    def _cached_parse(self) -> Any:
        return lru_cache(maxsize=1 << 14)(self.parse)


def apply_fixes(text: str, issues: Sequence[Issue]) -> str:
    """Return a text with the replacements of some of its issues applied."""
    for issue in sorted(issues, key=lambda issue: (issue.start, issue.end))[::-1]:
        before, after = text[: issue.start], issue.replacement + text[issue.end :]
        if not issue.replacement and before.endswith(" ") and before.strip(" ")[-1:] != "\n":
            after = after.removeprefix(" ")
        text = before + after
    return _LINE_END.sub("", text)


_LINE_END = re.compile(r" +(?=\n|$)")


def split_of(text: str) -> Split:
    """Return the split of a request that is not out of scope, "train" or "held-out".

    It is the split that all learning respects: nothing is learned from held-out prompts.
    """
    return splits.split_for(prompt_key((Message.user(text),)))
