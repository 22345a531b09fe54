"""Bradley-Terry reward model: learned from pairs, calibrated, with uncertainties."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from safetensors.numpy import load, save
from threadpoolctl import threadpool_limits

from backtalk.artifacts import artifact_id
from backtalk.embedders.io import embedder_from_files, embedder_to_files
from backtalk.errors import BacktalkError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.snapshot import Snapshot
from backtalk.feedback.views import Pair, ScoreView
from backtalk.models.protocol import Embedder, PromptResponse
from backtalk.rewards.artifact import REWARD_FILE, content_digest, read_fields, reward_label
from backtalk.rewards.feature_map import BLOCKS, FeatureMap
from backtalk.rewards.judge_info import JudgeInfo
from backtalk.rewards.protocol import Scores
from backtalk.rewards.reward_data import RewardData
from backtalk.stats.paired import davidson
from backtalk.stats.validation import Floats

log = logging.getLogger(__name__)

_View = TypeVar("_View", Pair, ScoreView)

KIND = "bradley-terry"
"""Name of the kind in ``reward.json``."""


@dataclass(frozen=True)
class BradleyTerryReward:
    """Reward that is linear in embeddings and simple features of a response.

    Made by :func:`learn_reward`. There are ``d`` features.
    """

    feature_map: FeatureMap
    center: Floats
    """Mean of the features over the training responses, which is subtracted; shape ``(d,)``."""
    scale: Floats
    """Divisor of the features: root mean square of their differences in the training pairs,
    infinite for a constant feature; shape ``(d,)``."""
    weights: Floats
    """Posterior mean of the weights, shape ``(d,)``."""
    covariance: Floats
    """Posterior covariance of the weights, shape ``(d, d)``."""
    calibration_slope: float
    """Factor of the margins that makes them log-odds, fitted on pairs that the weights were not
    fitted to; see :func:`~backtalk.stats.paired.davidson.fit_calibration`."""
    nu: float
    """Davidson's tie parameter, fitted together with the slope."""
    reliability: Mapping[str, float]
    """Estimated reliability of each annotator: around 1, 0 for random answers."""
    pairs: int
    """Number of training pairs."""
    points: int = 0
    """Number of single responses with a judgement of their own, such as a thumb."""
    concordance: float | None = None
    """Probability that of two single responses to other prompts than those of the fit, one good and
    one bad, the good one has the higher score; ``None`` if unknown."""
    prompts: int = 0
    """Number of prompts of the training data; 0 if unknown."""
    decided: int = 0
    """Number of training pairs with a winner that were predicted by weights fitted to the pairs of
    other prompts; 0 if there is only one prompt."""
    correct: int = 0
    """Number of those that were predicted correctly."""
    title: str | None = None
    """Name of the user's, under which the reward is found."""
    fitted_on: Snapshot | None = None
    """Feedback that the reward was fitted on; ``None`` if unknown."""
    artifact: str | None = None
    """Id of the artifact that the reward was read from."""

    @property
    def name(self) -> str:
        """Name in reports."""
        return reward_label(self.title, self.pairs, self.points)

    @cached_property
    def info(self) -> JudgeInfo:
        """Description as a judge."""
        return JudgeInfo(
            name=self.name,
            kind="reward",
            artifact=self.artifact,
            digest=content_digest(self.to_files()),
            fitted_on=self.fitted_on,
        )

    @property
    def separates(self) -> bool:
        """True if every pair with a winner was predicted correctly by a fit to other prompts."""
        return 0 < self.decided == self.correct

    @property
    def remark(self) -> str | None:
        """Sentence for the user if the reward separates its pairs perfectly, ``None`` if not.

        The lower 95 % bound of the accuracy is ``0.05 ** (1 / n)`` for ``n`` prompts without an
        error: Clopper and Pearson (1934), "The use of confidence or fiducial limits illustrated in
        the case of the binomial".
        """
        if not self.separates:
            return None
        bound = 0.05 ** (1 / max(self.prompts, 1))
        return (
            f"The reward separates its {self.decided:,} pairs perfectly. That is no proof: by "
            f"{self.prompts:,} {'prompt' if self.prompts == 1 else 'prompts'}, its accuracy on new "
            f"prompts may be {100 * bound:.0f} %. Its scores are shrunk accordingly"
        )

    @property
    def bounds(self) -> None:
        """``None``, as log-odds are unbounded."""
        return None

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return calibrated log-odds and their standard deviations, for each response.

        The difference of two scores is the log-odds that the first response is preferred, given
        that they do not tie.
        """
        features = await self._features(answers)
        mean = features @ self.weights
        variance = ((features @ self.covariance) * features).sum(axis=1)
        slope = self.calibration_slope
        return Scores(slope * mean, slope * np.sqrt(np.maximum(variance, 0)))

    async def compare(self, a: Sequence[PromptResponse], b: Sequence[PromptResponse]) -> Floats:
        """Return the probabilities that a is preferred, that b is, and of a tie, shape ``(n, 3)``.

        The uncertainty of the weights moves the probabilities towards even: MacKay (1992), "The
        evidence framework applied to classification networks", equation 4.4.
        """
        difference = await self._features(a) - await self._features(b)
        slope = self.calibration_slope
        margin = slope * (difference @ self.weights)
        variance = ((difference @ self.covariance) * difference).sum(axis=1)
        moderated = margin / np.sqrt(1 + np.pi / 8 * slope**2 * np.maximum(variance, 0))
        return davidson.probabilities(moderated, self.nu)

    async def win_rate_std(
        self,
        a: Sequence[PromptResponse],
        b: Sequence[PromptResponse],
        *,
        draws: int = 400,
        seed: int = 0,
    ) -> float:
        """Return the standard deviation of a's mean win rate over the posterior of the weights.

        It is the part of the error of a win rate that more prompts do not reduce: all verdicts come
        from the same fit to a limited number of judgements.

        Parameters
        ----------
        a, b : sequence of PromptResponse
            Responses to the same prompts.
        draws : int, default 400
            Number of draws of the weights.
        seed : int, default 0
            Random seed of the draws.
        """
        difference = await self._features(a) - await self._features(b)
        rng = np.random.default_rng(seed)
        weights = rng.multivariate_normal(
            self.weights, self.covariance, size=draws, method="eigh", check_valid="ignore"
        )
        margin = self.calibration_slope * (difference @ weights.T)
        verdicts = davidson.probabilities(margin.ravel(), self.nu)
        preferences = (verdicts[:, 0] + verdicts[:, 2] / 2).reshape(margin.shape)
        return float(preferences.mean(axis=0).std())

    async def _features(self, answers: Sequence[PromptResponse]) -> Floats:
        return (await self.feature_map.features(answers) - self.center) / self.scale

    def to_files(self) -> dict[str, bytes]:
        """Return the reward as JSON and safetensors, for an artifact."""
        fields: dict[str, Any] = {
            "kind": KIND,
            **{name: getattr(self, name) for name in _NUMBERS},
            "reliability": dict(self.reliability),
        }
        if self.title is not None:
            fields["name"] = self.title
        if self.fitted_on is not None:
            fields["fitted_on"] = self.fitted_on.to_dict()
        arrays = {
            "center": self.center.astype(np.float32),
            "scale": self.scale.astype(np.float32),
            "weights": self.weights.astype(np.float32),
            "covariance": self.covariance.astype(np.float32),
        }
        embedder = embedder_to_files(self.feature_map.embedder)
        return {
            REWARD_FILE: json.dumps(fields, indent=1, sort_keys=True).encode(),
            "reward.safetensors": save(arrays),
            **{f"embedder/{name}": content for name, content in embedder.items()},
        }

    @classmethod
    def from_files(cls, files: Mapping[str, bytes]) -> BradleyTerryReward:
        """Return the reward that :meth:`to_files` wrote."""
        fields = read_fields(files)
        snapshot = fields.get("fitted_on")
        arrays = {
            name: value.astype(np.float64)
            for name, value in load(files["reward.safetensors"]).items()
        }
        prefix = "embedder/"
        embedder = embedder_from_files(
            {name.removeprefix(prefix): f for name, f in files.items() if name.startswith(prefix)}
        )
        # The slope was called a temperature before version 0.2, although it multiplies.
        slope = fields.get("calibration_slope", fields.get("temperature"))
        numbers = {name: fields[name] for name in _NUMBERS if name in fields}
        return cls(
            feature_map=FeatureMap(embedder),
            center=arrays["center"],
            scale=arrays["scale"],
            weights=arrays["weights"],
            covariance=arrays["covariance"],
            reliability=fields["reliability"],
            title=fields.get("name"),
            fitted_on=None if snapshot is None else Snapshot.model_validate(snapshot),
            artifact=artifact_id(files),
            **{**numbers, "calibration_slope": slope},
        )


_NUMBERS = (
    "calibration_slope",
    "nu",
    "pairs",
    "points",
    "concordance",
    "prompts",
    "decided",
    "correct",
)
"""Fields of a reward that are numbers."""


@dataclass(frozen=True)
class RewardFit:
    """Reward with diagnostics of its fit."""

    reward: BradleyTerryReward
    precision: Mapping[str, float]
    """Prior precision of each block of features, by the evidence."""
    margin: Floats
    """Uncalibrated margin of each pair, then of each single response, by weights fitted to other
    prompts; shape ``(n,)``, NaN if there is only one prompt."""
    outcomes: Floats
    """Outcome weights for chosen (or good), rejected (or bad) and tie, shape ``(n, 3)``."""
    prompts: tuple[str, ...]
    """Key of the prompt of each pair and single response."""
    num_dropped: int
    """Number of pairs and single responses beyond ``max_pairs``, which were not used."""


async def learn_reward(
    pairs: Sequence[Pair],
    embedder: Embedder,
    *,
    points: Sequence[ScoreView] = (),
    seed: int = 0,
    folds: int = 5,
    max_pairs: int = 20_000,
    fitted_on: Snapshot | None = None,
    title: str | None = None,
) -> RewardFit:
    """Learn a reward from pairs, from single responses with judgements, or from both.

    The likelihoods of both add up; see :mod:`~backtalk.rewards.reward_data`.

    Parameters
    ----------
    pairs : sequence of Pair
        Pairs of responses. Soft preferences count by their probability, ties by Davidson's model,
        each pair by its weight and by the estimated reliability of its annotator. If the order of
        presentation is known, the effect of being shown first is estimated as a separate
        coefficient, which is not part of the reward. Pairs of equal texts are left out: they differ
        in tool calls or other messages, which a reward does not see.
    embedder : Embedder
        Embedder of prompts and responses.
    points : sequence of ScoreView, default ()
        Single responses with a score in [0, 1], the probability of a good judgement: 1 for a thumb
        up, 0 for a thumb down.
    seed : int, default 0
        Random seed of the folds, and of the subsample if there are more than ``max_pairs`` pairs.
    folds : int, default 5
        Number of folds of prompts. The calibration uses margins of pairs that were held out.
    max_pairs : int, default 20000
        Maximum number of pairs, and of single responses; random subsamples are used if there are
        more.
    fitted_on : Snapshot, optional
        Feedback that the pairs are from, for the record.
    title : str, optional
        Name of the reward.

    Raises
    ------
    BacktalkError
        If no pair has a winner, and the single responses are not both good and bad.
    """
    differ = [pair for pair in pairs if pair.tie or pair.chosen != pair.rejected]
    if len(differ) < len(pairs):
        log.info("left out %d pairs of equal texts", len(pairs) - len(differ))
        pairs = differ
    scores = [point.score for point in points]
    if all(pair.tie for pair in pairs) and not min(scores, default=1) < 0.5 < max(
        scores, default=0
    ):
        raise BacktalkError(
            f"No reward can be learned from {len(pairs)} pairs of which none has a winner, and "
            f"{len(points)} judgements of single answers that are not both good and bad",
            "Collect preferences, or ratings, rankings, labels, edits or outcomes that differ",
        )
    rng = np.random.default_rng(seed)
    num_views = len(pairs) + len(points)
    pairs, points = _draw(pairs, max_pairs, rng), _draw(points, max_pairs, rng)
    if len(pairs) + len(points) < num_views:
        log.warning("using %d of %d judgements", len(pairs) + len(points), num_views)
    feature_map = FeatureMap(embedder)
    chosen = await feature_map.features([(pair.prompt, pair.chosen) for pair in pairs])
    rejected = await feature_map.features([(pair.prompt, pair.rejected) for pair in pairs])
    single = await feature_map.features([(point.prompt, point.completion) for point in points])
    center = np.vstack([chosen, rejected, single]).mean(axis=0)
    rows, single = chosen - rejected, single - center
    spread = np.sqrt((np.vstack([rows, single]) ** 2).mean(axis=0))
    scale = np.where(spread > 1e-9 * spread.max(initial=0), spread, np.inf)
    data = RewardData.from_views(pairs, rows / scale, points, single / scale, feature_map.blocks)

    groups = [prompt_key(view.prompt) for view in (*pairs, *points)]
    # At this matrix size more BLAS threads gain little, and on a busy machine they wait for one
    # another: a fit took seven minutes instead of one.
    with threadpool_limits(limits=1, user_api="blas"):
        full_fit = data.fit(np.arange(len(groups)))
        margin = data.held_out_margins(groups, full_fit, folds, rng)
    slope, nu = (1.0, full_fit.nu) if margin is None else data.calibration(margin)
    decided, correct = (
        (0, 0)
        if margin is None
        else _count_correct(margin[: len(pairs)], data.outcomes[: len(pairs)])
    )
    features = len(feature_map.blocks)
    reward = BradleyTerryReward(
        feature_map=feature_map,
        center=center,
        scale=scale,
        weights=full_fit.weights[:features],
        covariance=full_fit.covariance[:features, :features],
        calibration_slope=slope,
        nu=nu,
        reliability=dict(zip(data.names, full_fit.reliability.tolist(), strict=True)),
        pairs=len(pairs),
        points=len(points),
        concordance=None if margin is None else data.concordance(margin),
        prompts=len(set(groups)),
        decided=decided,
        correct=correct,
        title=title,
        fitted_on=None if fitted_on is None else fitted_on.of_feedback_only(),
    )
    return RewardFit(
        reward=reward,
        precision=dict(zip(BLOCKS, full_fit.precision.tolist(), strict=False)),
        margin=np.full(len(groups), np.nan) if margin is None else margin,
        outcomes=data.outcomes,
        prompts=tuple(groups),
        num_dropped=num_views - len(groups),
    )


def _draw(views: Sequence[_View], count: int, rng: np.random.Generator) -> Sequence[_View]:
    """Return at most that many views, drawn at random, in their order."""
    if len(views) <= count:
        return views
    return [views[i] for i in np.sort(rng.choice(len(views), count, replace=False))]


def _count_correct(margin: Floats, outcomes: Floats) -> tuple[int, int]:
    """Return the number of pairs with a winner, and of those with a margin of the right sign."""
    lead = outcomes[:, 0] - outcomes[:, 1]
    return int(np.count_nonzero(lead)), int(np.count_nonzero(lead * margin > 0))
