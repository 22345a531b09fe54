"""Prompt optimisation with Backtalk and with other optimisers: scores at equal budgets of calls.

All use the same loopback endpoint: the model of the task, a writer of rules and the metric. Each
search starts from a defective prompt, whose rule contradicts what people want. The score is the
true utility of answers to held-out prompts that no search saw.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Demonstration, Interaction, Message
from backtalk.feedback.interaction import Prompt
from backtalk.learn import learn
from backtalk.learn.prompt.learning import NoImprovement
from backtalk.models import Budget, EndpointSpec, PromptResponse, Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.policy import Example, Policy, PromptTemplate, save_policy
from backtalk.rewards import Scores, register_reward
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.small import small_model
from benchmarks.peers.endpoint import Endpoint, Task
from benchmarks.peers.environments import PEERS, RUNS, Peer
from benchmarks.table import Table

BUDGETS = (60, 120, 240)
SEEDS = (11, 12)
TRAIN = 40
HELD_OUT = 60
TASKS = {
    "lists": ("Use semicolons in every list.", "Write one word a line in every list."),
    "sums": ("Begin the last line with So in all sums.", "Give only the answer in all sums."),
    "mail": ("Begin with Dear in all my mails.", "Use an emoji in all my mails."),
}
"""World: rule of its people, and defective prompt."""
_TIMEOUT = 1800


def make_task(name: str, seed: int) -> Task:
    """Return a task with its prompts.

    Parameters
    ----------
    name : str
        Name of the world.
    seed : int
        Seed of the prompts.
    """
    world = get_world(name)
    rule, defective = TASKS[name]
    prompts = world.prompts("train", 2 * TRAIN, seed=seed)
    return Task(name, world, (world.get_rule(rule),), defective, prompts[:TRAIN], prompts[TRAIN:])


class TaskReward:
    """Metric of a task as a reward."""

    name = "task-metric"
    bounds = (0.0, 1.0)

    def __init__(self, task: Task) -> None:
        self._task = task

    @property
    def info(self) -> JudgeInfo:
        """Description of the judge."""
        return JudgeInfo(kind="other", name=self.name)

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the utility of each answer."""
        values = [self._task.score(prompt[-1:], text)[0] for prompt, text in answers]
        return Scores(np.array(values))


def run_peer(peer: Peer, endpoint: Endpoint, budget: int) -> Policy:
    """Return the prompt that another optimiser finds.

    Parameters
    ----------
    peer : Peer
        Optimiser.
    endpoint : Endpoint
        Endpoint of the task.
    budget : int
        Number of answers of the task's model.
    """
    environment = os.environ | {
        "ENDPOINT": endpoint.address,
        "BUDGET": str(budget),
        "SEED": str(endpoint.seed),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    }
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.run(
            [str(peer.python), str(RUNS / f"{peer.script}.py")],
            capture_output=True,
            text=True,
            cwd=folder,
            env=environment,
            timeout=_TIMEOUT,
            check=False,
        )
    results = [line for line in process.stdout.splitlines() if line.startswith("RESULT ")]
    if not results:
        raise BacktalkError(f"{peer.label} ended without a result: {process.stderr[-2000:]}")
    result = json.loads(results[-1].removeprefix("RESULT "))
    return make_policy(result["system"], result["demonstrations"])


def make_policy(system: str, demonstrations: Iterable[Mapping[str, str]] = ()) -> Policy:
    """Return a policy of the task's model with a prompt."""
    examples = tuple(
        Example(prompt=(Message.user(item["request"]),), answer=item["answer"])
        for item in demonstrations
    )
    template = PromptTemplate(demonstrations=examples) if examples else None
    return Policy(model=EndpointSpec(model="task"), system=system, prompt=template)


def run_backtalk(endpoint: Endpoint, budget: int) -> Policy:
    """Return the prompt that Backtalk finds from the same examples and the same metric.

    Parameters
    ----------
    endpoint : Endpoint
        Endpoint of the task.
    budget : int
        Number of answers of the task's model.
    """
    task = endpoint.task
    name = f"task-metric-{endpoint.address.rpartition(':')[2]}"
    register_reward(name)(lambda: TaskReward(task))
    address = f"{endpoint.address}/v1"
    os.environ.setdefault("OPENAI_API_KEY", "none")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        writer = Policy(model=EndpointSpec(model="writer", base_url=address), name="writer")
        save_policy(store, writer)
        for prompt in (*task.train, *task.validation):
            interaction = Interaction.of(prompt)
            demonstration = Demonstration(
                interaction=interaction.id,
                annotator=Annotator.human("ada"),
                text=task.ideal(prompt),
            )
            store.add(interaction, demonstration)
        policy = Policy(model=EndpointSpec(model="task", base_url=address), system=task.seed_prompt)
        try:
            return learn(
                "prompt", policy, store, split="all", seed=endpoint.seed,
                budget=Budget(calls=budget), judge=name, writer="writer",
            )  # fmt: skip
        except NoImprovement:
            return policy


def held_out_score(task: Task, policy: Policy, seed: int) -> float:
    """Return the mean true utility of a policy's answers to held-out prompts.

    Parameters
    ----------
    task : Task
        Task.
    policy : Policy
        Policy whose prompt is scored.
    seed : int
        Seed of the prompts and the answers.
    """
    prompts: tuple[Prompt, ...] = task.world.prompts("held-out", HELD_OUT, seed=seed)
    sampling = Sampling(temperature=1.0, max_tokens=task.world.max_tokens)
    requests = [
        Request(messages=policy.messages(prompt), sampling=sampling, seed=seed)
        for prompt in prompts
    ]
    completions = run_sync(small_model(task.world.name).generate(requests))
    scores = [
        task.score(prompt, completion.text)[0]
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    return float(np.mean(scores))


def tables() -> list[Table]:
    """Run all searches, and return their scores and calls."""
    optimisers: list[tuple[str, Any]] = [("Backtalk", run_backtalk)]
    optimisers += [
        (peer.label, lambda endpoint, budget, peer=peer: run_peer(peer, endpoint, budget))
        for peer in PEERS
    ]
    rows = []
    for name in TASKS:
        bounds = {"good prompt": TASKS[name][0], "defective prompt": TASKS[name][1]}
        for label, system in bounds.items():
            scores = [
                held_out_score(make_task(name, seed), make_policy(system), seed) for seed in SEEDS
            ]
            rows.append((name, label, *[f"{np.mean(scores):.3f}"] * len(BUDGETS)))
        for label, optimise in optimisers:
            cells = []
            for budget in BUDGETS:
                scores, calls = [], []
                for seed in SEEDS:
                    task = make_task(name, seed)
                    with Endpoint(task, seed) as endpoint:
                        policy = optimise(endpoint, budget)
                    scores.append(held_out_score(task, policy, seed))
                    calls.append(endpoint.calls["task"])
                cells.append(f"{np.mean(scores):.3f} ({np.mean(calls):.0f})")
                sys.stderr.write(f"{name} {label} {budget}: {cells[-1]}\n")
            rows.append((name, label, *cells))
    return [
        Table(
            "prompt-peers",
            "Prompt optimisation from a defective prompt",
            ("task", "optimiser", *(f"budget of {budget} calls" for budget in BUDGETS)),
            tuple(rows),
            f"Mean true utility of {HELD_OUT} held-out prompts over {len(SEEDS)} seeds, with the "
            "number of answers of the task's model that each search used. All have the same "
            "endpoint, examples, metric and writer.",
        )
    ]
