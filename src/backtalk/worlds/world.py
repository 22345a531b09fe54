"""What a world is: a task whose truth is known, so that methods can be put to the test.

A world gives prompts, a *true utility* of any text, and what is wrong with a text and where. All
feedback that simulated people give is made of that. Only evaluation may look at the utility.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any, ClassVar, Generic, Literal, Protocol, TypeVar

import numpy as np

from backtalk.errors import RecordError, UnknownName
from backtalk.feedback import Message
from backtalk.feedback import split as splits
from backtalk.feedback.merge import prompt_key

Split = Literal["train", "held-out", "out-of-scope"]
"""``"out-of-scope"`` prompts are of a sort that no feedback is given on: what learning must not
spoil."""
SPLITS: tuple[Split, ...] = ("train", "held-out", "out-of-scope")

Rng = np.random.Generator


@dataclass(frozen=True)
class Issue:
    """One thing that is wrong with a text: where, and what would mend it."""

    aspect: str
    label: str
    """What sort of fault: "wrong-day", "emoji"."""
    start: int
    end: int
    """The text at fault is ``text[start:end]``; where something is missing, ``start == end``."""
    replacement: str
    """What to put there instead."""
    said: str
    """A sentence that says what is wrong, but not what would be right."""
    advice: str
    """A sentence that says what to change into what."""


StepTruth = Literal["right", "wrong", "follows"]
"""``"follows"``: rightly done, from an earlier step that was wrong."""


@dataclass(frozen=True)
class CheckedStep:
    """One step of a worked answer, ``text[start:end]``."""

    start: int
    end: int
    truth: StepTruth


@dataclass(frozen=True)
class Assessment:
    """The truth about a text."""

    aspects: Mapping[str, float]
    """How good it is in each respect, in [0, 1]."""
    utility: float
    """The weighted mean of the aspects, in [0, 1]."""
    faults: tuple[Issue, ...] = ()
    """What is wrong, in the order of the text. There are none only where the utility is 1."""
    steps: tuple[CheckedStep, ...] = ()
    passed: bool = True
    """What a program that checks the answer finds."""
    trace: str = ""
    """What that program prints where the answer does not pass."""


@dataclass(frozen=True)
class Rule:
    """A standing instruction with a scope: something to do differently, for some prompts."""

    what: str
    """What to do, as the world names it."""
    scope: str
    """For which prompts, as the world names it; ``"all"`` for every one."""
    text: str
    """The rule in words, as a person would state it."""


class Task(Protocol):
    """One prompt with what is true about it. Hashable, and equal where the prompts are."""

    @property
    def text(self) -> str:
        """What the model is asked."""
        ...


AnyTask = TypeVar("AnyTask", bound=Task)


@dataclass(frozen=True)
class ErrorRates:
    """How carefully a writer works: how likely each sort of fault is, in [0, 1].

    The defaults are those of the writer whom the small models learned from.
    """

    wrong_facts: float = 0.3
    """Wrong facts, wrong steps: what makes an answer false."""
    omissions: float = 0.25
    """Parts left out."""
    irrelevant: float = 0.35
    """Needless or unsafe parts put in."""
    style: float = 0.3
    """A manner that does not fit."""
    overgeneralise: float = 0.4
    """How likely a standing instruction is followed where it does not hold."""


class World(ABC, Generic[AnyTask]):
    """A simulated task. Subclasses are registered with :func:`world`.

    The truth about a prompt can be read off its text, so that any policy's answer to any prompt
    of the world can be assessed, also one that a person edited.
    """

    name: ClassVar[str]
    about: ClassVar[str]
    """What the task is, in a sentence."""
    weights: ClassVar[Mapping[str, float]]
    """The aspects of the true utility and their weights, which sum to 1."""
    max_tokens: ClassVar[int]
    """How many tokens an answer can need."""
    rules: ClassVar[tuple[Rule, ...]]
    """Every standing instruction that the world understands."""

    @abstractmethod
    def draw(self, rng: Rng, *, unusual: bool) -> AnyTask:
        """Return a task at random, an unusual one for the split "out-of-scope"."""

    @abstractmethod
    def parse(self, text: str) -> AnyTask | None:
        """Return the task that a prompt's text states, if it is one of this world's."""

    @abstractmethod
    def applies(self, rule: Rule, task: AnyTask) -> bool:
        """Return whether a rule's scope holds the task."""

    @abstractmethod
    def judge(self, task: AnyTask, text: str, rules: Sequence[Rule]) -> Assessment:
        """Return the truth about an answer, where these rules are in force for the task."""

    @abstractmethod
    def compose(self, task: AnyTask, rules: Sequence[Rule], rng: Rng, care: ErrorRates) -> str:
        """Return an answer of a writer of that care, who follows all of these rules."""

    @abstractmethod
    def ideal(self, task: AnyTask, rules: Sequence[Rule] = ()) -> str:
        """Return an answer of utility 1, where these rules are in force for the task."""

    @abstractmethod
    def example(self, task: AnyTask, answer: str) -> str:
        """Return the answer with the least of its task that shows which rules apply."""

    @abstractmethod
    def rephrase(self, task: AnyTask) -> str:
        """Return the request in other words, as a user who was not understood would put it."""

    @abstractmethod
    def mislead(self, task: AnyTask, text: str, rng: Rng) -> Issue | None:
        """Return a fault that an answer does not have, as somebody who errs would see it.

        Its advice reads like true advice; who follows it spoils the answer. ``None`` where the
        answer gives no occasion.
        """

    def write(self, task: AnyTask, rng: Rng, care: ErrorRates, rules: Sequence[Rule] = ()) -> str:
        """Return an answer of a writer of that care, who was told these rules.

        They are followed in their scope and, by how much they spill, outside.
        """
        followed = [
            rule for rule in rules if self.applies(rule, task) or rng.random() < care.overgeneralise
        ]
        return self.compose(task, followed, rng, care)

    def tasks(self, split: Split, count: int, *, seed: int = 0) -> tuple[AnyTask, ...]:
        """Return so many different tasks; no two splits share any.

        Raises
        ------
        RecordError
            If the split does not hold so many.
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
            f"The world {self.name!r} has no {count} different {split} tasks, only {len(results)}",
            "Ask for fewer",
        )

    def prompts(
        self, split: Split, count: int, *, seed: int = 0
    ) -> tuple[tuple[Message, ...], ...]:
        """Return the prompts of so many tasks."""
        return tuple((Message.user(task.text),) for task in self.tasks(split, count, seed=seed))

    def read(self, prompt: tuple[Message, ...]) -> AnyTask:
        """Return the task that a prompt states.

        Raises
        ------
        RecordError
            If it is not one of this world's.
        """
        asked = next(message.text for message in reversed(prompt) if message.role == "user")
        task: AnyTask | None = self._parsed(asked)
        if task is None:
            raise RecordError(
                f"The world {self.name!r} does not know the request {asked[:60]!r}",
                "Ask what its prompts() give",
            )
        return task

    def assess(
        self, prompt: tuple[Message, ...], text: str, rules: Sequence[Rule] = ()
    ) -> Assessment:
        """Return the truth about an answer. Only evaluation and simulated people may look.

        Parameters
        ----------
        prompt : tuple of Message
            The chat messages answered; rules in system messages are in force.
        text : str
            The answer.
        rules : sequence of Rule, default ()
            What else is in force, within each rule's scope.

        Raises
        ------
        RecordError
            If the prompt is not one of this world's.
        """
        task = self.read(prompt)
        return self.judge(task, text, self.in_force(task, [*self.rules_in(prompt), *rules]))

    def in_force(self, task: AnyTask, rules: Sequence[Rule]) -> tuple[Rule, ...]:
        """Return those of the rules whose scope holds the task."""
        return tuple(rule for rule in rules if self.applies(rule, task))

    def rules_in(self, prompt: tuple[Message, ...]) -> tuple[Rule, ...]:
        """Return the rules that the system messages of a prompt state."""
        told = [message.text for message in prompt if message.role == "system"]
        return tuple(rule for rule in self.rules for text in told if rule.text in text)

    def rule(self, text: str) -> Rule:
        """Return the rule of that text.

        Raises
        ------
        UnknownName
            If the world does not understand it.
        """
        for rule in self.rules:
            if rule.text == text:
                return rule
        raise UnknownName.among("rule", text, [rule.text for rule in self.rules])

    def utility(self, aspects: Mapping[str, float]) -> float:
        """Return the weighted mean of aspects, in [0, 1]."""
        return sum(weight * aspects[name] for name, weight in self.weights.items())

    @cached_property
    def _parsed(self) -> Any:
        return lru_cache(maxsize=1 << 14)(self.parse)


def mend(text: str, faults: Sequence[Issue]) -> str:
    """Return a text with these of its faults mended."""
    for fault in sorted(faults, key=lambda fault: (fault.start, fault.end))[::-1]:
        before, behind = text[: fault.start], fault.replacement + text[fault.end :]
        if not fault.replacement and before.endswith(" ") and before.strip(" ")[-1:] != "\n":
            behind = behind.removeprefix(" ")
        text = before + behind
    return _LINE_END.sub("", text)


_LINE_END = re.compile(r" +(?=\n|$)")


def split_of(text: str) -> Split:
    """Return the split, "train" or "held-out", that a prompt of the usual sort belongs to.

    It is the one that learning keeps to: what is held out here is learned from nowhere.
    """
    return splits.split_of(prompt_key((Message.user(text),)))


@dataclass
class _Register:
    classes: dict[str, type[World[Any]]] = field(default_factory=dict)
    made: dict[str, World[Any]] = field(default_factory=dict)


_REGISTER = _Register()
AnyWorld = TypeVar("AnyWorld", bound=type[World[Any]])


def world(made: AnyWorld) -> AnyWorld:
    """Register a world under its name."""
    _REGISTER.classes[made.name] = made
    return made


def worlds() -> tuple[str, ...]:
    """Return the names of all worlds."""
    return tuple(_REGISTER.classes)


def find_world(name: str) -> World[Any]:
    """Return the world of that name.

    Raises
    ------
    UnknownName
        If there is none; it lists those that are known.
    """
    if name not in _REGISTER.classes:
        raise UnknownName.among("world", name, worlds())
    if name not in _REGISTER.made:
        _REGISTER.made[name] = _REGISTER.classes[name]()
    return _REGISTER.made[name]
