"""Claims about prompts from preferences alone: how many comparisons find the best of a domain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from scipy.special import expit

from backtalk.learn.prompt.dueling_bandit import NeuralDuelingBandit
from backtalk.learn.prompt.proposers.apohf import embed_prompts
from backtalk.learn.prompt.protocol import PromptCandidate
from backtalk.models.run_sync import run_sync
from backtalk.policy import Lineage, PromptTemplate
from backtalk.stats.validation import Floats
from backtalk.worlds.train.curriculum import GUIDANCE
from claims.claim import Control, Expected, above, claim
from claims.controls import rotation
from claims.learning import Trial, open_trial

FIRST_SEED = 200
"""First seed of the world; those below were used to choose the exploration of the bandit."""
DOMAIN = 30
"""Number of prompts of a domain."""
REQUESTS = 16
"""Number of requests that each prompt answers."""
COMPARISONS = 60
"""Number of comparisons of a run."""
RUNS = 2
"""Number of runs on a domain, with other draws of requests and judgements."""
CLOSE = 0.05
"""Utility by which a prompt may fall short of the best one and count as found."""
SHOWN = 8
"""Number of requests whose answers one comparison shows."""
SHUFFLED = "the same bandit, with the words of the prompts shuffled between them"
TEMPERATURE = 0.05
"""Temperature of the people's judgements: P(a over b) = sigmoid((u(a) - u(b)) / temperature), where
u is the mean utility of the answers that are shown."""


@claim(
    system="APOHF",
    paper="Lin et al. (2024), Prompt optimization with human feedback, section 4.1, figure 1",
    method="apohf",
    world="lists",
    says="A neural dueling bandit finds a good prompt with fewer comparisons of answers than "
    "random ones, and than double Thompson sampling over prompts without their words.",
    expected=[
        above(
            "saved_random",
            f"comparisons until the reported prompt stays within {CLOSE} of the best one's "
            "utility: random pairs less APOHF",
            paper="figure: higher latent score at every number of comparisons",
        ),
        above(
            "saved_double_thompson",
            "the same: double Thompson sampling less APOHF",
            paper="figure: higher latent score at every number of comparisons",
        ),
        Expected("comparisons", "comparisons that APOHF needs", below=float(COMPARISONS)),
    ],
    controls=[
        Control("shuffled_saved_random", SHUFFLED, "saved_random"),
        Control("shuffled_saved_double_thompson", SHUFFLED, "saved_double_thompson"),
        Control("shuffled_comparisons", SHUFFLED, "comparisons"),
    ],
)
def apohf(seed: int) -> Mapping[str, float]:
    """Compare three ways to choose pairs on the same domain of prompts with the same people."""
    with open_trial("lists", FIRST_SEED + seed) as trial:
        rng = np.random.default_rng([seed, 51])
        domain = make_domain(trial, rng)
        utilities = measure(trial, domain)
    vectors = run_sync(embed_prompts(domain))
    moved = vectors[rotation(len(vectors), seed=seed)]
    arms = {
        "apohf": ("apohf", vectors),
        "shuffled": ("apohf", moved),
        "random": ("random", vectors),
        "double_thompson": ("double_thompson", vectors),
    }
    means = {
        arm: float(
            np.mean(
                [
                    comparisons_needed(
                        name, seen, utilities, np.random.default_rng([seed, run, 52]), seed=run
                    )
                    for run in range(RUNS)
                ]
            )
        )
        for arm, (name, seen) in arms.items()
    }
    return {
        f"{prefix}{figure}": value
        for prefix, arm in (("", "apohf"), ("shuffled_", "shuffled"))
        for figure, value in (
            ("saved_random", means["random"] - means[arm]),
            ("saved_double_thompson", means["double_thompson"] - means[arm]),
            ("comparisons", means[arm]),
        )
    }


def make_domain(trial: Trial, rng: np.random.Generator) -> list[PromptCandidate]:
    """Return prompts of up to three lines each: general advice and rules of the world."""
    rules = [rule.text for rule in trial.world.rules if rule.scope == "all"]
    lines = [*GUIDANCE.values(), *(rules[i] for i in rng.permutation(len(rules))[:4])]
    groups = [group for size in (1, 2, 3) for group in combinations(lines, size)]
    chosen = rng.permutation(len(groups))[:DOMAIN]
    return [PromptCandidate(None, PromptTemplate(rules=groups[i])) for i in chosen]


def measure(trial: Trial, domain: Sequence[PromptCandidate]) -> Floats:
    """Return the true utility of an answer to each request, shape ``(prompts, requests)``."""
    prompts = trial.world.prompts("train", REQUESTS, seed=trial.seed)
    rules = [rule for rule in trial.world.rules if rule.scope == "all"][:1]
    return np.array(
        [
            trial.utilities(
                candidate.apply(trial.policy, Lineage(method="prompt")),
                prompts=prompts,
                samples=1,
                rules=rules,
            )[:, 0]
            for candidate in domain
        ]
    )


def comparisons_needed(
    name: str, vectors: Floats, utilities: Floats, rng: np.random.Generator, *, seed: int
) -> int:
    """Return the number of comparisons after which the reported prompt stays close to the best.

    Parameters
    ----------
    name : {"apohf", "random", "double_thompson"}
        Way to choose pairs.
    vectors : numpy.ndarray, shape (prompts, dimension)
        Vectors of the prompts.
    utilities : numpy.ndarray, shape (prompts, requests)
        Utilities of the answers that are compared.
    rng : numpy.random.Generator
        Source of requests and judgements.
    seed : int
        Seed of the bandit.
    """
    means = utilities.mean(axis=1)
    wins = np.zeros((len(means), len(means)))
    bandit = NeuralDuelingBandit(vectors, seed=seed)
    far = 0
    for step in range(1, COMPARISONS + 1):
        if name == "apohf":
            first, second = bandit.select()
        elif name == "random":
            first, second = (int(i) for i in rng.choice(len(means), 2, replace=False))
        else:
            first, second = double_thompson(wins, rng)
        shown = rng.choice(utilities.shape[1], SHOWN, replace=False)
        difference = float((utilities[first, shown] - utilities[second, shown]).mean())
        won = bool(rng.random() < expit(difference / TEMPERATURE))
        wins[(first, second) if won else (second, first)] += 1
        if name == "apohf":
            bandit.observe(first, second, first_won=won)
            best = bandit.best
        else:
            best = most_wins(wins)
        if means.max() - means[best] > CLOSE:
            far = step
    return min(far + 1, COMPARISONS)


def most_wins(wins: Floats) -> int:
    """Return the prompt that wins the largest smoothed share of its comparisons."""
    return int(np.argmax((wins.sum(axis=1) + 1) / (wins.sum(axis=1) + wins.sum(axis=0) + 2)))


def double_thompson(wins: Floats, rng: np.random.Generator) -> tuple[int, int]:
    """Return the pair of double Thompson sampling over a table of wins.

    Wu and Liu (2016), "Double Thompson sampling for dueling bandits", algorithm 1.

    Parameters
    ----------
    wins : numpy.ndarray, shape (prompts, prompts)
        Number of times that the row won against the column.
    rng : numpy.random.Generator
        Source of randomness.
    """
    total = wins + wins.T
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, wins / np.maximum(total, 1), 1.0)
        width = np.sqrt(0.51 * np.log(max(total.sum() / 2, 1)) / total)
    upper = np.where(total > 0, share + width, 1.0)
    lower = np.where(total > 0, share - width, 0.0)
    np.fill_diagonal(upper, 0.5)
    np.fill_diagonal(lower, 0.5)
    copeland = (upper > 0.5).sum(axis=1)
    candidates = np.flatnonzero(copeland == copeland.max())
    theta = rng.beta(wins + 1, wins.T + 1)
    scores = (theta > 0.5).sum(axis=1)[candidates] + rng.random(len(candidates)) / 2
    first = int(candidates[np.argmax(scores)])
    against = rng.beta(wins[:, first] + 1, wins[first] + 1)
    against[first] = -1.0
    against[lower[:, first] > 0.5] = -0.5
    return first, int(np.argmax(against))
