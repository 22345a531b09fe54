"""SkillOpt's own gate on answers that are right at random: one search for each line of JSON.

The lines are as for ``gepa_gate.py``. Each edit is validated on all examples, and the gate of the
package accepts or rejects it.
"""

import json
import random
import sys

from skillopt.evaluation.gate import evaluate_gate


def search(rates, seed):
    """Return the number of the best candidate and its apparent gain.

    Parameters
    ----------
    rates : list of list of float
        Probability of a right answer, of each candidate to each example; the first is the seed's.
    seed : int
        Random seed.
    """
    rng = random.Random(seed)
    means = [sum(rng.random() < rate for rate in row) / len(row) for row in rates]
    current, current_score, best, best_score = "0", means[0], "0", means[0]
    for number in range(1, len(means)):
        gate = evaluate_gate(
            str(number), means[number], current, current_score, best, best_score, 0, number
        )
        current, current_score = gate.current_skill, gate.current_score
        best, best_score = gate.best_skill, gate.best_score
    return int(best), best_score - means[0]


for line in sys.stdin:
    body = json.loads(line)
    print(json.dumps(search(body["rates"], body["seed"])), flush=True)
