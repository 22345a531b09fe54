"""Simulated data with a known truth, in batches of replications."""

import numpy as np
from numpy.random import Generator

from backtalk.stats.intervals.clusters import Totals

CONFIDENT = {"win": (5.0, 0.3), "loss": (0.05, 2.0)}


def beta(a, b):
    """Soft preferences: (replications, n) and their mean."""

    def draw(rng: Generator, replications: int, n: int):
        return rng.beta(a, b, (replications, n)), a / (a + b)

    return draw


def verdicts(win, tie):
    """Wins, ties and losses as 1, 1/2 and 0."""

    def draw(rng: Generator, replications: int, n: int):
        u = rng.random((replications, n))
        return np.where(u < win, 1.0, np.where(u < win + tie, 0.5, 0.0)), win + tie / 2

    return draw


def verdicts_averaged(wins, ties, losses):
    """Wins, ties and losses with random probabilities in each replication."""

    def draw(rng: Generator, replications: int, n: int):
        win, tie, _ = rng.dirichlet([wins, ties, losses], replications).T[:, :, None]
        u = rng.random((replications, n))
        values = np.where(u < win, 1.0, np.where(u < win + tie, 0.5, 0.0))
        return values, (win + tie / 2)[:, 0]

    return draw


def confident(wins):
    """A judge whose probabilities are close to 0 or 1, and seldom 1."""

    def draw(rng: Generator, replications: int, n: int):
        won = rng.random((replications, n)) < wins
        values = np.where(
            won,
            rng.beta(*CONFIDENT["win"], won.shape),
            rng.beta(*CONFIDENT["loss"], won.shape),
        )
        means = {kind: a / (a + b) for kind, (a, b) in CONFIDENT.items()}
        return values, wins * means["win"] + (1 - wins) * means["loss"]

    return draw


def soft_differences(rng: Generator, replications: int, n: int):
    """Two candidates whose soft preferences depend on the prompt."""
    prompt = rng.beta(1.0, 1.0, (replications, n))
    first = rng.beta(1 + 4 * prompt, 3 - 2 * prompt)
    second = rng.beta(1 + 3 * prompt, 3 - 2 * prompt)
    grid = (np.arange(20000) + 0.5) / 20000
    truth = ((1 + 4 * grid) / (4 + 2 * grid) - (1 + 3 * grid) / (4 + grid)).mean()
    return first - second, truth


def verdict_differences(rng: Generator, replications: int, n: int):
    """Two candidates that win or lose, with probabilities that depend on the prompt."""
    prompt = rng.random((replications, n))
    first = rng.random(prompt.shape) < prompt
    second = rng.random(prompt.shape) < prompt**1.5
    return first * 1.0 - second, 0.1


def sparse_differences(rng: Generator, replications: int, n: int):
    """Two candidates with mostly equal results."""
    u = rng.random((replications, n))
    return np.where(u < 0.1, 1.0, np.where(u < 0.3, -1.0, 0.0)), -0.1


def normal(rng: Generator, replications: int, n: int):
    """Values without bounds or skew."""
    return rng.normal(size=(replications, n)), 0.0


def exponential(rng: Generator, replications: int, n: int):
    """Values without an upper bound, of skewness 2, such as losses in nats."""
    return rng.exponential(size=(replications, n)), 1.0


def even(rng: Generator, replications: int, clusters: int):
    """Clusters of four."""
    return np.full((replications, clusters), 4)


def uneven(rng: Generator, replications: int, clusters: int):
    """Clusters of one to some fifteen, 3.3 on average."""
    return rng.geometric(0.3, (replications, clusters))


def very_uneven(rng: Generator, replications: int, clusters: int):
    """Clusters of one to a hundred, 5 on average."""
    return np.ceil(np.exp(rng.normal(1.0, 1.0, (replications, clusters)))).astype(int)


def clustered_wins(mean, correlation, sizes):
    """Wins and losses whose probability varies between clusters (beta-binomial)."""

    def draw(rng: Generator, replications: int, clusters: int):
        counts = sizes(rng, replications, clusters)
        if correlation in (0.0, 1.0):
            probability = np.full(counts.shape, mean)
            won = (rng.random(counts.shape) < mean) * counts
            sums = won if correlation else rng.binomial(counts, probability)
        else:
            scale = (1 - correlation) / correlation
            sums = rng.binomial(counts, rng.beta(mean * scale, (1 - mean) * scale, counts.shape))
        return Totals(sums.astype(float), counts.astype(float)), mean

    return draw


def clustered_soft(a, b, correlation, sizes):
    """Soft preferences whose mean varies between clusters, all Beta."""

    def draw(rng: Generator, replications: int, clusters: int):
        counts = sizes(rng, replications, clusters)
        scale = (1 - correlation) / correlation
        centre = np.clip(rng.beta(a * scale, b * scale, counts.shape), 1e-6, 1 - 1e-6)
        sums = np.zeros(counts.shape)
        for index in range(counts.max()):
            more = counts > index
            shape = centre[more] * (a + b)
            sums[more] += rng.beta(shape, a + b - shape)
        return Totals(sums, counts.astype(float)), a / (a + b)

    return draw
