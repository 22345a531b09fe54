"""Simulation cells of intervals from a fit: agreement, strengths, length, selection."""

from functools import partial

import numpy as np

from backtalk.stats import (
    NotIdentified,
    bradley_terry,
    choose,
    cohen_kappa,
    krippendorff_alpha,
    length_controlled,
)
from backtalk.stats.distributions import expit
from tests.stats.coverage import Cell

BAND = (0.93, 0.97)
RARE = (0.93, 1.0)
"""Few items disagree or have a label, so there are few different intervals, which also allow for
labels of fewer than five ratings: they cover more often than 95 %."""


def replicate(make, replications):
    """Return limits and truths of replications, without those that identify no estimate."""
    results = []
    for _ in range(replications):
        try:
            results.extend(make())
        except NotIdentified:
            continue
    columns = [(estimate.low, estimate.high, truth) for estimate, truth in results]
    return tuple(np.array(column) for column in zip(*columns, strict=True))


def agreement_table(probabilities, share):
    """Return the joint distribution of two raters with a share of agreement beyond chance."""
    probabilities = np.array(probabilities)
    return share * np.diag(probabilities) + (1 - share) * np.outer(probabilities, probabilities)


def kappa(joint, weights, n):
    count = len(joint)
    steps = np.abs(np.subtract.outer(np.arange(count), np.arange(count)))
    distance = steps if weights == "linear" else steps > 0
    expected = joint.sum(1) @ distance @ joint.sum(0)
    truth = 1 - (joint * distance).sum() / expected

    def run(rng, replications):
        def simulate():
            codes = rng.choice(count**2, size=n, p=joint.ravel())
            result = cohen_kappa(
                codes // count, codes % count, weights=weights, categories=range(count)
            )
            return [(result.estimate, truth)]

        return replicate(simulate, replications)

    return run


def alpha(probabilities, share, metric, n):
    """Simulate three raters who give the item's label or a random one; 15 % are missing."""
    probabilities = np.array(probabilities)
    truth = share**2

    def run(rng, replications):
        def simulate():
            labels = rng.choice(len(probabilities), size=n, p=probabilities)
            guesses = rng.choice(len(probabilities), size=(3, n), p=probabilities)
            ratings = np.where(rng.random((3, n)) < share, labels, guesses).astype(float)
            ratings[rng.random((3, n)) < 0.15] = np.nan
            return [(krippendorff_alpha(ratings, metric=metric).estimate, truth)]

        return replicate(simulate, replications)

    return run


def strengths(items, meetings, outcome, spread, ties="half"):
    """Simulate items of normal strengths; all pairs are compared equally often."""
    first, second = (np.repeat(side, meetings) for side in np.triu_indices(items, 1))

    def run(rng, replications):
        def simulate():
            truth = rng.normal(0, spread, items)
            difference = truth[first] - truth[second]
            result = bradley_terry(first, second, outcome(rng, difference), ties=ties)
            return [(result.difference(0, 1), truth[0] - truth[1])]

        return replicate(simulate, replications)

    return run


def verdict(rng, difference):
    return (rng.random(len(difference)) < expit(difference)).astype(float)


def soft(rng, difference):
    probability = expit(difference)
    return rng.beta(4 * probability, 4 * (1 - probability))


def davidson(rng, difference):
    weights = np.stack(
        [np.exp(difference / 2), np.exp(-difference / 2), np.full_like(difference, 0.8)]
    )
    probabilities = weights / weights.sum(0)
    u = rng.random(len(difference))
    return np.where(u < probabilities[0], 1.0, np.where(u < 1 - probabilities[1], 0.5, 0.0))


def clustered_strengths(rng, replications, prompts=40):
    """Simulate four items; each pair is compared once per prompt, with prompt-item effects."""
    first, second = (np.tile(side, prompts) for side in np.triu_indices(4, 1))
    clusters = np.repeat(np.arange(prompts), 6)

    def simulate():
        truth = rng.normal(0, 0.7, 4)
        prompt_effects = rng.normal(0, 0.5, (prompts, 4))
        difference = (truth + prompt_effects)[clusters, first] - (truth + prompt_effects)[
            clusters, second
        ]
        result = bradley_terry(first, second, verdict(rng, difference), clusters=clusters)
        marginal = _marginal_strengths(truth)
        return [(result.difference(0, 1), marginal[0] - marginal[1])]

    return replicate(simulate, replications)


NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(21)


def _marginal_strengths(truth):
    """Return the strengths that fit the probabilities averaged over prompts."""
    first, second = np.triu_indices(4, 1)
    shift = NODES * 0.5 * np.sqrt(2)
    probabilities = expit((truth[first] - truth[second])[:, None] + shift) @ WEIGHTS / WEIGHTS.sum()
    return np.array(bradley_terry(first, second, probabilities).strengths)


def controlled(models, instructions, rng, replications):
    """Simulate models with shorter answers than the baseline's, and a judge with a length bias."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)

    def simulate():
        quality, length = rng.normal(-1, 1, models), rng.normal(-0.8, 0.4, models)
        weight = rng.uniform(0.5, 2.5, models) if models > 1 else np.zeros(1)
        hardness = rng.normal(size=instructions)
        baseline = rng.lognormal(7, 0.5, instructions)
        log_ratio = rng.normal(-0.4, 0.4, models)[:, None]
        lengths = baseline * np.exp(rng.normal(log_ratio, 0.5, (models, instructions)))
        gap = baseline - lengths
        terms = np.tanh(gap / gap.std(1, keepdims=True, ddof=1))
        logit = quality[:, None] + length[:, None] * terms + weight[:, None] * hardness
        probability = np.clip(expit(logit), 1e-9, 1 - 1e-9)
        preferences = rng.beta(probability / 2, (1 - probability) / 2)
        truth = expit(quality[:, None] + weight[:, None] * nodes) @ weights / weights.sum()
        result = length_controlled(preferences, lengths, baseline, ridge=0.3)
        return list(zip(result.estimates, truth, strict=True))

    return replicate(simulate, replications)


def selection(field, candidates, prompts, rng, replications):
    """Simulate the choice of the best of equal candidates, and its mean on a set of prompts."""

    def simulate():
        scores = rng.beta(1.5, 1.5, (candidates, prompts))
        result = choose(scores, held_out=0.4, resamples=1, seed=int(rng.integers(2**31)))
        return [(getattr(result, field), 0.5)]

    return replicate(simulate, replications)


AGREEMENT = [
    *(Cell("Cohen's kappa", name, n, kappa(joint, weights, n),
           4000 if n >= 50 else 1000 if weights else 2000, RARE if n < 50 else BAND)
      for name, joint, weights in (
          ("two labels, half, 0.6", agreement_table([0.5, 0.5], 0.6), None),
          ("two labels, half, 0.9", agreement_table([0.5, 0.5], 0.9), None),
          ("two labels, a fifth, 0.7", agreement_table([0.2, 0.8], 0.7), None),
          ("two labels, a tenth, 0.5", agreement_table([0.1, 0.9], 0.5), None),
          ("three labels, 0.6", agreement_table([0.3, 0.4, 0.3], 0.6), None),
          ("five labels, linear, 0.4", agreement_table([0.1, 0.2, 0.4, 0.2, 0.1], 0.4), "linear"),
      )
      for n in (10, 20, 50, 200)),
    *(Cell("Krippendorff's alpha", name, n, alpha(probabilities, share, metric, n),
           1000 if n < 50 else 2000 if metric == "ordinal" else 4000, RARE if n < 50 else BAND)
      for name, probabilities, share, metric in (
          ("three labels, 0.49", [0.3, 0.4, 0.3], 0.7, "nominal"),
          ("five labels, interval, 0.36", [0.1, 0.2, 0.4, 0.2, 0.1], 0.6, "interval"),
          ("five labels, ordinal, 0.64", [0.2, 0.2, 0.2, 0.2, 0.2], 0.8, "ordinal"),
      )
      for n in (10, 20, 50)),
]  # fmt: skip
STRENGTHS = [
    Cell("Bradley-Terry", "2 items, 10 verdicts", 10, strengths(2, 10, verdict, 0.5), 4000, RARE),
    Cell("Bradley-Terry", "2 items, 20 verdicts", 20, strengths(2, 20, verdict, 0.5), 4000, RARE),
    Cell("Bradley-Terry", "4 items, 10 verdicts a pair", 60, strengths(4, 10, verdict, 0.7)),
    Cell("Bradley-Terry", "4 items, 30 verdicts a pair", 180, strengths(4, 30, verdict, 0.7)),
    Cell("Bradley-Terry", "8 items, 5 verdicts a pair", 140, strengths(8, 5, verdict, 0.7)),
    Cell("Bradley-Terry", "4 items, 10 soft a pair", 60, strengths(4, 10, soft, 0.7)),
    Cell("Bradley-Terry", "4 items, 10 with ties a pair", 60,
         strengths(4, 10, davidson, 0.7, "davidson")),
    Cell("Bradley-Terry", "4 items, 40 prompts", 240, clustered_strengths, 2000),
]  # fmt: skip
LENGTH = [
    *(Cell("length-controlled", "one model", n, partial(controlled, 1, n))
      for n in (10, 20, 50, 200)),
    Cell("length-controlled", "three models", 20, partial(controlled, 3, 20), 1000, (0.93, 0.99)),
    Cell("length-controlled", "three models", 50, partial(controlled, 3, 50), 1000),
    Cell("length-controlled", "three models", 200, partial(controlled, 3, 200), 700),
]  # fmt: skip
SELECTION = [
    Cell("best of 10, unseen prompts", "equal candidates", 60,
         partial(selection, "unseen", 10, 60)),
    Cell("best of 10, apparent", "equal candidates", 60,
         partial(selection, "apparent", 10, 60), 4000, (0.0, 0.8)),
]  # fmt: skip
ALL = [*AGREEMENT, *STRENGTHS, *LENGTH, *SELECTION]
