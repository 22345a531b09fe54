"""What a small model is taught: conversations in a world, a skill each, in a fixed mixture.

The answers in them are those of a writer who errs, so that the model has something to learn from
feedback; critiques, judgements and rules are true, but for the critiques that mislead, which are
followed all the same: who reads a critique does as it says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from backtalk.feedback import Message
from backtalk.worlds import skills
from backtalk.worlds.skills import Chat
from backtalk.worlds.world import ErrorRates, Issue, Rng, Rule, Split, World, mend, split_of

_BANK = 4_000
"""How many drafts are kept to be used again."""

HELD_OUT_RULES = 6
"""Every so many of a world's rules is kept out of the lessons."""


@dataclass(frozen=True)
class Mixture:
    """How often each skill is taught, and how."""

    answer: float = 0.3
    refine: float = 0.3
    criticise: float = 0.15
    judge: float = 0.15
    find_rule: float = 0.1
    told_rule: float = 0.4
    """The share of answers that are given under a standing instruction."""
    in_scope: float = 0.6
    """The share of these instructions that hold for the prompt."""
    told_care: float = 0.25
    """The share of answers that are given under words of :data:`GUIDANCE`."""
    care: ErrorRates = field(default_factory=ErrorRates)
    """The care of the writer of answers and drafts."""
    again: float = 0.0
    """The share of drafts that an earlier lesson used too: where to find what is wrong with a
    draft takes long, because it has to be run."""


MIXTURE = Mixture()

GUIDANCE: Mapping[str, str] = {
    "slips": "Get every fact right.",
    "gaps": "Leave nothing out.",
    "extras": "Write nothing needless.",
    "manner": "Mind the manner.",
}
"""What a system prompt can say to make the writer more careful, by the sort of fault."""

HEEDED = 0.2
"""How much is left of a sort of fault once the writer is told to mind it."""


def taught_rules(world: World[Any]) -> tuple[Rule, ...]:
    """Return the rules that lessons are about."""
    return tuple(rule for i, rule in enumerate(world.rules) if i % HELD_OUT_RULES)


def held_out_rules(world: World[Any]) -> tuple[Rule, ...]:
    """Return the rules that no lesson mentions."""
    return tuple(rule for i, rule in enumerate(world.rules) if i % HELD_OUT_RULES == 0)


@dataclass
class _Draft:
    """An answer that lessons are about."""

    task: Any
    rules: tuple[Rule, ...]
    prompt: Chat
    text: str
    second: str | None = None
    """Another answer to the same prompt."""


class CurriculumGenerator:
    """Draws lessons from the training tasks of a world.

    Parameters
    ----------
    world : World[Any]
        The world.
    seed : int, default 0
        Decides all lessons.
    mixture : Mixture, default MIXTURE
        How often each skill is taught.
    """

    def __init__(self, world: World[Any], *, seed: int = 0, mixture: Mixture = MIXTURE) -> None:
        self._world = world
        self._probability = np.random.default_rng([seed, 7])
        self._mixture = mixture
        self._rules = taught_rules(world)
        self._drafts: deque[_Draft] = deque(maxlen=_BANK)
        self._skills: Mapping[str, Callable[[], Chat]] = {
            "answer": self._answer,
            "refine": self._refine,
            "criticise": self._criticise,
            "judge": self._judge,
            "find_rule": self._find_rule,
        }

    def lessons(self, count: int) -> Iterator[Chat]:
        """Yield so many conversations; every message of the assistant is to be learned."""
        names = list(self._skills)
        shares = np.array([getattr(self._mixture, name) for name in names])
        for place in self._probability.choice(len(names), count, p=shares / shares.sum()):
            yield self._skills[names[place]]()

    def _task(self) -> Any:
        unusual = self._happens(0.1)
        while True:
            task = self._world.draw(self._probability, unusual=unusual)
            if unusual or split_of(task.text) == "train":
                return task

    def _rules_for(self, task: Any) -> tuple[Rule, ...]:
        """Return the rules that the assistant is told: none, one or two."""
        if not self._happens(self._mixture.told_rule):
            return ()
        told: list[Rule] = []
        for _ in range(1 + self._happens(0.2)):
            holds = self._happens(self._mixture.in_scope)
            fitting = [
                rule
                for rule in self._rules
                if self._world.applies(rule, task) == holds and rule not in told
            ]
            told += [self._one(fitting)] if fitting else []
        return tuple(told)

    def _guidance(self) -> tuple[list[str], ErrorRates]:
        """Return what the writer is told to mind, and the care that comes of it."""
        care = self._mixture.care
        if not self._happens(self._mixture.told_care):
            return [], care
        minded = [name for name in GUIDANCE if self._happens(0.5)]
        changed = {name: HEEDED * getattr(care, name) for name in minded}
        return [GUIDANCE[name] for name in minded], replace(care, **changed)

    def _draft(self) -> _Draft:
        if self._drafts and self._happens(self._mixture.again):
            return self._drafts[int(self._probability.integers(len(self._drafts)))]
        task = self._task()
        rules = self._rules_for(task)
        guidance, care = self._guidance()
        told = " ".join([*guidance, *(rule.text for rule in rules)])
        system = (Message.system(told),) if told else ()
        text = self._world.write(task, self._probability, care, rules)
        draft = _Draft(task, rules, (*system, Message.user(task.text)), text)
        if self._mixture.again:
            self._drafts.append(draft)
        return draft

    def _answer(self) -> Chat:
        draft = self._draft()
        return (*draft.prompt, Message.assistant(draft.text))

    def _refine(self) -> Chat:
        made = self._draft()
        prompt, draft = made.prompt, made.text
        faults = self._world.assess(prompt, draft).faults
        rng = self._probability.random()
        if rng < 0.15:
            wrong = self._world.mislead(made.task, draft, self._probability)
            if wrong is not None:
                return self._refined(prompt, draft, wrong.advice, (wrong,))
        if not faults or rng > 0.9:
            changed = (self._one(faults),) if faults and self._happens(0.3) else ()
            return self._refined(prompt, draft, self._one(skills.VAGUE), changed)
        fault = self._one(faults)
        if rng > 0.8:
            return self._refined(prompt, draft, fault.said, (fault,))
        if rng > 0.65:
            named = faults[: skills.NAMED_FAULTS]
            critique = " ".join(dict.fromkeys(one.advice for one in named))
            return self._refined(prompt, draft, critique, named)
        return self._refined(prompt, draft, fault.advice, (fault,))

    def _refined(self, prompt: Chat, draft: str, critique: str, faults: tuple[Issue, ...]) -> Chat:
        asked = skills.to_refine(prompt, draft, critique)
        return (*asked, Message.assistant(mend(draft, faults)))

    def _criticise(self) -> Chat:
        draft = self._draft()
        said = skills.criticism(self._world.assess(draft.prompt, draft.text))
        return (*skills.to_criticise(draft.prompt, draft.text), Message.assistant(said))

    def _judge(self) -> Chat:
        draft = self._draft()
        prompt, a = draft.prompt, draft.text
        b = draft.second or self._world.write(
            draft.task, self._probability, self._mixture.care, draft.rules
        )
        draft.second = b
        said = skills.verdict(self._world.assess(prompt, a), self._world.assess(prompt, b))
        return (*skills.to_judge(prompt, a, b), Message.assistant(said))

    def _find_rule(self) -> Chat:
        examples: list[str] | None = None
        while examples is None:
            rule = self._one(self._rules)
            examples = rule_examples(self._world, rule, self._probability)
        return (*skills.to_find_rule(examples), Message.assistant(rule.text))

    def _happens(self, probability: float) -> bool:
        return bool(self._probability.random() < probability)

    def _one(self, choices: Any) -> Any:
        return choices[self._probability.integers(len(choices))]


def rule_examples(
    world: World[Any], rule: Rule, rng: Rng, *, split: Split = "train", count: int = 3
) -> list[str] | None:
    """Return faultless answers to prompts of a split that show a rule, one outside its scope.

    A rule for all prompts has none outside. ``None`` for a rule that changes nothing, such as one
    that asks for what is done anyway.
    """
    examples: list[str] = []
    for place in range(count):
        inside = rule.scope == "all" or place < count - 1
        example = _example(world, rule, rng, split=split, inside=inside)
        if example is None:
            return None
        examples.append(example)
    return [examples[place] for place in rng.permutation(count)]


_TRIES = 60


def _example(world: World[Any], rule: Rule, rng: Rng, *, split: Split, inside: bool) -> str | None:
    """Return an answer in the scope of a rule that shows it, or one outside; ``None`` if none."""
    for _ in range(_TRIES):
        task = world.draw(rng, unusual=False)
        if split_of(task.text) != split or world.applies(rule, task) != inside:
            continue
        default, ruled = world.ideal(task), world.ideal(task, (rule,))
        if not inside:
            return world.example(task, default)
        if default != ruled:
            return world.example(task, ruled)
    return None
