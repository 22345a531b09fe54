"""Claims about control loops of prompts: which error a controller acts on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from backtalk.learn.prompt.proposers.control import ControllerName, make_controller
from claims.claim import above, claim
from claims.learning import open_trial

FIRST_SEED = 500
"""First seed of the world."""
LOOPS = 100
"""Number of loops of each controller, each on other answers."""
BATCHES = 5
"""Number of batches of a loop."""
BATCH_SIZE = 8
CONTROLLERS: tuple[ControllerName, ...] = ("p", "pi", "pid")


@claim(
    system="Control-theoretic prompt loop",
    paper="Karn (2025), Linear feedback control systems for iterative prompt optimization in "
    "large language models, section III",
    method="control",
    world="lists",
    says="The sum of past errors finds the error that persists among those that a few answers "
    "happen to show; the present error alone follows the last answers.",
    expected=[
        above(
            "integral",
            f"share of {LOOPS} loops in which the strongest signal after {BATCHES} batches of "
            f"{BATCH_SIZE} answers is that of the most frequent error: PI less P",
        ),
        above("all_terms", "the same: PID less P"),
    ],
)
def control_terms(seed: int) -> Mapping[str, float]:
    """Let P, PI and PID controllers read the errors of batches of a model's answers."""
    with open_trial("lists", FIRST_SEED + seed) as trial:
        rules = [rule for rule in trial.world.rules if rule.scope == "all"][seed : seed + 2]
        rows = trial.assess(trial.policy, split="train", prompts=200, samples=1, rules=rules)
    errors = [{issue.label for issue in row[0].issues} for row in rows]
    rates = Counter(label for labels in errors for label in labels)
    ((persistent, _),) = rates.most_common(1)
    dominant: Counter[ControllerName] = Counter()
    for loop in range(LOOPS):
        order = np.random.default_rng([seed, loop, 73]).permutation(len(errors))
        batches = order[: BATCHES * BATCH_SIZE].reshape(BATCHES, BATCH_SIZE)
        for name in CONTROLLERS:
            controller = make_controller(name)
            for batch in batches:
                counts = Counter(label for i in batch for label in errors[i])
                signals = controller.update({k: n / BATCH_SIZE for k, n in counts.items()})
            dominant[name] += max(signals, key=lambda label: signals[label]) == persistent
    shares = {name: dominant[name] / LOOPS for name in CONTROLLERS}
    return {"integral": shares["pi"] - shares["p"], "all_terms": shares["pid"] - shares["p"]}
