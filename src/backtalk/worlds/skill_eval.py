"""Evaluation of each skill of a small model, with ablations of the text that the skill needs.

All scores are on held-out prompts. A skill that needs an instruction, a critique or a draft is
measured again with that text blanked and with the text of another prompt: the score that remains
does not come from reading it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback import Message
from backtalk.feedback.interaction import Prompt
from backtalk.models.protocol import Model, Request, Sampling
from backtalk.prompts import critique_prompt, refinement_prompt
from backtalk.worlds import skills
from backtalk.worlds.train.curriculum import (
    GUIDANCE,
    held_out_rules,
    make_rule_examples,
    training_rules,
)
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rule, World, apply_fixes

_NUM_SAMPLES = 16


@dataclass(frozen=True)
class SkillScores:
    """Scores of a model in one skill; arrays have shape ``(prompts,)`` and values in [0, 1]."""

    skill: str
    """Name of the skill and the metric."""
    score: NDArray[np.float64]
    ablations: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """Scores with the needed text ``"blanked"`` or ``"swapped"`` for that of another prompt."""
    baseline: float = field(kw_only=True)
    """Mean score without reading."""
    best: float = 1.0
    """Best possible score."""


class SkillEvaluator:
    """Evaluator of the skills of a small model.

    Parameters
    ----------
    world : World[Any]
        World of the prompts.
    model : Model
        Model to evaluate.
    count : int, default 200
        Number of prompts for each skill.
    seed : int, default 0
        Seed of prompts and samples.
    """

    def __init__(self, world: World[Any], model: Model, *, count: int = 200, seed: int = 0) -> None:
        self._world = world
        self._model = model
        self._count = count
        self._seed = seed
        self._rng = np.random.default_rng([seed, 21])
        self._tasks = world.tasks("held-out", count, seed=seed)

    async def evaluate(self) -> list[SkillScores]:
        """Return the scores of all skills."""
        evaluations: Sequence[Callable[[], Awaitable[list[SkillScores]]]] = (
            self._evaluate_answers,
            self._evaluate_guidance,
            self._evaluate_rules,
            self._evaluate_refinement,
            self._evaluate_critiques,
            self._evaluate_comparisons,
            self._evaluate_rule_induction,
        )
        return [scores for evaluation in evaluations for scores in await evaluation()]

    async def generate(self, chats: Sequence[Prompt], *, temperature: float = 0.0) -> list[str]:
        """Return the model's reply in each conversation."""
        sampling = Sampling(temperature=temperature, max_tokens=2 * self._world.max_tokens)
        requests = [
            Request(messages=chat, sampling=sampling, sample_index=i, seed=self._seed)
            for i, chat in enumerate(chats)
        ]
        return [completion.text for completion in await self._model.generate(requests)]

    def _prompts(self) -> list[Prompt]:
        return [(Message.user(task.text),) for task in self._tasks]

    def _assess(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[Assessment]:
        return [
            self._world.score(prompt, text) for prompt, text in zip(prompts, texts, strict=True)
        ]

    def _utilities(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> NDArray[np.float64]:
        return np.array([result.utility for result in self._assess(prompts, texts)])

    async def _evaluate_answers(self) -> list[SkillScores]:
        prompts = self._prompts()
        repeated = [prompt for prompt in prompts for _ in range(_NUM_SAMPLES)]
        texts = await self.generate(repeated, temperature=1.0)
        shape = (len(prompts), _NUM_SAMPLES)
        utilities = self._utilities(repeated, texts).reshape(shape)
        faultless: NDArray[np.float64] = (utilities > 1 - 1e-9).astype(float)
        blank = await self.generate([(Message.user(""),)] * len(prompts), temperature=1.0)
        others = [*texts[_NUM_SAMPLES:], *texts[:_NUM_SAMPLES]]
        swapped = self._utilities(repeated, others).reshape(shape)
        perfect: NDArray[np.float64] = (swapped > 1 - 1e-9).astype(float)
        ablations = {
            "blanked": self._utilities(prompts, blank),
            "swapped": swapped.mean(axis=1),
        }
        return [
            SkillScores(
                "answer: utility", utilities.mean(axis=1), ablations, baseline=_mean(swapped)
            ),
            SkillScores(
                "answer: no issues (pass@1)", faultless.mean(axis=1), baseline=_mean(perfect)
            ),
            SkillScores(
                f"answer: pass@{_NUM_SAMPLES}",
                faultless.max(axis=1),
                baseline=_mean(perfect.max(axis=1)),
            ),
            SkillScores(
                f"answer: best of {_NUM_SAMPLES}",
                utilities.max(axis=1),
                baseline=_mean(swapped.max(axis=1)),
            ),
        ]

    async def _evaluate_guidance(self) -> list[SkillScores]:
        """Return the utility under all guidance, and without."""
        prompts = self._prompts()
        guided_prompts = [
            (Message.system(" ".join(GUIDANCE.values())), *prompt) for prompt in prompts
        ]
        guided = self._utilities(prompts, await self.generate(guided_prompts, temperature=1.0))
        ablations = self._utilities(prompts, await self.generate(prompts, temperature=1.0))
        return [
            SkillScores(
                "guidance: utility", guided, {"blanked": ablations}, baseline=_mean(ablations)
            )
        ]

    async def _evaluate_rules(self) -> list[SkillScores]:
        rules = training_rules(self._world)
        return [
            await self._rule_compliance("rule in scope: followed", rules),
            await self._rule_compliance(
                "rule not in training, in scope: followed", held_out_rules(self._world)
            ),
            await self._rule_overgeneralisation(rules),
        ]

    def _prompts_with_rules(
        self, rules: Sequence[Rule], *, inside: bool
    ) -> tuple[list[Rule], list[Prompt]]:
        """Return random rules that would change the ideal answer, each with its prompt."""
        chosen: list[Rule] = []
        prompts: list[Prompt] = []
        for task in self._tasks:
            candidates = [
                rule
                for rule in rules
                if self._world.applies(rule, task) == inside
                and self._world.ideal(task) != self._world.ideal(task, (rule,))
            ]
            if candidates:
                chosen.append(candidates[int(self._rng.integers(len(candidates)))])
                prompts.append((Message.user(task.text),))
        return chosen, prompts

    async def _rule_compliance(self, skill: str, rules: Sequence[Rule]) -> SkillScores:
        chosen, prompts = self._prompts_with_rules(rules, inside=True)

        async def compliance(system: Sequence[str]) -> NDArray[np.float64]:
            ruled_prompts = [
                (Message.system(text), *prompt) if text else prompt
                for text, prompt in zip(system, prompts, strict=True)
            ]
            texts = await self.generate(ruled_prompts, temperature=1.0)
            return np.array(
                [
                    float(not self._breaches(prompt, text, rule))
                    for prompt, text, rule in zip(prompts, texts, chosen, strict=True)
                ]
            )

        rule_texts = [rule.text for rule in chosen]
        ablations = {
            "blanked": await compliance([""] * len(rule_texts)),
            "swapped": await compliance(_rotate(rule_texts)),
        }
        return SkillScores(
            skill, await compliance(rule_texts), ablations, baseline=_mean(ablations["blanked"])
        )

    def _breaches(self, prompt: Prompt, text: str, rule: Rule) -> set[tuple[str, str]]:
        """Return the issues that an answer has only because of a rule."""
        default = _issue_keys(self._world.score(prompt, text))
        return (
            _issue_keys(self._world.score_answer(self._world.parse_prompt(prompt), text, (rule,)))
            - default
        )

    async def _rule_overgeneralisation(self, rules: Sequence[Rule]) -> SkillScores:
        """Return how often a rule is followed outside its scope; lower is better."""
        chosen, prompts = self._prompts_with_rules(rules, inside=False)
        ruled_prompts = [
            (Message.system(rule.text), *prompt)
            for rule, prompt in zip(chosen, prompts, strict=True)
        ]

        def overgeneralisation(texts: Sequence[str]) -> NDArray[np.float64]:
            results = []
            for prompt, text, rule in zip(prompts, texts, chosen, strict=True):
                default = _issue_keys(self._world.score(prompt, text))
                ruled = _issue_keys(
                    self._world.score_answer(self._world.parse_prompt(prompt), text, (rule,))
                )
                results.append(float(bool(default - ruled) and not ruled - default))
            return np.array(results)

        score = overgeneralisation(await self.generate(ruled_prompts, temperature=1.0))
        ablations = overgeneralisation(await self.generate(prompts, temperature=1.0))
        return SkillScores(
            "rule out of scope: followed anyway",
            score,
            {"blanked": ablations},
            baseline=_mean(ablations),
            best=0.0,
        )

    def _drafts(self) -> tuple[list[Prompt], list[str], list[Assessment]]:
        prompts: list[Prompt] = []
        texts: list[str] = []
        for task in self._tasks:
            while True:
                text = self._world.write(task, self._rng, ErrorRates())
                prompt = (Message.user(task.text),)
                if self._world.score(prompt, text).issues:
                    break
            prompts.append(prompt)
            texts.append(text)
        return prompts, texts, self._assess(prompts, texts)

    async def _evaluate_refinement(self) -> list[SkillScores]:
        prompts, drafts, assessments = self._drafts()
        issues = [
            assessment.issues[int(self._rng.integers(len(assessment.issues)))]
            for assessment in assessments
        ]

        def is_better(texts: Sequence[str]) -> NDArray[np.float64]:
            after_all = self._assess(prompts, texts)
            return np.array(
                [
                    float(_is_fixed(issue, after) and after.utility >= before.utility - 1e-9)
                    for issue, before, after in zip(issues, assessments, after_all, strict=True)
                ]
            )

        async def fix_rate(critiques: Sequence[str]) -> NDArray[np.float64]:
            chats = [
                refinement_prompt(prompt, draft, critique)
                for prompt, draft, critique in zip(prompts, drafts, critiques, strict=True)
            ]
            return is_better(await self.generate(chats))

        advice = [issue.advice for issue in issues]
        ablations = {
            "blanked": await fix_rate([skills.VAGUE_CRITIQUES[0]] * len(issues)),
            "swapped": await fix_rate(_rotate(advice)),
        }
        descriptions = [issue.description for issue in issues]
        baseline = _mean(is_better(_rotate(drafts)))
        return [
            SkillScores(
                "refine: criticised issue fixed",
                await fix_rate(advice),
                ablations,
                baseline=baseline,
            ),
            SkillScores(
                "refine: given only the issue",
                await fix_rate(descriptions),
                ablations,
                baseline=baseline,
            ),
            await self._false_advice_compliance(prompts, drafts),
        ]

    async def _false_advice_compliance(
        self, prompts: Sequence[Prompt], drafts: Sequence[str]
    ) -> SkillScores:
        """Return how often false advice is followed exactly, which shows that it is read."""
        chats: list[Prompt] = []
        expected: list[str] = []
        for prompt, draft in zip(prompts, drafts, strict=True):
            false_issue = self._world.false_critique(
                self._world.parse_prompt(prompt), draft, self._rng
            )
            if false_issue is not None:
                chats.append(refinement_prompt(prompt, draft, false_issue.advice))
                expected.append(apply_fixes(draft, [false_issue]))
        replies = await self.generate(chats)
        score = np.array([float(a == b) for a, b in zip(replies, expected, strict=True)])
        baseline = np.array(
            [float(a == b) for a, b in zip(_rotate(expected), expected, strict=True)]
        )
        return SkillScores("refine: false advice followed", score, baseline=_mean(baseline))

    async def _evaluate_critiques(self) -> list[SkillScores]:
        prompts, drafts, assessments = self._drafts()

        async def f1(shown: Sequence[str]) -> NDArray[np.float64]:
            chats = [
                critique_prompt(prompt, text) for prompt, text in zip(prompts, shown, strict=True)
            ]
            replies = await self.generate(chats)
            return np.array(
                [_critique_f1(a, result) for a, result in zip(replies, assessments, strict=True)]
            )

        others = [skills.true_critique(result) for result in _rotate(assessments)]
        baseline = [
            _critique_f1(text, result) for text, result in zip(others, assessments, strict=True)
        ]
        ablations = {
            "blanked": await f1([""] * len(drafts)),
            "swapped": await f1(_rotate(drafts)),
        }
        return [
            SkillScores(
                "criticise: issues named (F1)",
                await f1(drafts),
                ablations,
                baseline=_mean(np.array(baseline)),
            )
        ]

    async def _evaluate_comparisons(self) -> list[SkillScores]:
        prompts, a, first = self._drafts()
        b = [self._world.write(task, self._rng, ErrorRates()) for task in self._tasks]
        second = self._assess(prompts, b)
        distinct = [abs(x.utility - y.utility) > 0.02 for x, y in zip(first, second, strict=True)]
        better = ["a" if x.utility > y.utility else "b" for x, y in zip(first, second, strict=True)]

        async def accuracy(
            first_texts: Sequence[str], second_texts: Sequence[str]
        ) -> NDArray[np.float64]:
            chats = [
                skills.comparison_prompt(prompt, x, y)
                for prompt, x, y in zip(prompts, first_texts, second_texts, strict=True)
            ]
            replies = [skills.parse_verdict(text) for text in await self.generate(chats)]
            return np.array(
                [
                    0.5 if verdict in {"tie", None} else float(verdict == truth)
                    for verdict, truth, counts in zip(replies, better, distinct, strict=True)
                    if counts
                ]
            )

        blank = [""] * len(a)
        ablations = {
            "blanked": await accuracy(blank, blank),
            "swapped": await accuracy(_rotate(a), _rotate(b)),
        }
        return [
            SkillScores(
                "judge: better answer identified", await accuracy(a, b), ablations, baseline=0.5
            )
        ]

    async def _evaluate_rule_induction(self) -> list[SkillScores]:
        taught, held_out = training_rules(self._world), held_out_rules(self._world)
        return [
            await self._rule_induction("infer the rule of examples", taught),
            await self._rule_induction("infer a rule not in training", held_out),
        ]

    async def _rule_induction(self, skill: str, rules: Sequence[Rule]) -> SkillScores:
        chosen: list[Rule] = []
        examples: list[list[str]] = []
        while len(chosen) < self._count:
            rule = rules[int(self._rng.integers(len(rules)))]
            rule_examples = make_rule_examples(self._world, rule, self._rng, split="held-out")
            if rule_examples is not None:
                chosen.append(rule)
                examples.append(rule_examples)

        async def accuracy(shown: Sequence[Sequence[str]]) -> NDArray[np.float64]:
            replies = await self.generate(
                [skills.rule_induction_prompt(list(rule_examples)) for rule_examples in shown]
            )
            return np.array(
                [
                    float(text.strip() == rule.text)
                    for text, rule in zip(replies, chosen, strict=True)
                ]
            )

        ablations = {
            "blanked": await accuracy([[""] * 3] * len(chosen)),
            "swapped": await accuracy(_rotate(examples)),
        }
        return SkillScores(
            skill, await accuracy(examples), ablations, baseline=1 / len(self._world.rules)
        )


def _mean(values: NDArray[np.float64]) -> float:
    return float(values.mean())


def _rotate(items: Sequence[Any]) -> list[Any]:
    """Return the items in the order of the next prompts, the first one last."""
    return [*items[1:], items[0]]


def _issue_keys(assessment: Assessment) -> set[tuple[str, str]]:
    return {(issue.label, issue.advice) for issue in assessment.issues}


def _is_fixed(issue: Issue, after: Assessment) -> bool:
    return (issue.label, issue.advice) not in _issue_keys(after)


def _critique_f1(critique: str, assessment: Assessment) -> float:
    """Return the F1 score of the advice in a critique against the true advice."""
    true = list(dict.fromkeys(issue.advice for issue in assessment.issues))[
        : skills.MAX_NAMED_ISSUES
    ]
    right = sum(advice in critique for advice in true)
    named = max(len([piece for piece in critique.split(". ") if piece.strip()]), 1)
    precision, recall = min(right / named, 1.0), right / len(true)
    return 2 * precision * recall / (precision + recall) if right else 0.0
