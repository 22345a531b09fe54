"""Reward learning, compared with scikit-learn's logistic regression on the same features."""

from __future__ import annotations

import asyncio
import warnings

import numpy as np
from sklearn.linear_model import LogisticRegressionCV

from backtalk.embedders.registry import embedder_for_pairs
from backtalk.feedback import as_prompt
from backtalk.feedback.views import Pair
from backtalk.rewards import learn_reward
from backtalk.rewards.feature_map import FeatureMap
from benchmarks.measure import BenchmarkResult, side_by_side

PAIRS = 2_000
WORDS = ["thanks", "sorry", "maybe", "no", "never", "please", "today", "refund", "order", "kind"]


def make_pairs() -> list[Pair]:
    """Return pairs of responses of twelve words, with winners by a Bradley-Terry model of words."""
    rng = np.random.default_rng(0)
    word_scores = rng.normal(size=len(WORDS))
    results = []
    while len(results) < PAIRS:
        a, b = rng.integers(len(WORDS), size=(2, 12))
        margin = word_scores[a].sum() - word_scores[b].sum()
        if rng.random() > 1 / (1 + np.exp(-margin)):
            a, b = b, a
        chosen, rejected = (" ".join(WORDS[i] for i in words) for words in (a, b))
        prompt = as_prompt(f"question {len(results) % 500}")
        results.append(Pair(prompt=prompt, chosen=chosen, rejected=rejected))
    return results


def measure() -> list[BenchmarkResult]:
    """Measure reward learning; we choose regularisation by the evidence, the peer by 5 folds."""
    pairs = make_pairs()
    embedder = embedder_for_pairs("hashed", pairs)
    feature_map = FeatureMap(embedder)

    def features() -> tuple[np.ndarray, np.ndarray]:
        chosen = asyncio.run(feature_map.features([(p.prompt, p.chosen) for p in pairs]))
        rejected = asyncio.run(feature_map.features([(p.prompt, p.rejected) for p in pairs]))
        signs = np.where(np.arange(len(pairs)) % 2, 1.0, -1.0)
        return (chosen - rejected) * signs[:, None], signs

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
            f"{PAIRS:,} pairs, {len(feature_map.blocks)} features",
            lambda: asyncio.run(learn_reward(pairs, embedder)),
            peer,
            peer="scikit-learn",
            runs=3,
            note="ours also fits ties, a calibration on held-out prompts, and uncertainties",
        )
    ]
