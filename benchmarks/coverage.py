"""Coverage of off-policy intervals: ``python -m benchmarks.coverage``.

Two kinds of logs: a rare arm, whose reward depends on a uniform
context, and a normal action that the target shifts, which has log-normal weights. The reward model
of the doubly robust estimate is cross-fitted. Nominal coverage 95 %, seed 7.
"""

from __future__ import annotations

import sys

import numpy as np

from backtalk.stats.estimate import NotIdentified
from backtalk.stats.off_policy import cross_fit_rewards, doubly_robust, ips, snips
from backtalk.stats.validation import Floats

SEED = 7
ARMS = (
    (0.05, 300, 0.05),
    (0.02, 300, 0.05),
    (0.05, 1000, 0.05),
    (0.05, 1000, 0.3),
    (0.2, 300, 0.5),
)
"""Share of the arm, number of rows, and its mean reward."""
SHIFTS = ((1.0, 300, 0.3), (1.5, 1000, 0.3))
"""Shift in standard deviations, number of rows, and half of the largest reward."""
Log = tuple[Floats, Floats, Floats, Floats]
"""Rewards, weights, features of the logged and of the target's answers."""


def rare_arm(rng: np.random.Generator, share: float, n: int, mean: float) -> Log:
    """Draw a log of an arm with a given share; its mean reward is ``mean``.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    share : float
        Probability of the arm.
    n : int
        Number of rows.
    mean : float
        Mean reward of both arms, at most 0.5.
    """
    context, arm = rng.random(n), rng.random(n) < share
    rewards = (rng.random(n) < np.where(arm, 2 * mean * context, mean)).astype(float)
    features = np.column_stack([~arm, arm, arm * context]).astype(float)
    targets = np.column_stack([np.zeros(n), np.ones(n), context])
    return rewards, np.where(arm, 1 / share, 0.0), features, targets


def shifted(rng: np.random.Generator, shift: float, n: int, half: float) -> Log:
    """Draw a log of normal actions, with the weights of a shifted target.

    Parameters
    ----------
    rng : Generator
        Source of randomness.
    shift : float
        Shift of the target's mean.
    n : int
        Number of rows.
    half : float
        Mean reward of the action 0, at most 0.5.
    """
    action = rng.normal(size=n)
    rewards = (rng.random(n) < half * (1 + np.tanh(action))).astype(float)
    weights = np.exp(shift * action - shift**2 / 2)
    return rewards, weights, action[:, None], rng.normal(shift, 1, (n, 1))


def main(replications: int) -> None:
    """Print coverage and mean width of each cell as a table."""
    print("| log | n | refused | IPS | SNIPS | doubly robust |\n|---|---|---|---|---|---|")
    nodes, heights = np.polynomial.hermite_e.hermegauss(80)
    for draw, cells in ((rare_arm, ARMS), (shifted, SHIFTS)):
        for first, n, level in cells:
            tanh = float(heights @ np.tanh(first + nodes) / heights.sum())
            truth = level if draw is rare_arm else level * (1 + tanh)
            rng, rows = np.random.default_rng(SEED), []
            for _ in range(replications):
                rewards, weights, features, targets = draw(rng, first, n, level)
                model = cross_fit_rewards(features, rewards, targets)
                try:
                    results = (
                        ips(rewards, weights, bounds=(0, 1)),
                        snips(rewards, weights, bounds=(0, 1)),
                        doubly_robust(rewards, weights, *model, bounds=(0, 1)),
                    )
                except NotIdentified:
                    continue
                rows.append([(not r.estimate.excludes(truth), r.estimate.width) for r in results])
            means = np.mean(rows, axis=0)
            columns = " | ".join(f"{100 * cover:.0f} % ({width:.2f})" for cover, width in means)
            name = f"{draw.__name__} {first:g}, reward {level:g}"
            print(f"| {name} | {n} | {replications - len(rows)} | {columns} |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100)
