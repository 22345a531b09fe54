"""The Bradley-Terry reward model: learned from pairs, calibrated, and aware of what it knows."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load, save
from threadpoolctl import threadpool_limits

from backtalk.embedders.io import embedder_from_files, embedder_to_files
from backtalk.errors import BacktalkError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.views import Pair
from backtalk.models.protocol import Embedder
from backtalk.rewards.feature_map import BLOCKS, FeatureMap
from backtalk.rewards.protocol import Answer, Scores
from backtalk.stats.paired import davidson
from backtalk.stats.paired import bradley_terry_regression as bradley_terry

log = logging.getLogger(__name__)
Array = NDArray[np.float64]

KIND = "bradley-terry"


@dataclass(frozen=True)
class BradleyTerryReward:
    """A reward that is linear in embeddings and simple features of an answer.

    Made by :func:`learn_reward`.
    """

    design: FeatureMap
    center: Array
    """What is subtracted from the features: their mean over the training answers."""
    scale: Array
    """What they are divided by: the spread of their differences; infinite where there was none."""
    weights: Array
    covariance: Array
    temperature: float
    """The factor that makes margins honest, found on pairs that the weights were not fitted to."""
    nu: float
    """The tie parameter that goes with it."""
    reliability: Mapping[str, float]
    """What each annotator's comparisons were found to be worth: around 1, 0 for chance."""
    pairs: int
    """How many pairs it was learned from."""

    @property
    def name(self) -> str:
        """What to call it in reports."""
        return f"Bradley-Terry on {self.pairs} pairs"

    @property
    def bounds(self) -> None:
        """Log-odds have no ends."""
        return None

    async def score(self, answers: Sequence[Answer]) -> Scores:
        """Return the score of each answer, in calibrated log-odds, and its standard deviation.

        The difference of two scores is the log-odds that the first is preferred, ties apart.
        """
        features = await self._features(answers)
        mean = features @ self.weights
        variance = ((features @ self.covariance) * features).sum(axis=1)
        return Scores(self.temperature * mean, self.temperature * np.sqrt(np.maximum(variance, 0)))

    async def compare(self, a: Sequence[Answer], b: Sequence[Answer]) -> Array:
        """Return the probabilities that a is preferred, that b is, and of a tie, shape ``(n, 3)``.

        The uncertainty of the weights moves them towards even: MacKay (1992), "The evidence
        framework applied to classification networks", equation 4.4.
        """
        difference = await self._features(a) - await self._features(b)
        margin = self.temperature * (difference @ self.weights)
        variance = ((difference @ self.covariance) * difference).sum(axis=1)
        moderated = margin / np.sqrt(1 + np.pi / 8 * self.temperature**2 * np.maximum(variance, 0))
        return davidson.probabilities(moderated, self.nu)

    async def _features(self, answers: Sequence[Answer]) -> Array:
        return (await self.design.features(answers) - self.center) / self.scale

    def to_files(self) -> dict[str, bytes]:
        """Return the reward as plain JSON and safetensors, for an artifact."""
        described = {
            "kind": KIND,
            "temperature": self.temperature,
            "nu": self.nu,
            "reliability": dict(self.reliability),
            "pairs": self.pairs,
        }
        arrays = {
            "center": self.center.astype(np.float32),
            "scale": self.scale.astype(np.float32),
            "weights": self.weights.astype(np.float32),
            "covariance": self.covariance.astype(np.float32),
        }
        embedder = embedder_to_files(self.design.embedder)
        return {
            "reward.json": json.dumps(described, indent=1, sort_keys=True).encode(),
            "reward.safetensors": save(arrays),
            **{f"embedder/{name}": content for name, content in embedder.items()},
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> BradleyTerryReward:
        """Return the reward that ``to_files`` wrote."""
        described: dict[str, Any] = json.loads(files["reward.json"])
        arrays = {
            name: value.astype(np.float64)
            for name, value in load(files["reward.safetensors"]).items()
        }
        prefix = "embedder/"
        embedder = embedder_from_files(
            {name.removeprefix(prefix): f for name, f in files.items() if name.startswith(prefix)}
        )
        described.pop("kind")
        return cls(
            design=FeatureMap(embedder),
            center=arrays["center"],
            scale=arrays["scale"],
            weights=arrays["weights"],
            covariance=arrays["covariance"],
            **described,
        )


@dataclass(frozen=True)
class Learned:
    """A reward with what was seen while it was learned."""

    reward: BradleyTerryReward
    precision: Mapping[str, float]
    """The prior precision that the evidence gave each block of features."""
    margin: Array
    """The margin of each pair, uncalibrated, by weights fitted to the pairs of other prompts."""
    outcomes: Array
    """What came out of each pair: chosen, rejected, tie; shape ``(n, 3)``."""
    prompts: tuple[str, ...]
    """The key of each pair's prompt."""
    left_out: int
    """How many pairs were not used because there were more than ``max_pairs``."""


async def learn_reward(
    pairs: Sequence[Pair],
    embedder: Embedder,
    *,
    seed: int = 0,
    folds: int = 5,
    max_pairs: int = 20_000,
) -> Learned:
    """Learn a reward from pairs.

    Parameters
    ----------
    pairs : sequence of Pair
        Soft preferences count by their probability, ties by Davidson's model, each pair by its
        weight and by the reliability that its annotator is found to have. Where it is known which
        answer was shown first, the pull of being first is estimated beside the reward and kept
        out of it.
    embedder : Embedder
        What the answers are embedded with.
    seed : int, default 0
        Decides the folds, and which pairs are used where there are too many.
    folds : int, default 5
        The margins that the calibration is fitted to come from so many fits, each to the pairs of
        other prompts.
    max_pairs : int, default 20000
        At most so many pairs, drawn at random, are used.

    Raises
    ------
    BacktalkError
        If there is no pair with a winner.
    """
    if not any(not pair.tie for pair in pairs):
        raise BacktalkError(
            f"No reward can be learned from {len(pairs)} pairs of which none has a winner",
            "Collect preferences, or ratings, rankings, edits or outcomes that differ",
        )
    rng = np.random.default_rng(seed)
    given = len(pairs)
    if given > max_pairs:
        log.warning("using %d of %d pairs, drawn at random", max_pairs, given)
        kept = np.sort(rng.choice(given, max_pairs, replace=False))
        pairs = [pairs[i] for i in kept]
    design = FeatureMap(embedder)
    chosen = await design.features([(pair.prompt, pair.chosen) for pair in pairs])
    rejected = await design.features([(pair.prompt, pair.rejected) for pair in pairs])
    differences = chosen - rejected
    center = (chosen.mean(axis=0) + rejected.mean(axis=0)) / 2
    spread = np.sqrt((differences**2).mean(axis=0))
    scale = np.where(spread > 1e-9 * spread.max(initial=0), spread, np.inf)
    data = _Comparisons.of(pairs, differences / scale, design.blocks)

    groups = [prompt_key(pair.prompt) for pair in pairs]
    # For matrices of this size more threads gain little, and on a machine that is busy they wait
    # for one another: seven minutes were measured in the place of one.
    with threadpool_limits(limits=1, user_api="blas"):
        whole = data.fit(np.arange(len(pairs)))
        margin = _held_out_margins(data, groups, whole, folds, rng)
    temperature, nu = (
        (1.0, whole.nu) if margin is None else davidson.fit_temperature(margin, data.outcomes)
    )
    features = len(design.blocks)
    reward = BradleyTerryReward(
        design=design,
        center=center,
        scale=scale,
        weights=whole.weights[:features],
        covariance=whole.covariance[:features, :features],
        temperature=temperature,
        nu=nu,
        reliability=dict(zip(data.names, whole.reliability.tolist(), strict=True)),
        pairs=len(pairs),
    )
    return Learned(
        reward=reward,
        precision=dict(zip(BLOCKS, whole.precision.tolist(), strict=False)),
        margin=np.full(len(pairs), np.nan) if margin is None else margin,
        outcomes=data.outcomes,
        prompts=tuple(groups),
        left_out=given - len(pairs),
    )


@dataclass(frozen=True)
class _Comparisons:
    """Pairs as arrays; the last column says which was shown first, where that is known."""

    differences: Array
    outcomes: Array
    blocks: NDArray[np.intp]
    annotators: NDArray[np.intp]
    names: tuple[str, ...]
    nuisance: int

    @classmethod
    def of(
        cls, pairs: Sequence[Pair], differences: Array, blocks: NDArray[np.intp]
    ) -> _Comparisons:
        shown = np.array(
            [{"chosen": 1.0, "rejected": -1.0, None: 0.0}[pair.first] for pair in pairs]
        )
        nuisance = int(np.any(shown))
        if nuisance:
            differences = np.column_stack([differences, shown])
            blocks = np.append(blocks, blocks.max() + 1)
        outcomes = np.array(
            [
                (0.0, 0.0, pair.weight)
                if pair.tie
                else (pair.weight * pair.probability, pair.weight * (1 - pair.probability), 0.0)
                for pair in pairs
            ]
        )
        names, annotators = np.unique([pair.annotator.id for pair in pairs], return_inverse=True)
        return cls(differences, outcomes, blocks, annotators, tuple(names.tolist()), nuisance)

    def fit(
        self, rows: NDArray[np.intp], start: bradley_terry.RegressionFit | None = None
    ) -> bradley_terry.RegressionFit:
        """Fit some of the rows; from a start, with its precision."""
        return bradley_terry.fit_regression(
            self.differences[rows],
            self.outcomes[rows],
            blocks=self.blocks,
            annotators=self.annotators[rows] if len(self.names) > 1 else None,
            precision=None if start is None else start.precision,
            start=start,
        )

    def margins(self, rows: NDArray[np.intp], weights: Array) -> Array:
        features = self.differences.shape[1] - self.nuisance
        return np.asarray(self.differences[rows, :features] @ weights[:features])


def _held_out_margins(
    data: _Comparisons,
    groups: Sequence[str],
    whole: bradley_terry.RegressionFit,
    folds: int,
    rng: np.random.Generator,
) -> Array | None:
    """Return each pair's margin by a fit to other prompts' pairs; ``None`` for a lone prompt."""
    names, group = np.unique(groups, return_inverse=True)
    folds = min(folds, len(names))
    if folds < 2:
        return None
    fold = rng.permutation(np.arange(len(names)) % folds)[group]
    margin = np.empty(len(groups))
    for k in range(folds):
        held_out = np.flatnonzero(fold == k)
        fitted = data.fit(np.flatnonzero(fold != k), whole)
        margin[held_out] = data.margins(held_out, fitted.weights)
    return margin
