"""Claims about searches for prompts: what each optimiser adds to a plain one of the same cost."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

import numpy as np

from backtalk.learn.prompt.proposers.opro import HistoryProposer
from backtalk.learn.prompt.proposers.promst import select_by_model
from backtalk.learn.prompt.proposers.protegi import select_by_bandit
from backtalk.learn.prompt.protocol import PromptCandidate
from backtalk.learn.prompt.protocol import Trial as PromptTrial
from backtalk.learn.prompt.world_writer import WorldWriter
from backtalk.models.run_sync import run_sync
from backtalk.policy import load_policy
from backtalk.stats.validation import Floats
from claims.claim import Control, above, claim
from claims.controls import rotation
from claims.learning import Trial, open_trial
from claims.prompt_tables import FIRST_SEED, WORLD, PromptTable, TableSearch, make_table

RUNS = 40
"""Number of runs of each arm on a table."""
ANSWERS = 6
"""Number of answers by which a prompt is scored."""
FIRST_PROMPTS = 4
"""Number of random prompts that begin the history."""
ROUND_PROMPTS = 2
"""Number of prompts of a round."""
MAX_ROUNDS = 20
SCORED = 12
"""Number of scored prompts that teach the score model."""
POOL = 40
"""Number of new prompts of which a few are selected."""
SELECTED = 4
BUDGET = 160
"""Number of answers of a search."""

Arm = Callable[[TableSearch, Trial], Awaitable[list[float]]]
"""Function from a search to its figures, such as the utility of the prompt that it selects."""


@claim(
    system="Directional-feedback LLM optimizer",
    paper="Nie et al. (2024), The importance of directional feedback for LLM-based optimizers, "
    "section 5.2",
    method="opro",
    world="lists",
    says="An optimiser that states the direction in which scores rise proposes better prompts than "
    "one that only sees the history, and finds a better one by the same number of answers.",
    expected=[
        above(
            "proposed",
            "mean utility of the prompts proposed: directional less history alone",
            "directional feedback reaches a higher reward in every task",
        ),
        above("best", "utility of the best prompt: directional less history alone"),
        above("gain", "utility of the best prompt: directional less no instruction"),
    ],
)
def directional_history(seed: int) -> Mapping[str, float]:
    """Continue histories of random prompts with and without a direction."""

    def arm(*, directional: bool) -> Arm:
        async def run(search: TableSearch, trial: Trial) -> list[float]:
            writer = WorldWriter(load_policy(trial.policy, trial.store.artifacts).model, WORLD)
            proposer = HistoryProposer(writer, directional=directional)
            for candidate in draw(search, FIRST_PROMPTS):
                await search.try_out(candidate, ANSWERS)
            proposed = []
            for _ in range(MAX_ROUNDS):
                for candidate in await proposer.propose(search.state, ROUND_PROMPTS):
                    await search.try_out(candidate, ANSWERS)
                    proposed.append(search.table.mean(candidate))
                if search.used >= BUDGET:
                    break
            return [float(np.mean(proposed)), search.table.mean(search.state.best.candidate)]

        return run

    arms = {"directional": arm(directional=True), "history": arm(directional=False)}
    means, table = compare(seed, arms)
    proposed, best = means["directional"] - means["history"]
    return {"proposed": proposed, "best": best, "gain": means["directional"][1] - table.empty}


@claim(
    system="PROMST",
    paper="Chen et al. (2024), PRompt Optimization in Multi-Step Tasks (PROMST), section 4.3, "
    "figure 5",
    method="promst",
    world="lists",
    says="A score model that learns from the prompts tried so far selects better ones of many new "
    "prompts than a random draw.",
    expected=[
        above(
            "saved",
            f"mean utility of {SELECTED} of {POOL} prompts: by the score model less at random",
            "higher scores with the score model in most environments",
        ),
    ],
    controls=[
        Control("shuffled_saved", "a score model of scores shuffled between the prompts", "saved")
    ],
)
def promst_filter(seed: int) -> Mapping[str, float]:
    """Select prompts by a score model of twelve prompts, and at random."""

    def arm(*, shuffle: bool) -> Arm:
        async def filtered(search: TableSearch, _: Trial) -> list[float]:
            drawn = draw(search, SCORED + POOL)
            for candidate in drawn[:SCORED]:
                await search.try_out(candidate, ANSWERS)
            if shuffle:
                shuffle_scores(search.state.trials, seed=seed)
            selected = await select_by_model(search.state, drawn[SCORED:], SELECTED)
            return [float(np.mean([search.table.mean(candidate) for candidate in selected]))]

        return filtered

    async def random(search: TableSearch, _: Trial) -> list[float]:
        selected = draw(search, SELECTED)
        return [float(np.mean([search.table.mean(candidate) for candidate in selected]))]

    arms = {"filtered": arm(shuffle=False), "shuffled": arm(shuffle=True), "random": random}
    means, _ = compare(seed, arms)
    return {
        "saved": float((means["filtered"] - means["random"])[0]),
        "shuffled_saved": float((means["shuffled"] - means["random"])[0]),
    }


def shuffle_scores(trials: list[PromptTrial], *, seed: int) -> None:
    """Give the scores of each trial that has any to another prompt, in place.

    Parameters
    ----------
    trials : list of Trial
        Trials of prompts.
    seed : int
        Seed of the permutation.
    """
    scored = [place for place, trial in enumerate(trials) if trial.scores]
    origins = [trials[scored[origin]] for origin in rotation(len(scored), seed=seed)]
    for place, origin in zip(scored, origins, strict=True):
        trials[place] = PromptTrial(trials[place].candidate, origin.scores)


@claim(
    system="GreaterPrompt",
    paper="Pryzant et al. (2023), Automatic prompt optimization with 'gradient descent' and beam "
    "search (ProTeGi), table 2; one of the optimisers behind GreaterPrompt's interface",
    method="protegi",
    world="lists",
    says="A bandit that spends its answers on promising prompts selects a better one than equal "
    "numbers of answers for all.",
    expected=[
        above(
            "saved",
            f"utility of the best of {POOL} prompts by {BUDGET} answers: bandit less uniform",
            "accuracy: UCB 0.85, uniform 0.77 on one task, 0.66 and 0.65 on another",
        ),
    ],
    controls=[
        Control("half_saved", "twice as many answers for a random half of the prompts", "saved")
    ],
)
def protegi_bandit(seed: int) -> Mapping[str, float]:
    """Select one prompt by an upper-confidence-bound bandit, and by equal numbers of answers."""

    async def bandit(search: TableSearch, _: Trial) -> list[float]:
        (best,) = await select_by_bandit(
            search.state, draw(search, POOL), 1, budget=BUDGET, exploration=0.5, batch_size=2
        )
        return [search.table.mean(best)]

    def uniform(count: int) -> Arm:
        async def run(search: TableSearch, _: Trial) -> list[float]:
            for candidate in draw(search, count):
                await search.try_out(candidate, BUDGET // count)
            return [search.table.mean(search.state.best.candidate)]

        return run

    means, _ = compare(
        seed, {"bandit": bandit, "uniform": uniform(POOL), "half": uniform(POOL // 2)}
    )
    return {
        "saved": float((means["bandit"] - means["uniform"])[0]),
        "half_saved": float((means["half"] - means["uniform"])[0]),
    }


def draw(search: TableSearch, count: int) -> list[PromptCandidate]:
    """Return random distinct prompts of the table."""
    candidates = search.table.candidates
    return [candidates[i] for i in search.state.rng.permutation(len(candidates))[:count]]


def compare(seed: int, arms: Mapping[str, Arm]) -> tuple[dict[str, Floats], PromptTable]:
    """Return the mean figures of each arm over runs on the table of a seed, and the table.

    Parameters
    ----------
    seed : int
        Seed of the table.
    arms : Mapping[str, Arm]
        Arms by name; their runs share the seeds.
    """
    table = make_table(seed)
    with open_trial(WORLD, FIRST_SEED + seed) as trial:
        means = {
            name: np.mean(
                [run_sync(arm(TableSearch(table, trial, seed=i), trial)) for i in range(RUNS)],
                axis=0,
            )
            for name, arm in arms.items()
        }
    return means, table
