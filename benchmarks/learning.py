"""Learning a reward, against scikit-learn's logistic regression on the same features."""

from __future__ import annotations

import asyncio
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegressionCV

from backtalk.embedders.named import named_embedder
from backtalk.feedback import as_prompt
from backtalk.feedback.views import Pair
from backtalk.rewards import learn_reward
from backtalk.rewards.feature_map import FeatureMap
from benchmarks.measure import Measured, side_by_side

PAIRS = 2_000
WORDS = ["thanks", "sorry", "maybe", "no", "never", "please", "today", "refund", "order", "kind"]


def pairs() -> list[Pair]:
    """Pairs of answers of twelve words, each of which has a worth; the winner is drawn."""
    rng = np.random.default_rng(0)
    worth = rng.normal(size=len(WORDS))
    results = []
    while len(results) < PAIRS:
        one, other = rng.integers(len(WORDS), size=(2, 12))
        lead = worth[one].sum() - worth[other].sum()
        if rng.random() > 1 / (1 + np.exp(-lead)):
            one, other = other, one
        texts = [" ".join(WORDS[i] for i in side) for side in (one, other)]
        asked = as_prompt(f"question {len(results) % 500}")
        results.append(Pair(prompt=asked, chosen=texts[0], rejected=texts[1]))
    return results


def measure() -> list[Measured]:
    """Both choose their regularisation: ours by the evidence, the peer in five folds."""
    given = pairs()
    embedder = named_embedder("hashed", given)
    design = FeatureMap(embedder)

    def features() -> tuple[np.ndarray, np.ndarray]:
        ours = asyncio.run(design.features([(p.prompt, p.chosen) for p in given]))
        theirs = asyncio.run(design.features([(p.prompt, p.rejected) for p in given]))
        signs = np.where(np.arange(len(given)) % 2, 1.0, -1.0)
        return (ours - theirs) * signs[:, None], signs

    def peer() -> None:
        x, y = features()
        scale = np.sqrt((x**2).mean(axis=0))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            LogisticRegressionCV(cv=5, fit_intercept=False, max_iter=500).fit(
                x / np.where(scale > 0, scale, 1), y
            )

    return [
        side_by_side(
            "learn a reward",
            f"{PAIRS:,} pairs, {len(design.blocks)} features",
            lambda: asyncio.run(learn_reward(given, embedder)),
            peer,
            peer="scikit-learn",
            runs=3,
            note="ours also finds ties, a calibration on held-out prompts, and the uncertainty",
        )
    ]
