"""Prompts learned from one kind of feedback alone, and from a perfect metric.

People share hidden rules, which show in their edits, preferences and critiques only. The figure is
the true utility of answers to held-out prompts, after learning less before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import numpy as np
from claims.claim import over_seeds
from claims.learning import Trial, open_trial

from backtalk.feedback.interaction import Prompt
from backtalk.learn import get_method
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet
from backtalk.learn.prompt.learning import NoImprovement
from backtalk.models import PromptResponse
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy
from backtalk.rewards import Scores, register_reward
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.run import Run
from backtalk.stats import Estimate
from backtalk.stats.validation import Floats
from backtalk.worlds.world import Rule, World
from benchmarks.table import Table

KINDS = {"edit": "200 edits", "preference": "200 pairs", "critique": "200 critiques"}
SEEDS = tuple(int(seed) for seed in os.environ.get("SEEDS", "21,22,23,24,25").split(","))
WORLD = os.environ.get("WORLD", "mail")
PROMPTS = 200
HELD_OUT = 150
SAMPLES = 2
OPTIONS = {"candidates": 16, "examples": 48, "confirmation": 100}
METRIC = "hidden-utility"
_TOLERANCE = 1e-9


class HiddenUtility:
    """True utility under the rules of the people: a perfect metric."""

    name = METRIC
    bounds = (0.0, 1.0)

    def __init__(self, world: World, rules: Sequence[Rule]) -> None:
        self._world = world
        self._rules = rules

    @property
    def info(self) -> JudgeInfo:
        """Description of the judge."""
        return JudgeInfo(name=self.name, kind="oracle")

    def utilities(self, prompts: Sequence[Prompt], texts: Sequence[str]) -> Floats:
        """Return the utility of each answer, shape ``(n,)``."""
        return np.array(
            [
                self._world.score(prompt, text, self._rules).utility
                for prompt, text in zip(prompts, texts, strict=True)
            ]
        )

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the utility of each answer."""
        prompts, texts = zip(*answers, strict=True)
        return Scores(self.utilities(prompts, texts))


def draw_rules(world: World, seed: int) -> tuple[Rule, Rule]:
    """Return two hidden rules for every prompt that do not contradict each other."""
    rules = [rule for rule in world.rules if rule.scope == "all"]
    rng = np.random.default_rng([seed, 41])
    first, *others = (rules[i] for i in rng.permutation(len(rules)))
    return first, next(rule for rule in others if agree(world, first, rule))


def agree(world: World, first: Rule, second: Rule) -> bool:
    """Report whether an answer can follow both rules.

    Parameters
    ----------
    world : World
        World of the rules.
    first, second : Rule
        Rules.
    """
    prompts = world.prompts("train", 4, seed=0)
    ideals = [world.ideal(world.parse_prompt(prompt), (first, second)) for prompt in prompts]
    return all(
        world.score(prompt, ideal, (second, first)).utility > 1 - _TOLERANCE
        for prompt, ideal in zip(prompts, ideals, strict=True)
    )


def learn_prompt(
    trial: Trial, feedback: InMemoryTrainingSet, **options: int | str
) -> tuple[Policy, int]:
    """Return the learned policy, or the first one without an improvement, and the calls.

    Parameters
    ----------
    trial : Trial
        Trial with the first policy.
    feedback : InMemoryTrainingSet
        Feedback.
    **options : int or str
        Further options of the method.
    """
    with Run(seed=trial.seed) as run:
        try:
            learned = run_sync(
                get_method("prompt").learn(trial.policy, feedback, run, **OPTIONS, **options)
            )
        except NoImprovement:
            learned = trial.policy
        return learned, run.spent.usage.calls


def gains(seed: int) -> dict[str, tuple[float, int]]:
    """Return the gain in true utility and the calls of each kind of feedback, and of the metric."""
    with open_trial(WORLD, seed) as trial:
        rules = draw_rules(trial.world, seed)
        truth = HiddenUtility(trial.world, rules)
        interactions = trial.sample_interactions(PROMPTS, 2)
        held_out = trial.world.prompts("held-out", HELD_OUT, seed=seed)

        def utility(policy: Policy) -> float:
            samples = trial.sample(policy, held_out, SAMPLES, seed=seed + 7)
            columns = [truth.utilities(held_out, texts) for texts in zip(*samples, strict=True)]
            return float(np.mean(columns))

        before = utility(trial.policy)

        def gain(policy: Policy) -> float:
            return 0.0 if policy.id == trial.policy.id else utility(policy) - before

        results = {}
        for kind in KINDS:
            learned, calls = learn_prompt(trial, trial.feedback(interactions, kind, rules=rules))
            results[kind] = gain(learned), calls
        register_reward(f"{METRIC}-{seed}")(lambda: truth)
        feedback = trial.feedback(interactions, "edit", rules=rules)
        learned, calls = learn_prompt(trial, feedback, judge=f"{METRIC}-{seed}", only_judge=True)
        results["metric"] = gain(learned), calls
        return results


def describe(estimate: Estimate) -> str:
    """Return an estimate with its interval, in points of utility."""
    value, low, high = (100 * x for x in (estimate.value, estimate.low, estimate.high))
    return f"{value:+.1f} [{low:+.1f}, {high:+.1f}]"


def tables() -> Iterable[Table]:
    """Measure the gain of each kind of feedback over the seeds."""
    runs = []
    for seed in SEEDS:
        runs.append(gains(seed))
        sys.stderr.write(f"seed {seed}: {runs[-1]}\n")
    metric = float(np.mean([run["metric"][0] for run in runs]))
    rows = []
    for kind, name in {**KINDS, "metric": "perfect metric"}.items():
        values = [run[kind][0] for run in runs]
        estimate = over_seeds(values)
        improved = sum(value > 0 for value in values)
        calls = np.mean([run[kind][1] for run in runs])
        rows.append(
            (
                name,
                describe(estimate),
                f"{100 * estimate.value / metric:.0f} %",
                f"{improved} of {len(values)}",
                f"{calls:.0f}",
            )
        )
    yield Table(
        "prompt-signals",
        "Prompts from one kind of feedback alone",
        ("learned from", "held-out utility, points", "of the metric's gain", "improved", "calls"),
        tuple(rows),
        f"`backtalk learn prompt` in the world {WORLD}, with the true utility of {HELD_OUT} "
        f"held-out prompts, {len(SEEDS)} seeds, 95 % intervals over seeds. Two hidden rules of the "
        "people show in their feedback only. The metric reads the truth.",
    )
