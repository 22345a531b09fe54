"""Claims about inverse constitutional AI: hidden principles, and annotations of a real judge."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from pyarrow import parquet

from backtalk.feedback import Annotator, as_prompt
from backtalk.feedback.views import Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.memory.inverse_constitution import Constitution, find_constitution
from backtalk.learn.memory.votes import model_votes, reconstruct, trait_votes
from backtalk.learn.online.feedback_sources import InMemoryTrainingSet
from backtalk.models.run_sync import run_sync
from backtalk.run import Run
from claims.claim import Control, Expected, claim
from claims.memory_world import MemoryWorld, distinct_rules, open_memory_world

DATA = Path(os.environ.get("BACKTALK_DATA", Path(__file__).parent.parent.parent / "shared/data"))
FLIPS = 0.1
"""Share of the annotations of hidden principles that are wrong."""
TURNED = Control(
    "turned",
    "a constitution of the same pairs with a random half of the annotations turned round, which "
    "tell nothing",
    "reconstructed",
)


@claim(
    system="Inverse Constitutional AI",
    paper="Findeis et al. (2024), inverse constitutional AI: compressing preferences into "
    "principles, figure 3",
    method="inverse-constitution",
    world="mail",
    says="A constitution found in preferences with known hidden principles reconstructs held-out "
    "annotations far better than no constitution.",
    expected=[
        Expected(
            "reconstructed",
            "share of held-out annotations that the constitution reconstructs, of which 10 % are "
            "wrong",
            above=0.65,
            bounds=(0.0, 1.0),
            paper="above 0.9 on aligned synthetic data, 0.5 without a constitution",
        ),
    ],
)
def inverse_constitution(seed: int) -> Mapping[str, float]:
    """Learn from 60 pairs of which one answer meets a hidden wish; test on 60 others."""
    with open_memory_world("mail", seed) as world:
        pairs = _wished_pairs(world, seed, 120)
        with Run(seed=seed) as run:
            context = MethodContext(world.policy, InMemoryTrainingSet(world.store, ()), run)
            constitution = run_sync(find_constitution(context, pairs[:60], n=3))
            return {"reconstructed": _accuracy(context, constitution, pairs[60:])}


@claim(
    system="Inverse Constitutional AI",
    paper="Findeis et al. (2024), inverse constitutional AI: compressing preferences into "
    "principles, figure 4",
    method="inverse-constitution",
    says="A constitution found in AlpacaEval annotations reconstructs held-out ones better than "
    "guessing, and shows the judge's bias to long answers.",
    expected=[
        Expected(
            "reconstructed",
            "share of held-out annotations that the constitution of countable traits reconstructs",
            above=0.52,
            bounds=(0.0, 1.0),
            paper="about 0.6 to 0.7 by GPT-4o on AlpacaEval",
        ),
    ],
    controls=[TURNED],
)
def inverse_constitution_real(seed: int) -> Mapping[str, float]:
    """Learn from 600 annotations of AlpacaEval by a model judge; test on 600 others."""
    pairs = _alpaca_pairs(seed, 1_200)
    with open_memory_world("mail", seed) as world, Run(seed=seed) as run:
        context = MethodContext(world.policy, InMemoryTrainingSet(world.store, ()), run)
        results = {}
        for name, learned in _annotations(pairs[:600], seed).items():
            constitution = run_sync(find_constitution(context, learned, n=5, propose="traits"))
            results[name] = _accuracy(context, constitution, pairs[600:])
        return results


def _annotations(pairs: Sequence[Pair], seed: int) -> dict[str, list[Pair]]:
    """Return the pairs of the claims, and those of their control."""
    rng = np.random.default_rng([seed, 93])
    half = set(rng.permutation(len(pairs))[: len(pairs) // 2].tolist())
    turned = [
        pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen})
        if number in half
        else pair
        for number, pair in enumerate(pairs)
    ]
    return {"reconstructed": list(pairs), TURNED.name: turned}


def _wished_pairs(world: MemoryWorld, seed: int, count: int) -> list[Pair]:
    """Return pairs of answers of which the chosen one meets a wish, up to wrong annotations."""
    rng = np.random.default_rng([seed, 91])
    rules = distinct_rules(world, 2, seed=seed)
    prompts = world.needing(rules, 2 * count)
    plain = world.answer(world.policy, prompts, seed=1)
    ruled = world.answer(world.policy, prompts, seed=2, remembered=[r.text for r in rules])
    pairs = []
    for prompt, worse, better in zip(prompts, plain, ruled, strict=True):
        applicable = world.world.applicable_rules(world.world.parse_prompt(prompt), rules)
        met = [
            sum(world.follows(rule, prompt, text) for rule in applicable)
            for text in (worse, better)
        ]
        if met[1] <= met[0]:
            continue
        if rng.random() < FLIPS:
            worse, better = better, worse  # noqa: PLW2901 - a wrong annotation
        pairs.append(Pair(prompt=prompt, chosen=better, rejected=worse))
    return pairs[:count]


def _alpaca_pairs(seed: int, count: int) -> list[Pair]:
    answers = parquet.read_table(DATA / "alpaca_eval_outputs.parquet").to_pylist()
    baseline = {
        row["instruction"]: row["baseline_output"]
        for row in parquet.read_table(DATA / "alpaca_eval_baseline.parquet").to_pylist()
    }
    rng = np.random.default_rng([seed, 92])
    pairs = []
    for index in rng.permutation(len(answers)).tolist():
        row = answers[index]
        text, other = row["output"], baseline.get(row["instruction"])
        if other is None or text == other or row["preference"] is None or row["preference"] == 0.5:
            continue
        chosen, rejected = (text, other) if row["preference"] > 0.5 else (other, text)
        pairs.append(
            Pair(
                prompt=as_prompt(row["instruction"]),
                chosen=chosen,
                rejected=rejected,
                annotator=Annotator.model("judge"),
            )
        )
        if len(pairs) == count:
            break
    return pairs


def _accuracy(context: MethodContext, constitution: Constitution, pairs: Sequence[Pair]) -> float:
    """Return the share of annotations that a constitution reconstructs, ties counting half."""
    if not constitution.principles:
        return 0.5
    traits = [one for one in constitution.principles if one.trait is not None]
    words = [one for one in constitution.principles if one.trait is None]
    votes = np.vstack(
        [
            trait_votes(traits, pairs),
            run_sync(model_votes(context, words, pairs, seed=1)),
        ]
    )
    weights = dict(zip(constitution.principles, constitution.weights, strict=True))
    return float(reconstruct(votes, [weights[one] for one in (*traits, *words)]).mean())
