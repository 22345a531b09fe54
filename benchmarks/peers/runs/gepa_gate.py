"""GEPA's own engine on answers that are right at random: one search for each line of JSON.

A line has the probability of a right answer of each candidate to each example, and a seed. The
reply has the number of the candidate that the search returns, and its apparent gain.
"""

import json
import random
import sys

import gepa
from gepa import EvaluationBatch, GEPAAdapter


class _Adapter(GEPAAdapter):
    """Numbered candidates, proposed in their order whatever their parent is."""

    def __init__(self, rates, rng):
        self._rates, self._rng, self.proposed = rates, rng, 0

    def evaluate(self, batch, candidate, capture_traces=False):
        """Return scores that are 1 at random."""
        row = self._rates[int(candidate["number"])]
        scores = [float(self._rng.random() < row[index]) for index in batch]
        traces = list(batch) if capture_traces else None
        return EvaluationBatch(outputs=list(batch), scores=scores, trajectories=traces)

    def make_reflective_dataset(self, candidate, eval_batch, components_to_update):
        """Return a record for each component."""
        return {name: [{"Feedback": ""}] for name in components_to_update}

    def propose_new_texts(self, candidate, reflective_dataset, components_to_update):
        """Return the next candidate."""
        self.proposed += 1
        return {"number": str(self.proposed)}


class _Silent:
    """Logger that drops messages."""

    def log(self, message):
        """Drop a message."""


def search(rates, seed):
    """Return the number of the best candidate and its apparent gain.

    Parameters
    ----------
    rates : list of list of float
        Probability of a right answer, of each candidate to each example; the first is the seed's.
    seed : int
        Random seed.
    """
    examples = list(range(len(rates[0])))
    adapter = _Adapter(rates, random.Random(seed))
    result = gepa.optimize(
        seed_candidate={"number": "0"},
        trainset=examples,
        valset=examples,
        adapter=adapter,
        stop_callbacks=lambda state: adapter.proposed >= len(rates) - 1,
        logger=_Silent(),
        seed=seed,
    )
    scores = result.val_aggregate_scores
    best = result.best_idx
    return int(result.candidates[best]["number"]), scores[best] - scores[0]


for line in sys.stdin:
    body = json.loads(line)
    print(json.dumps(search(body["rates"], body["seed"])), flush=True)
