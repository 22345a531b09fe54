"""Methods that learn from pairs of compared responses."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.feedback.views import Pair
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.registration import register_objective_method
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.learn.finetune.trees import PromptTree


def soft_pair_trees(encoder: Encoder, pairs: Sequence[Pair]) -> list[PromptTree]:
    """Return trees of pairs whose probability is derived from their strength.

    A strength s in (0, 1] gives the probability ``(1 + s) / 2``: 1/2 for no strength, 1 for the
    greatest. A probability that an annotator gave is kept.
    """
    return pair_trees(
        encoder,
        [
            pair.model_copy(update={"probability": (1 + pair.strength) / 2})
            if pair.strength is not None and pair.probability == 1
            else pair
            for pair in pairs
        ],
    )


for _name in ("dpo", "ipo", "cdpo", "rdpo", "hinge", "exo", "dpo-desiderata"):
    register_objective_method(_name, Pair, pair_trees)
for _name in ("slic-hf", "orpo", "simpo", "cpo", "cpl", "pairwise-cringe"):
    register_objective_method(_name, Pair, pair_trees)
register_objective_method("osp", Pair, soft_pair_trees)
