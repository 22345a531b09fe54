"""Prompt optimisation with Backtalk and with other optimisers: score by number of calls.

All use the same loopback endpoint: the model of the task, a writer of rules and the metric. Each
search starts from a defective prompt, whose rule contradicts what people want. The score is that of
answers to held-out prompts that no search saw. Calls are completions of the task's model and of the
writer.

Each search is stored when it ends, so that a run that stopped goes on with the others. To run some
of them::

    python -m benchmarks.prompt_peers --task sums --seed 11 --optimiser Backtalk
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.feedback import Annotator, Demonstration, Interaction, Message
from backtalk.learn import learn
from backtalk.learn.prompt.learning import NoImprovement
from backtalk.models import Budget, EndpointSpec, PromptResponse, Request, Sampling
from backtalk.models.run_sync import run_sync
from backtalk.policy import Policy, save_policy
from backtalk.rewards import Scores, register_reward
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.store import Store
from backtalk.worlds import get_world
from backtalk.worlds.small import small_model
from benchmarks.peers.endpoint import Best, Endpoint, Task
from benchmarks.peers.environments import FOLDER, PEERS, RUNS, Peer
from benchmarks.table import Table

CALLS = (30, 40, 60, 90, 120, 180, 240)
"""Numbers of calls at which scores are compared; the last one is the budget of each peer."""
OWN_BUDGETS = (30, 40, 60, 120, 240)
"""Budgets of Backtalk, whose searches are planned for their budget."""
SEEDS = tuple(int(seed) for seed in os.environ.get("SEEDS", "11,12").split(","))
TRAIN = 40
HELD_OUT = 120
TASKS = {
    "lists": ("Use semicolons in every list.", "Write one word a line in every list."),
    "sums": ("Begin the last line with So in all sums.", "Give only the answer in all sums."),
    "mail": ("Begin with Dear in all my mails.", "Begin with Hi in all my mails."),
}
"""World: rule of its people, which is the good prompt, and defective prompt."""
MAIN_PEERS = ("gepa_run", "mipro_run", "skillopt_run")
"""Scripts of the peers whose best score is the aim."""
TOLERANCE = 0.01
"""Distance from the best peer's score at which it counts as reached."""
RESULTS = FOLDER / "searches.jsonl"
"""File of the searches that ended."""
_STEP = 5
_TIMEOUT = 1800


def make_task(name: str, seed: int, tasks: dict[str, tuple[str, str]] = TASKS) -> Task:
    """Return a task with its prompts.

    Parameters
    ----------
    name : str
        Name of the world.
    seed : int
        Seed of the prompts.
    tasks : dict[str, tuple[str, str]], default TASKS
        Good and defective prompts by world.
    """
    world = get_world(name)
    rule, defective = tasks[name]
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
        """Return the score of each answer."""
        values = [self._task.score(prompt[-1:], text)[0] for prompt, text in answers]
        return Scores(np.array(values))


def run_peer(peer: Peer, endpoint: Endpoint, budget: int) -> list[Best]:
    """Return the best prompts of another optimiser, in their order.

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
    if process.returncode or not endpoint.best:
        raise BacktalkError(f"{peer.label} ended without a result: {process.stderr[-2000:]}")
    return endpoint.best


def run_backtalk(endpoint: Endpoint, budget: int) -> list[Best]:
    """Return the prompt that Backtalk finds from the same examples and the same metric.

    Parameters
    ----------
    endpoint : Endpoint
        Endpoint of the task.
    budget : int
        Number of completions, those of the writer included.
    """
    policy = learned_policy(endpoint, budget)
    *system, _ = policy.messages((Message.user(""),))
    turns = [(message.role, message.text) for message in system]
    texts = [text for role, text in turns if role != "system"]
    return [
        Best(
            endpoint.completions,
            "\n".join(text for role, text in turns if role == "system"),
            tuple(zip(texts[::2], texts[1::2], strict=True)),
        )
    ]


def learned_policy(endpoint: Endpoint, budget: int) -> Policy:
    """Return the policy with the prompt that Backtalk finds, or the policy as it was.

    Parameters
    ----------
    endpoint : Endpoint
        Endpoint of the task.
    budget : int
        Number of completions.
    """
    task = endpoint.task
    name = f"task-metric-{endpoint.address.rpartition(':')[2]}"
    register_reward(name)(lambda: TaskReward(task))
    address = f"{endpoint.address}/v1"
    os.environ.setdefault("OPENAI_API_KEY", "none")
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store.db") as store:
        writer = Policy(model=EndpointSpec(model="rewriter", base_url=address), name="writer")
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
                budget=Budget(calls=budget), judge=name, only_judge=True, writer="writer",
            )  # fmt: skip
        except NoImprovement:
            return policy


Optimise = Callable[[Endpoint, int], list[Best]]


@dataclass(frozen=True)
class Optimiser:
    """Optimiser of the comparison."""

    label: str
    run: Optimise
    budgets: tuple[int, ...] = CALLS[-1:]
    """Budgets of its searches. One is enough for those whose steps do not depend on it."""
    from_good: bool = False
    """True if it starts from the good prompt."""


def optimisers() -> list[Optimiser]:
    """Return Backtalk, Backtalk from a good prompt, and the peers."""

    def runner(peer: Peer) -> Optimise:
        return lambda endpoint, budget: run_peer(peer, endpoint, budget)

    own = Optimiser("Backtalk", run_backtalk, OWN_BUDGETS)
    good = replace(
        own, label=f"{own.label}, from the good prompt", budgets=OWN_BUDGETS[-1:], from_good=True
    )
    # The trials of MIPROv2 end with a full evaluation, so that each budget has its own search.
    several = {"mipro_run": (90, 240)}
    return [
        own,
        good,
        *(Optimiser(p.label, runner(p), several.get(p.script, CALLS[-1:])) for p in PEERS),
    ]


@dataclass(frozen=True)
class Search:
    """Best prompts of one search, by number of calls."""

    task: str
    optimiser: str
    seed: int
    budget: int
    calls: int
    """Completions of the task's model and of the writer."""
    best: tuple[Best, ...]

    def at(self, calls: int) -> Best | None:
        """Return the best prompt after a number of calls; ``None`` before the first one."""
        return next((best for best in reversed(self.best) if best.calls <= calls), None)


class Results:
    """Searches and held-out scores, stored as they come.

    Parameters
    ----------
    path : Path
        File of JSON lines.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.searches: dict[tuple[str, str, int, int], Search] = {}
        self._scores: dict[str, float] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            self._read(json.loads(line))

    def _read(self, fields: dict[str, Any]) -> None:
        if "score" in fields:
            self._scores[fields["key"]] = fields["score"]
            return
        best = tuple(
            Best(item["calls"], item["system"], tuple(map(tuple, item["demonstrations"])))
            for item in fields.pop("best")
        )
        search = Search(**fields, best=best)
        self.searches[search.task, search.optimiser, search.seed, search.budget] = search

    def _write(self, fields: dict[str, Any]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(fields) + "\n")
        self._read(fields)

    def run(self, task: Task, optimiser: Optimiser, seed: int, budget: int) -> None:
        """Run a search, unless its result is stored.

        Parameters
        ----------
        task : Task
            Task.
        optimiser : Optimiser
            Optimiser.
        seed : int
            Seed of the search.
        budget : int
            Number of calls.
        """
        if (task.name, optimiser.label, seed, budget) in self.searches:
            return
        with Endpoint(task, seed) as endpoint:
            best = optimiser.run(endpoint, budget)
        search = Search(task.name, optimiser.label, seed, budget, endpoint.completions, tuple(best))
        self._write(asdict(search))
        score = self.score(task, best[-1])
        sys.stderr.write(
            f"{task.name} {optimiser.label} seed {seed}, budget {budget}: {score:.3f} after "
            f"{best[-1].calls} of {search.calls} calls\n"
        )

    def score(self, task: Task, best: Best) -> float:
        """Return the mean score of answers to held-out prompts under a prompt."""
        key = json.dumps(
            [task.name, [r.text for r in task.rules], best.system, best.demonstrations]
        )
        if key not in self._scores:
            self._write({"key": key, "score": held_out_score(task, best)})
        return self._scores[key]

    def curve(self, task: Task, optimiser: Optimiser, seed: int, calls: int) -> float:
        """Return the held-out score that a user has after a number of calls.

        Parameters
        ----------
        task : Task
            Task.
        optimiser : Optimiser
            Optimiser; of its searches, the one with the largest budget within the calls counts.
        seed : int
            Seed of the search.
        calls : int
            Number of calls.
        """
        budgets = [budget for budget in optimiser.budgets if budget <= calls]
        budget = max(budgets, default=min(optimiser.budgets))
        search = self.searches[task.name, optimiser.label, seed, budget]
        return self.score(task, search.at(calls) or Best(0, task.seed_prompt))


def held_out_score(task: Task, best: Best) -> float:
    """Return the mean score of answers to held-out prompts under a prompt."""
    prompts = task.world.prompts("held-out", HELD_OUT, seed=0)
    context = [Message.system(best.system)] if best.system else []
    for request, answer in best.demonstrations:
        context += [Message.user(request), Message.assistant(answer)]
    sampling = Sampling(temperature=1.0, max_tokens=task.world.max_tokens)
    requests = [Request(messages=(*context, *p), sampling=sampling, seed=1) for p in prompts]
    completions = run_sync(small_model(task.world.name).generate(requests))
    scores = [
        task.score(prompt, completion.text)[0]
        for prompt, completion in zip(prompts, completions, strict=True)
    ]
    return float(np.mean(scores))


@dataclass(frozen=True)
class Comparison:
    """Scores of all optimisers on a task.

    Parameters
    ----------
    results : Results
        Stored searches.
    name : str
        Name of the task.
    seeds : sequence of int
        Seeds of the searches.
    """

    results: Results
    name: str
    seeds: Sequence[int] = SEEDS

    @cached_property
    def _tasks(self) -> dict[int, Task]:
        return {seed: make_task(self.name, seed) for seed in self.seeds}

    def mean(self, optimiser: Optimiser, calls: int) -> float:
        """Return the mean score over the seeds after a number of calls."""
        scores = [
            self.results.curve(task, optimiser, seed, calls) for seed, task in self._tasks.items()
        ]
        return float(np.mean(scores))

    def reference(self, system: str) -> float:
        """Return the score of a prompt."""
        return self.results.score(self._tasks[self.seeds[0]], Best(0, system))

    def calls_to(self, optimiser: Optimiser, target: float) -> int | None:
        """Return the number of calls from which on the mean score is at least the target."""
        grid = range(_STEP, CALLS[-1] + 1, _STEP)
        below = [calls for calls in grid if self.mean(optimiser, calls) < target]
        first = max(below, default=0) + _STEP
        return first if first <= CALLS[-1] else None

    def used(self, optimiser: Optimiser, budget: int) -> float:
        """Return the mean number of calls that searches with a budget used."""
        keys = [(self.name, optimiser.label, seed, budget) for seed in self.seeds]
        return float(np.mean([self.results.searches[key].calls for key in keys]))


def tables() -> list[Table]:
    """Run all searches that are not stored, and return their scores and calls."""
    results = Results(RESULTS)
    systems = optimisers()
    for name in TASKS:
        for optimiser in systems:
            run_all(results, name, optimiser, SEEDS)
    comparisons = [Comparison(results, name) for name in TASKS]
    return [_scores(comparisons, systems), _calls(comparisons, systems)]


def run_all(results: Results, name: str, optimiser: Optimiser, seeds: Iterable[int]) -> None:
    """Run the searches of an optimiser on a task that are not stored.

    Parameters
    ----------
    results : Results
        Stored searches.
    name : str
        Name of the task.
    optimiser : Optimiser
        Optimiser.
    seeds : iterable of int
        Seeds.
    """
    for seed in seeds:
        task = make_task(name, seed)
        if optimiser.from_good:
            task = replace(task, seed_prompt=TASKS[name][0])
        for budget in optimiser.budgets:
            results.run(task, optimiser, seed, budget)


def _scores(comparisons: Sequence[Comparison], systems: Sequence[Optimiser]) -> Table:
    rows = []
    for one in comparisons:
        for label, system in zip(("good prompt", "defective prompt"), TASKS[one.name], strict=True):
            rows.append((one.name, label, *[f"{one.reference(system):.3f}"] * len(CALLS)))
        for optimiser in systems:
            if optimiser.from_good:
                continue
            scores = [f"{one.mean(optimiser, calls):.3f}" for calls in CALLS]
            rows.append((one.name, optimiser.label, *scores))
    return Table(
        "prompt-peers",
        "Prompt optimisation from a defective prompt",
        ("task", "optimiser", *(f"{calls} calls" for calls in CALLS)),
        tuple(rows),
        f"Score of answers to {HELD_OUT} held-out prompts, by calls of the task's model and of the "
        f"writer; means over {len(SEEDS)} seeds. The score is the mean of the true utility and of "
        "the share of the people's rules that an answer follows. All have the same endpoint, "
        "examples, metric and writer.",
    )


def _calls(comparisons: Sequence[Comparison], systems: Sequence[Optimiser]) -> Table:
    scripts = {peer.label: peer.script for peer in PEERS}
    main = [one for one in systems if scripts.get(one.label) in MAIN_PEERS]
    own, good = systems[:2]
    rows = []
    for one in comparisons:
        target = max(one.mean(peer, CALLS[-1]) for peer in main) - TOLERANCE
        calls = {peer.label: one.calls_to(peer, target) for peer in main}
        needed = one.calls_to(own, target)
        best = min((count for count in calls.values() if count is not None), default=None)
        ratio = "-" if needed is None or best is None else f"{needed / best:.2f}"
        reached = one.mean(own, CALLS[-1])
        share = reached / max(one.mean(good, CALLS[-1]), reached)
        rows.append(
            (
                one.name,
                f"{target:.3f}",
                "-" if needed is None else str(needed),
                *("-" if count is None else str(count) for count in calls.values()),
                ratio,
                f"{one.used(own, OWN_BUDGETS[-1]):.0f}",
                f"{100 * share:.0f} %",
            )
        )
    return Table(
        "prompt-peers-calls",
        "Calls to reach the score of the best peer",
        (
            "task",
            "score",
            "Backtalk",
            *(peer.label for peer in main),
            "ratio to the best",
            f"Backtalk's calls, budget {OWN_BUDGETS[-1]}",
            "score from the defective prompt, share of that from the good one",
        ),
        tuple(rows),
        f"The score is that of the best of these peers after {CALLS[-1]} calls, less "
        f"{TOLERANCE:g}. Calls are in steps of {_STEP}.",
    )


def main() -> None:
    """Run some of the searches and store their results."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    systems = {one.label: one for one in optimisers()}
    parser.add_argument("--task", choices=TASKS, nargs="+", default=list(TASKS))
    parser.add_argument("--seed", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--optimiser", choices=systems, nargs="+", default=list(systems))
    options = parser.parse_args()
    results = Results(RESULTS)
    for name in options.task:
        for label in options.optimiser:
            run_all(results, name, systems[label], options.seed)


if __name__ == "__main__":
    main()
