"""Training conversations for the small models: a mixture of skills in a world.

The answers contain random errors, so that the model can improve by feedback. Critiques, verdicts
and rules are true, except for misleading critiques. These are followed as well: a model that reads
a critique does as it says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.prompts import critique_prompt, refinement_prompt
from backtalk.worlds import skills
from backtalk.worlds.world import (
    ErrorRates,
    Issue,
    Rng,
    Rule,
    Split,
    World,
    apply_fixes,
    split_of,
)

_DRAFT_CACHE_SIZE = 4_000
"""Maximum number of drafts cached for reuse."""

HELD_OUT_RULE_INTERVAL = 6
"""One rule of a world in this number is held out from training."""


@dataclass(frozen=True)
class SkillMixture:
    """Relative frequencies of the skills, with options of the conversations."""

    answer: float = 0.3
    refine: float = 0.3
    criticise: float = 0.15
    judge: float = 0.15
    find_rule: float = 0.1
    rule_share: float = 0.4
    """Share of answers written under one or two rules."""
    in_scope_share: float = 0.6
    """Share of these rules that apply to the prompt."""
    guidance_share: float = 0.25
    """Share of answers written under :data:`GUIDANCE`."""
    error_rates: ErrorRates = field(default_factory=ErrorRates)
    """Error rates of answers and drafts."""
    reuse_share: float = 0.0
    """Share of drafts reused from an earlier conversation, for worlds in which scoring is slow."""


DEFAULT_MIXTURE = SkillMixture()

GUIDANCE: Mapping[str, str] = {
    "wrong_facts": "Get every fact right.",
    "omissions": "Leave nothing out.",
    "irrelevant": "Write nothing needless.",
    "style": "Mind the manner.",
}
"""Guidance in a system prompt that lowers an error rate, by field of
:class:`~backtalk.worlds.ErrorRates`."""

GUIDANCE_FACTOR = 0.2
"""Factor on an error rate under its guidance."""


def training_rules(world: World[Any]) -> tuple[Rule, ...]:
    """Return the rules that occur in training conversations."""
    return tuple(rule for i, rule in enumerate(world.rules) if i % HELD_OUT_RULE_INTERVAL)


def held_out_rules(world: World[Any]) -> tuple[Rule, ...]:
    """Return the rules that occur in no training conversation."""
    return tuple(rule for i, rule in enumerate(world.rules) if i % HELD_OUT_RULE_INTERVAL == 0)


@dataclass
class _Draft:
    """Answer that conversations are about."""

    task: Any
    rules: tuple[Rule, ...]
    prompt: Prompt
    text: str
    second: str | None = None
    """Another answer to the same prompt."""


class CurriculumGenerator:
    """Generator of conversations about the training tasks of a world.

    Parameters
    ----------
    world : World[Any]
        The world.
    seed : int, default 0
        Seed of all conversations.
    mixture : SkillMixture, default DEFAULT_MIXTURE
        Frequencies of the skills.
    """

    def __init__(
        self, world: World[Any], *, seed: int = 0, mixture: SkillMixture = DEFAULT_MIXTURE
    ) -> None:
        self._world = world
        self._rng = np.random.default_rng([seed, 7])
        self._mixture = mixture
        self._rules = training_rules(world)
        self._drafts: deque[_Draft] = deque(maxlen=_DRAFT_CACHE_SIZE)
        self._skills: Mapping[str, Callable[[], Prompt]] = {
            "answer": self._answer,
            "refine": self._refine,
            "criticise": self._criticise,
            "judge": self._judge,
            "find_rule": self._find_rule,
        }

    def conversations(self, count: int) -> Iterator[Prompt]:
        """Yield random conversations; all assistant messages are training targets."""
        names = list(self._skills)
        shares = np.array([getattr(self._mixture, name) for name in names])
        for index in self._rng.choice(len(names), count, p=shares / shares.sum()):
            yield self._skills[names[index]]()

    def _task(self) -> Any:
        unusual = self._happens(0.1)
        while True:
            task = self._world.draw(self._rng, unusual=unusual)
            if unusual or split_of(task.text) == "train":
                return task

    def _draw_rules(self, task: Any) -> tuple[Rule, ...]:
        """Return the rules in the system prompt: none, one or two."""
        if not self._happens(self._mixture.rule_share):
            return ()
        rules: list[Rule] = []
        for _ in range(1 + self._happens(0.2)):
            in_scope = self._happens(self._mixture.in_scope_share)
            candidates = [
                rule
                for rule in self._rules
                if self._world.applies(rule, task) == in_scope and rule not in rules
            ]
            rules += [self._pick(candidates)] if candidates else []
        return tuple(rules)

    def _guidance(self) -> tuple[list[str], ErrorRates]:
        """Return the guidance in the system prompt, and the resulting error rates."""
        error_rates = self._mixture.error_rates
        if not self._happens(self._mixture.guidance_share):
            return [], error_rates
        names = [name for name in GUIDANCE if self._happens(0.5)]
        reduced = {name: GUIDANCE_FACTOR * getattr(error_rates, name) for name in names}
        return [GUIDANCE[name] for name in names], replace(error_rates, **reduced)

    def _draft(self) -> _Draft:
        if self._drafts and self._happens(self._mixture.reuse_share):
            return self._drafts[int(self._rng.integers(len(self._drafts)))]
        task = self._task()
        rules = self._draw_rules(task)
        guidance, error_rates = self._guidance()
        system_text = " ".join([*guidance, *(rule.text for rule in rules)])
        system = (Message.system(system_text),) if system_text else ()
        text = self._world.write(task, self._rng, error_rates, rules)
        draft = _Draft(task, rules, (*system, Message.user(task.text)), text)
        if self._mixture.reuse_share:
            self._drafts.append(draft)
        return draft

    def _answer(self) -> Prompt:
        draft = self._draft()
        return (*draft.prompt, Message.assistant(draft.text))

    def _refine(self) -> Prompt:
        draft = self._draft()
        prompt, text = draft.prompt, draft.text
        issues = self._world.score(prompt, text).issues
        draw = self._rng.random()
        if draw < 0.15:
            false_issue = self._world.false_critique(draft.task, text, self._rng)
            if false_issue is not None:
                return self._refinement(prompt, text, false_issue.advice, (false_issue,))
        if not issues or draw > 0.9:
            fixed = (self._pick(issues),) if issues and self._happens(0.3) else ()
            return self._refinement(prompt, text, self._pick(skills.VAGUE_CRITIQUES), fixed)
        issue = self._pick(issues)
        if draw > 0.8:
            return self._refinement(prompt, text, issue.description, (issue,))
        if draw > 0.65:
            named = issues[: skills.MAX_NAMED_ISSUES]
            critique = " ".join(dict.fromkeys(issue.advice for issue in named))
            return self._refinement(prompt, text, critique, named)
        return self._refinement(prompt, text, issue.advice, (issue,))

    def _refinement(
        self, prompt: Prompt, draft: str, critique: str, issues: tuple[Issue, ...]
    ) -> Prompt:
        question = refinement_prompt(prompt, draft, critique)
        return (*question, Message.assistant(apply_fixes(draft, issues)))

    def _criticise(self) -> Prompt:
        draft = self._draft()
        critique = skills.true_critique(self._world.score(draft.prompt, draft.text))
        return (*critique_prompt(draft.prompt, draft.text), Message.assistant(critique))

    def _judge(self) -> Prompt:
        draft = self._draft()
        prompt, a = draft.prompt, draft.text
        b = draft.second or self._world.write(
            draft.task, self._rng, self._mixture.error_rates, draft.rules
        )
        draft.second = b
        verdict = skills.true_verdict(self._world.score(prompt, a), self._world.score(prompt, b))
        return (*skills.comparison_prompt(prompt, a, b), Message.assistant(verdict))

    def _find_rule(self) -> Prompt:
        examples: list[str] | None = None
        while examples is None:
            rule = self._pick(self._rules)
            examples = make_rule_examples(self._world, rule, self._rng)
        return (*skills.rule_induction_prompt(examples), Message.assistant(rule.text))

    def _happens(self, probability: float) -> bool:
        return bool(self._rng.random() < probability)

    def _pick(self, choices: Any) -> Any:
        return choices[self._rng.integers(len(choices))]


def make_rule_examples(
    world: World[Any], rule: Rule, rng: Rng, *, split: Split = "train", count: int = 3
) -> list[str] | None:
    """Return ideal answers that show a rule, the last of them drawn outside its scope.

    The order is random. All examples of a rule for all prompts are inside its scope.

    Parameters
    ----------
    world : World[Any]
        World of the rule.
    rule : Rule
        Rule to show.
    rng : Rng
        Source of randomness.
    split : Split, default "train"
        Split of the prompts.
    count : int, default 3
        Number of examples.

    Returns
    -------
    list of str or None
        ``None`` if the rule changes no answer.
    """
    examples: list[str] = []
    for index in range(count):
        inside = rule.scope == "all" or index < count - 1
        example = _make_example(world, rule, rng, split=split, inside=inside)
        if example is None:
            return None
        examples.append(example)
    return [examples[index] for index in rng.permutation(count)]


_MAX_TRIES = 60


def _make_example(
    world: World[Any], rule: Rule, rng: Rng, *, split: Split, inside: bool
) -> str | None:
    """Return an answer that shows a rule in its scope, or one outside; ``None`` if not found."""
    for _ in range(_MAX_TRIES):
        task = world.draw(rng, unusual=False)
        if split_of(task.text) != split or world.applies(rule, task) != inside:
            continue
        default, ruled = world.ideal(task), world.ideal(task, (rule,))
        if not inside:
            return world.example(task, default)
        if default != ruled:
            return world.example(task, ruled)
    return None
