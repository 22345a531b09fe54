"""Simulation cells: every interval of the package, on data like those that it is used for."""

from functools import partial

import numpy as np

from backtalk.stats.distributions import t_quantile
from backtalk.stats.intervals.binomial import exact_limits, wilson_limits
from backtalk.stats.intervals.bootstrap import bootstrap_limits
from backtalk.stats.intervals.clusters import Totals, moments
from backtalk.stats.intervals.gaffke import bounded_limits
from backtalk.stats.intervals.means import score_limits
from tests.stats import model_cells
from tests.stats import simulations as sim
from tests.stats.coverage import Cell

SIZES = (10, 20, 50, 200)
BAND = (0.93, 0.97)
DISCRETE = (0.93, 1.0)
"""Few values give few different limits: an interval that never covers less than 95 % covers more
for most truths."""
UNEVEN = (0.93, 0.98)
"""One cluster of ten may have most of the values, which widens the interval."""
FEW_VALUES = {"win/tie/loss 20/20/60", "win/tie/loss 70/25/5", "win/tie/loss 10/80/10"}


FEW_DISTINCT = 9


def independent(values, bounds=(0.0, 1.0)):
    """Totals of independent values, moved to [0, 1]."""
    return Totals(values, np.ones_like(values)).rescaled(*bounds)


def limits_of_distinct(limits, data):
    """Limits of data sets, computed once for all that have the same values in another order."""
    sums, sizes = data
    if np.ptp(sizes) > 0 or np.unique(sums[: len(sums) // 10]).size > FEW_DISTINCT:
        return limits(data)
    rows, inverse = np.unique(np.sort(sums, axis=1), axis=0, return_inverse=True)
    low, high = limits(Totals(rows, np.full_like(rows, sizes.flat[0])))
    return low[inverse.ravel()], high[inverse.ravel()]


def score(draw, n, bounds=(0.0, 1.0)):
    def run(rng, replications):
        values, truth = draw(rng, replications, n)
        low, high = limits_of_distinct(score_limits, independent(values, bounds))
        span = bounds[1] - bounds[0]
        return bounds[0] + span * low, bounds[0] + span * high, truth

    return run


def clustered_score(draw, n):
    def run(rng, replications):
        data, truth = draw(rng, replications, n)
        return *limits_of_distinct(score_limits, data), truth

    return run


def guaranteed(draw, n):
    def run(rng, replications):
        values, truth = draw(rng, replications, n)
        limits = partial(bounded_limits, level=0.95, mid=False)
        return *limits_of_distinct(limits, independent(values)), truth

    return run


def student(draw, n, *, clustered=False):
    def run(rng, replications):
        values, truth = draw(rng, replications, n)
        result = moments(values if clustered else Totals(values, np.ones_like(values)))
        reach = t_quantile(0.975, result.freedom) * np.sqrt(result.variance)
        return result.mean - reach, result.mean + reach, truth

    return run


def studentised(draw, n):
    def run(rng, replications):
        values, truth = draw(rng, replications, n)
        ends = [
            bootstrap_limits(
                Totals(row, np.ones_like(row)),
                method="studentised",
                resamples=400,
                level=0.95,
                seed=number,
            )
            for number, row in enumerate(values)
        ]
        low, high = np.transpose(ends)
        return low, high, truth

    return run


def binomial(limits, n):
    """A proportion that is uniform over the replications."""

    def run(rng, replications):
        truth = rng.random(replications)
        return *limits(rng.binomial(n, truth), n), truth

    return run


def binomial_at(limits, n, truth):
    def run(rng, replications):
        return *limits(rng.binomial(n, truth, replications), n), truth

    return run


def proportion(n):
    """The interval that ``mean_interval`` chooses for zeros and ones."""

    def limits(won, n):
        exact, wilson = exact_limits(won, n), wilson_limits(won, n)
        few = (n < 50) | (np.minimum(won, n - won) < 15)
        return np.where(few, exact[0], wilson[0]), np.where(few, exact[1], wilson[1])

    return limits


def squared_errors(n, skill):
    """Squared errors of calibrated probabilities, which ``brier`` averages."""

    def draw(rng, replications, n):
        predicted = rng.beta(skill, skill, (replications, n))
        variance = 0.5 * 0.5 / (2 * skill + 1)
        return (predicted - (rng.random(predicted.shape) < predicted)) ** 2, 0.25 - variance

    return score(draw, n)


def losses(n):
    """Losses in nats with a floor of one in a thousand, which ``log_loss`` averages."""
    ceiling = -np.log(0.001)

    def draw(rng, replications, n):
        predicted = np.clip(rng.beta(1, 1, (replications, n)), 0.001, 0.999)
        outcome = rng.random(predicted.shape) < predicted
        grid = np.clip((np.arange(200_000) + 0.5) / 200_000, 0.001, 0.999)
        truth = -(grid * np.log(grid) + (1 - grid) * np.log1p(-grid)).mean()
        return -np.log(np.where(outcome, predicted, 1 - predicted)), truth

    return score(draw, n, (0.0, ceiling))


MODERATE = {
    "soft, Beta(5, 5)": sim.beta(5, 5),
    "soft, Beta(1, 1)": sim.beta(1, 1),
    "soft, Beta(0.5, 0.5)": sim.beta(0.5, 0.5),
    "soft, Beta(0.2, 0.2)": sim.beta(0.2, 0.2),
    "soft, Beta(2, 5)": sim.beta(2, 5),
    "soft, Beta(1, 4)": sim.beta(1, 4),
    "soft, Beta(0.5, 2)": sim.beta(0.5, 2),
    "soft, Beta(20, 2)": sim.beta(20, 2),
    "win/tie/loss, chances Dirichlet(1, 1, 1)": sim.verdicts_averaged(1, 1, 1),
}
SKEWED = {
    "soft, Beta(0.5, 4)": sim.beta(0.5, 4),
    "soft, Beta(0.2, 1)": sim.beta(0.2, 1),
    "soft, Beta(0.05, 0.95)": sim.beta(0.05, 0.95),
    "soft, Beta(0.2, 4)": sim.beta(0.2, 4),
    "confident judge, 5 % wins": sim.confident(0.05),
    "confident judge, 10 % wins": sim.confident(0.1),
    "confident judge, 30 % wins": sim.confident(0.3),
    "win/tie/loss 20/20/60": sim.verdicts(0.2, 0.2),
    "win/tie/loss 10/10/80": sim.verdicts(0.1, 0.1),
    "win/tie/loss 70/25/5": sim.verdicts(0.7, 0.25),
    "win/tie/loss 10/80/10": sim.verdicts(0.1, 0.8),
}
DIFFERENCES = {
    "paired soft": sim.soft_differences,
    "paired verdicts": sim.verdict_differences,
    "paired verdicts, 70 % equal": sim.sparse_differences,
}
GUARANTEED = {
    name: {**MODERATE, **SKEWED}[name]
    for name in ("soft, Beta(1, 4)", "soft, Beta(0.05, 0.95)", "win/tie/loss 10/10/80")
}
CLUSTERED = {
    f"{kind}, {sizes.__name__.replace('_', ' ')} clusters": make(sizes)
    for sizes in (sim.even, sim.uneven, sim.very_uneven)
    for kind, make in {
        "wins, half, correlated 0": lambda sizes: sim.clustered_wins(0.5, 0.0, sizes),
        "wins, half, correlated 0.3": lambda sizes: sim.clustered_wins(0.5, 0.3, sizes),
        "wins, a fifth, correlated 0.3": lambda sizes: sim.clustered_wins(0.2, 0.3, sizes),
        "soft, Beta(1, 3), correlated 0.3": lambda sizes: sim.clustered_soft(1, 3, 0.3, sizes),
    }.items()
}

MEANS = [
    *(Cell("exact", "wins, chance uniform", n, binomial(exact_limits, n), 20_000,
           (0.95, 0.98) if n < 20 else BAND) for n in (10, 20, 49)),
    *(Cell("Wilson", "wins, chance uniform", n, binomial(proportion(n), n), 20_000)
      for n in (50, 200)),
    *(Cell("score", name, n, score(draw, n), 4000)
      for name, draw in MODERATE.items() for n in SIZES),
    *(Cell("score", name, n, score(draw, n), 4000,
           DISCRETE if name in FEW_VALUES and n == 10 else BAND)
      for name, draw in SKEWED.items() for n in SIZES),
    *(Cell("score", name, n, score(draw, n, (-1.0, 1.0)))
      for name, draw in DIFFERENCES.items() for n in SIZES),
    *(Cell("score", f"Brier, said Beta({skill}, {skill})", n, squared_errors(n, skill))
      for skill in (1, 5) for n in SIZES),
    *(Cell("score", "log loss, floor 0.001", n, losses(n)) for n in SIZES),
    *(Cell("score", name, n, clustered_score(draw, n), 4000,
           UNEVEN if n == 10 and "very uneven" in name else BAND)
      for name, draw in CLUSTERED.items() for n in (10, 20, 50)),
    *(Cell("bounded", name, n, guaranteed(draw, n), 500, (0.95, 1.0))
      for name, draw in GUARANTEED.items() for n in (10, 50)),
    *(Cell("t", "normal", n, student(sim.normal, n), 20_000) for n in (3, 10, 50)),
    *(Cell("studentised bootstrap", "normal", n, studentised(sim.normal, n)) for n in SIZES),
    *(Cell("studentised bootstrap", "exponential", n, studentised(sim.exponential, n))
      for n in SIZES),
]  # fmt: skip
ALL = [*MEANS, *model_cells.ALL]
