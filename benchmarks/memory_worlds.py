"""Utility of answers with a memory of corrections in each world.

``python -m benchmarks memory-worlds``: forty people with the same two rules give instructions,
critiques and edits on answers with random errors. What they say of a single answer is of no use for
other requests, so that a memory that recalls it too freely costs more than the rules bring.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from backtalk.decode import Sample
from backtalk.feedback import Critique, Interaction
from backtalk.feedback.case import Case
from backtalk.feedback.interaction import Prompt
from backtalk.learn import get_method
from backtalk.learn.training_set import TrainingSet
from backtalk.memory.recall import LoadedMemory
from backtalk.models import LocalSpec, Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, load_policy
from backtalk.run import Run
from backtalk.stats import mean_interval
from backtalk.store import Store
from backtalk.worlds import ErrorRates, get_world
from backtalk.worlds.annotators import Person, give_feedback
from backtalk.worlds.small import small_model_folder
from backtalk.worlds.world import Rule
from benchmarks.table import Table

SEEDS = (31, 32, 33, 34, 35)
WORLDS = ("sums", "lists", "mail")
PEOPLE, REQUESTS, PROBES = 40, 160, 48
PASTED = 3
"""Number of critiques that are pasted in."""
CHECK = 20
"""Number of requests on which each kind of entry is checked."""
GENERAL = frozenset({"all", "bare"})
"""Scopes that are not told apart by the subject of a request."""


class Setting:
    """Two rules, feedback and held-out requests of one seed.

    Parameters
    ----------
    world : str
        Name of the world.
    seed : int
        Seed of all draws.
    """

    def __init__(self, world: str, seed: int) -> None:
        self.world = get_world(world)
        self.seed = seed
        rng = np.random.default_rng([seed, 9])
        scopes = sorted({rule.scope for rule in self.world.rules} - GENERAL)
        first, second = (scopes[i] for i in rng.permutation(len(scopes))[:2])
        rule = self._pick(rng, first, "")
        self.rules = (rule, self._pick(rng, second, rule.action))

    def _pick(self, rng: np.random.Generator, scope: str, other: str) -> Rule:
        rules = [one for one in self.world.rules if one.scope == scope and one.action != other]
        return rules[int(rng.integers(len(rules)))]

    def cases(self) -> Iterator[Case]:
        """Yield answers of a writer without rules, with the feedback of the person who asked."""
        rng = np.random.default_rng(self.seed)
        for number, task in enumerate(self.world.tasks("train", REQUESTS, seed=self.seed)):
            name = f"user {number % PEOPLE}"
            answer = self.world.write(task, rng, ErrorRates())
            interaction = Interaction.of(task.text, answer, user=name)
            person = Person(name, world_name=self.world.name, rules=self.rules)
            feedback = [
                item
                for kind in ("instruction", "critique", "edit")
                for item in give_feedback(person, kind, interaction)
            ]
            yield Case(interaction, tuple(feedback))

    def applicable(self, prompt: Prompt) -> list[str]:
        """Return the texts of the rules that apply to a request."""
        task = self.world.parse_prompt(prompt)
        return [rule.text for rule in self.world.applicable_rules(task, self.rules)]

    def probes(self) -> list[Prompt]:
        """Return held-out requests, half of them in the scope of a rule."""
        prompts = self.world.prompts("held-out", 10 * PROBES, seed=self.seed)
        inside = [prompt for prompt in prompts if self.applicable(prompt)]
        outside = [prompt for prompt in prompts if not self.applicable(prompt)]
        return inside[: PROBES // 2] + outside[: PROBES // 2]


def recalled(setting: Setting, prompts: Sequence[Prompt], *, check: int = 0) -> list[list[str]]:
    """Return the texts that a learned memory puts into the prompts of requests.

    Parameters
    ----------
    setting : Setting
        Setting.
    prompts : sequence of Prompt
        Requests of the people in turn.
    check : int, default 0
        Number of requests on which each kind of entry is checked.
    """
    policy = make_policy(setting)
    with TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        for case in setting.cases():
            store.add(case.interaction, *case.feedback)
        with Run() as run:
            feedback = TrainingSet(store, split="all")
            learned = run_sync(get_method("memory").learn(policy, feedback, run, check=check))
        assert learned.memory is not None
        memory = LoadedMemory(store, learned.memory)
        return [
            list(run_sync(memory.recall(prompt, user=f"user {number % PEOPLE}")).texts)
            for number, prompt in enumerate(prompts)
        ]


def last_corrections(setting: Setting, prompts: Sequence[Prompt]) -> list[list[str]]:
    """Return the last critiques of each person, whatever they were about."""
    critiques: dict[str, list[str]] = {}
    for case in setting.cases():
        for item in case.of(Critique):
            text = f"On “{case.interaction.prompt[-1].text}”: {item.text}"
            critiques.setdefault(case.interaction.user or "", []).append(text)
    return [
        critiques.get(f"user {number % PEOPLE}", [])[-PASTED:] for number in range(len(prompts))
    ]


def make_policy(setting: Setting) -> Policy:
    """Return the policy with the small model of the world."""
    return Policy(
        model=LocalSpec(model=str(small_model_folder(setting.world.name))),
        decoder=Sample(sampling=Sampling(max_tokens=setting.world.max_tokens)),
    )


def arms(setting: Setting, prompts: Sequence[Prompt]) -> dict[str, list[list[str]]]:
    """Return the texts in each prompt, by arm."""
    return {
        "no memory": [[] for _ in prompts],
        f"each person's last {PASTED} critiques": last_corrections(setting, prompts),
        "memory": recalled(setting, prompts),
        f"memory, -o check={CHECK}": recalled(setting, prompts, check=CHECK),
        "rules known": [setting.applicable(prompt) for prompt in prompts],
    }


def utilities(world: str, seed: int) -> dict[str, float]:
    """Return the mean utility of the answers in each arm."""
    setting = Setting(world, seed)
    prompts = setting.probes()
    policy = make_policy(setting)
    texts_by_arm = arms(setting, prompts)
    requests = [
        Request(
            messages=policy.messages(prompt, remembered=texts),
            sampling=policy.decoder.base_sampling,
            seed=seed,
        )
        for rows in texts_by_arm.values()
        for prompt, texts in zip(prompts, rows, strict=True)
    ]
    answers = iter(run_sync(load_policy(policy).model.generate(requests)))
    return {
        name: float(
            np.mean(
                [
                    setting.world.score(prompt, next(answers).text, setting.rules).utility
                    for prompt in prompts
                ]
            )
        )
        for name in texts_by_arm
    }


def table(worlds: Sequence[str] = WORLDS, seeds: Sequence[int] = SEEDS) -> Table:
    """Return the utility in each world and arm, and the difference from no memory."""
    rows = []
    for world in worlds:
        measured = [utilities(world, seed) for seed in seeds]
        for name in measured[0]:
            difference = [one[name] - one["no memory"] for one in measured]
            rows.append(
                (world, name, _points([one[name] for one in measured]), _points(difference))
            )
    return Table(
        "memory-worlds",
        "Utility with a memory of what people said of single answers",
        ("world", "memory", "utility, points", "less no memory, points"),
        tuple(rows),
        f"{PEOPLE} people with the same two rules, each for one kind of request, say them and "
        f"criticise and edit {REQUESTS} answers with random errors; {PROBES} held-out requests, "
        f"half of them in the scope of a rule. Small model of each world, seeds {seeds[0]} to "
        f"{seeds[-1]}. Intervals are Student's over the seeds.",
    )


def _points(values: Sequence[float]) -> str:
    if np.ptp(values) == 0:
        return f"{100 * values[0]:.1f}"
    estimate = mean_interval([100 * value for value in values], bounds=None, method="t")
    return f"{estimate.value:.1f} [{estimate.low:.1f}, {estimate.high:.1f}]"


def tables() -> list[Table]:
    """Measure all worlds."""
    return [table()]
