"""Whether a model of a world really reads: each skill, and what is left of it without its text.

Every score is of held-out prompts. A skill that needs an instruction, a critique or a draft is
measured again with that text blanked, and with another's in its place: what a model does by habit
it does then too.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from backtalk.feedback import Message
from backtalk.models.protocol import Model, Request, Sampling
from backtalk.worlds import skills
from backtalk.worlds.skills import Chat
from backtalk.worlds.train.curriculum import GUIDANCE, held_out_rules, rule_examples, taught_rules
from backtalk.worlds.world import Assessment, ErrorRates, Issue, Rule, World, mend

Array = NDArray[np.float64]

_SAMPLES = 16


@dataclass(frozen=True)
class SkillScores:
    """How well a model does one thing, an entry a prompt in each array, in [0, 1]."""

    skill: str
    score: Array
    without: Mapping[str, Array] = field(default_factory=dict)
    """The score with what it has to read blanked, or swapped for another's."""
    random: float = field(kw_only=True)
    """The score of somebody who has not read anything."""
    best: float = 1.0


class SkillEvaluator:
    """Asks a model for each of its skills.

    Parameters
    ----------
    world : World[Any]
        Whose prompts are asked.
    model : Model
        Who answers.
    count : int, default 200
        How many prompts a skill.
    seed : int, default 0
        Decides prompts and luck.
    """

    def __init__(self, world: World[Any], model: Model, *, count: int = 200, seed: int = 0) -> None:
        self._world = world
        self._model = model
        self._count = count
        self._seed = seed
        self._probability = np.random.default_rng([seed, 21])
        self._tasks = world.tasks("held-out", count, seed=seed)

    async def probe(self) -> list[SkillScores]:
        """Return how well the model does everything."""
        asked: Sequence[Callable[[], Awaitable[list[SkillScores]]]] = (
            self._answering,
            self._minding,
            self._following,
            self._refining,
            self._criticising,
            self._judging,
            self._finding_rules,
        )
        return [result for ask in asked for result in await ask()]

    async def say(self, chats: Sequence[Chat], *, temperature: float = 0.0) -> list[str]:
        """Return what the model says next in each conversation."""
        sampling = Sampling(temperature=temperature, max_tokens=2 * self._world.max_tokens)
        requests = [
            Request(messages=chat, sampling=sampling, sample_index=i, seed=self._seed)
            for i, chat in enumerate(chats)
        ]
        return [completion.text for completion in await self._model.generate(requests)]

    def _prompts(self) -> list[Chat]:
        return [(Message.user(task.text),) for task in self._tasks]

    def _assess(self, prompts: Sequence[Chat], texts: Sequence[str]) -> list[Assessment]:
        return [
            self._world.assess(prompt, text) for prompt, text in zip(prompts, texts, strict=True)
        ]

    def _utilities(self, prompts: Sequence[Chat], texts: Sequence[str]) -> Array:
        return np.array([result.utility for result in self._assess(prompts, texts)])

    async def _answering(self) -> list[SkillScores]:
        prompts = self._prompts()
        repeated = [prompt for prompt in prompts for _ in range(_SAMPLES)]
        texts = await self.say(repeated, temperature=1.0)
        shape = (len(prompts), _SAMPLES)
        utilities = self._utilities(repeated, texts).reshape(shape)
        faultless: Array = (utilities > 1 - 1e-9).astype(float)
        blank = await self.say([(Message.user(""),)] * len(prompts), temperature=1.0)
        others = [*texts[_SAMPLES:], *texts[:_SAMPLES]]
        swapped = self._utilities(repeated, others).reshape(shape)
        perfect: Array = (swapped > 1 - 1e-9).astype(float)
        without = {
            "blanked": self._utilities(prompts, blank),
            "swapped": swapped.mean(axis=1),
        }
        return [
            SkillScores("answer: utility", utilities.mean(axis=1), without, random=_mean(swapped)),
            SkillScores(
                "answer: faultless (pass@1)", faultless.mean(axis=1), random=_mean(perfect)
            ),
            SkillScores(
                f"answer: pass@{_SAMPLES}",
                faultless.max(axis=1),
                random=_mean(perfect.max(axis=1)),
            ),
            SkillScores(
                f"answer: best of {_SAMPLES}",
                utilities.max(axis=1),
                random=_mean(swapped.max(axis=1)),
            ),
        ]

    async def _minding(self) -> list[SkillScores]:
        """Answer under words of guidance: the utility with all of them, and with none."""
        prompts = self._prompts()
        told = [(Message.system(" ".join(GUIDANCE.values())), *prompt) for prompt in prompts]
        with_it = self._utilities(prompts, await self.say(told, temperature=1.0))
        without = self._utilities(prompts, await self.say(prompts, temperature=1.0))
        return [
            SkillScores("guidance: utility", with_it, {"blanked": without}, random=_mean(without))
        ]

    async def _following(self) -> list[SkillScores]:
        rules = taught_rules(self._world)
        return [
            await self._obeying("rule in scope: obeyed", rules),
            await self._obeying("rule never taught, in scope: obeyed", held_out_rules(self._world)),
            await self._spilling(rules),
        ]

    def _ruled(self, rules: Sequence[Rule], *, inside: bool) -> tuple[list[Rule], list[Chat]]:
        """Return a rule for each prompt that would change its answer."""
        chosen: list[Rule] = []
        prompts: list[Chat] = []
        for task in self._tasks:
            fitting = [
                rule
                for rule in rules
                if self._world.applies(rule, task) == inside
                and self._world.ideal(task) != self._world.ideal(task, (rule,))
            ]
            if fitting:
                chosen.append(fitting[int(self._probability.integers(len(fitting)))])
                prompts.append((Message.user(task.text),))
        return chosen, prompts

    async def _obeying(self, skill: str, rules: Sequence[Rule]) -> SkillScores:
        chosen, prompts = self._ruled(rules, inside=True)

        async def obeyed(system: Sequence[str]) -> Array:
            told = [
                (Message.system(text), *prompt) if text else prompt
                for text, prompt in zip(system, prompts, strict=True)
            ]
            texts = await self.say(told, temperature=1.0)
            return np.array(
                [
                    float(not self._breaches(prompt, text, rule))
                    for prompt, text, rule in zip(prompts, texts, chosen, strict=True)
                ]
            )

        words = [rule.text for rule in chosen]
        without = {
            "blanked": await obeyed([""] * len(words)),
            "swapped": await obeyed(_moved(words)),
        }
        return SkillScores(skill, await obeyed(words), without, random=_mean(without["blanked"]))

    def _breaches(self, prompt: Chat, text: str, rule: Rule) -> set[tuple[str, str]]:
        """Return the faults that an answer has because a rule is in force."""
        default = _named(self._world.assess(prompt, text))
        return _named(self._world.judge(self._world.read(prompt), text, (rule,))) - default

    async def _spilling(self, rules: Sequence[Rule]) -> SkillScores:
        """Return how often a rule is followed outside its scope: better is less."""
        chosen, prompts = self._ruled(rules, inside=False)
        told = [
            (Message.system(rule.text), *prompt)
            for rule, prompt in zip(chosen, prompts, strict=True)
        ]

        def spilled(texts: Sequence[str]) -> Array:
            results = []
            for prompt, text, rule in zip(prompts, texts, chosen, strict=True):
                default = _named(self._world.assess(prompt, text))
                ruled = _named(self._world.judge(self._world.read(prompt), text, (rule,)))
                results.append(float(bool(default - ruled) and not ruled - default))
            return np.array(results)

        with_it = spilled(await self.say(told, temperature=1.0))
        without = spilled(await self.say(prompts, temperature=1.0))
        return SkillScores(
            "rule out of scope: followed all the same",
            with_it,
            {"blanked": without},
            random=_mean(without),
            best=0.0,
        )

    def _drafts(self) -> tuple[list[Chat], list[str], list[Assessment]]:
        prompts: list[Chat] = []
        texts: list[str] = []
        for task in self._tasks:
            while True:
                text = self._world.write(task, self._probability, ErrorRates())
                prompt = (Message.user(task.text),)
                if self._world.assess(prompt, text).faults:
                    break
            prompts.append(prompt)
            texts.append(text)
        return prompts, texts, self._assess(prompts, texts)

    async def _refining(self) -> list[SkillScores]:
        prompts, drafts, truths = self._drafts()
        faults = [
            result.faults[int(self._probability.integers(len(result.faults)))] for result in truths
        ]

        def better(texts: Sequence[str]) -> Array:
            result = self._assess(prompts, texts)
            return np.array(
                [
                    float(_mended(fault, after) and after.utility >= before.utility - 1e-9)
                    for fault, before, after in zip(faults, truths, result, strict=True)
                ]
            )

        async def mended(critiques: Sequence[str]) -> Array:
            chats = [
                skills.to_refine(prompt, draft, critique)
                for prompt, draft, critique in zip(prompts, drafts, critiques, strict=True)
            ]
            return better(await self.say(chats))

        advice = [fault.advice for fault in faults]
        without = {
            "blanked": await mended([skills.VAGUE[0]] * len(faults)),
            "swapped": await mended(_moved(advice)),
        }
        plain = [fault.said for fault in faults]
        random = _mean(better(_moved(drafts)))
        return [
            SkillScores(
                "refine: criticised fault mended", await mended(advice), without, random=random
            ),
            SkillScores(
                "refine: told only what is wrong", await mended(plain), without, random=random
            ),
            await self._misled(prompts, drafts),
        ]

    async def _misled(self, prompts: Sequence[Chat], drafts: Sequence[str]) -> SkillScores:
        """Return how often false advice is carried out to the letter: so it is read."""
        chats: list[Chat] = []
        wanted: list[str] = []
        for prompt, draft in zip(prompts, drafts, strict=True):
            wrong = self._world.mislead(self._world.read(prompt), draft, self._probability)
            if wrong is not None:
                chats.append(skills.to_refine(prompt, draft, wrong.advice))
                wanted.append(mend(draft, [wrong]))
        said = await self.say(chats)
        score = np.array([float(a == b) for a, b in zip(said, wanted, strict=True)])
        random = np.array([float(a == b) for a, b in zip(_moved(wanted), wanted, strict=True)])
        return SkillScores("refine: false advice carried out", score, random=_mean(random))

    async def _criticising(self) -> list[SkillScores]:
        prompts, drafts, truths = self._drafts()

        async def overlap(shown: Sequence[str]) -> Array:
            chats = [
                skills.to_criticise(prompt, text)
                for prompt, text in zip(prompts, shown, strict=True)
            ]
            said = await self.say(chats)
            return np.array([_overlap(a, result) for a, result in zip(said, truths, strict=True)])

        others = [skills.criticism(result) for result in _moved(truths)]
        random = [_overlap(text, result) for text, result in zip(others, truths, strict=True)]
        without = {
            "blanked": await overlap([""] * len(drafts)),
            "swapped": await overlap(_moved(drafts)),
        }
        return [
            SkillScores(
                "criticise: faults named (F1)",
                await overlap(drafts),
                without,
                random=_mean(np.array(random)),
            )
        ]

    async def _judging(self) -> list[SkillScores]:
        prompts, a, first = self._drafts()
        b = [self._world.write(task, self._probability, ErrorRates()) for task in self._tasks]
        second = self._assess(prompts, b)
        apart = [abs(x.utility - y.utility) > 0.02 for x, y in zip(first, second, strict=True)]
        better = ["a" if x.utility > y.utility else "b" for x, y in zip(first, second, strict=True)]

        async def right(one: Sequence[str], other: Sequence[str]) -> Array:
            chats = [
                skills.to_judge(prompt, x, y)
                for prompt, x, y in zip(prompts, one, other, strict=True)
            ]
            said = [skills.read_verdict(text) for text in await self.say(chats)]
            return np.array(
                [
                    0.5 if verdict in {"tie", None} else float(verdict == truth)
                    for verdict, truth, counts in zip(said, better, apart, strict=True)
                    if counts
                ]
            )

        nothing = [""] * len(a)
        without = {
            "blanked": await right(nothing, nothing),
            "swapped": await right(_moved(a), _moved(b)),
        }
        return [SkillScores("judge: the better one found", await right(a, b), without, random=0.5)]

    async def _finding_rules(self) -> list[SkillScores]:
        taught, never = taught_rules(self._world), held_out_rules(self._world)
        return [
            await self._finding("find the rule of examples", taught),
            await self._finding("find a rule never taught", never),
        ]

    async def _finding(self, skill: str, rules: Sequence[Rule]) -> SkillScores:
        chosen: list[Rule] = []
        examples: list[list[str]] = []
        while len(chosen) < self._count:
            rule = rules[int(self._probability.integers(len(rules)))]
            result = rule_examples(self._world, rule, self._probability, split="held-out")
            if result is not None:
                chosen.append(rule)
                examples.append(result)

        async def right(shown: Sequence[Sequence[str]]) -> Array:
            said = await self.say([skills.to_find_rule(list(result)) for result in shown])
            return np.array(
                [float(text.strip() == rule.text) for text, rule in zip(said, chosen, strict=True)]
            )

        without = {
            "blanked": await right([[""] * 3] * len(chosen)),
            "swapped": await right(_moved(examples)),
        }
        return SkillScores(skill, await right(examples), without, random=1 / len(self._world.rules))


def _mean(values: Array) -> float:
    return float(values.mean())


def _moved(items: Sequence[Any]) -> list[Any]:
    """Return everybody the next one's."""
    return [*items[1:], items[0]]


def _named(found: Assessment) -> set[tuple[str, str]]:
    return {(fault.label, fault.advice) for fault in found.faults}


def _mended(fault: Issue, after: Assessment) -> bool:
    return (fault.label, fault.advice) not in _named(after)


def _overlap(said: str, found: Assessment) -> float:
    """Return the F1 score of the advice in a critique against the true advice."""
    true = list(dict.fromkeys(fault.advice for fault in found.faults))[: skills.NAMED_FAULTS]
    right = sum(advice in said for advice in true)
    named = max(len([piece for piece in said.split(". ") if piece.strip()]), 1)
    precision, recall = min(right / named, 1.0), right / len(true)
    return 2 * precision * recall / (precision + recall) if right else 0.0
