"""Rewards learned from a training set: from pairs, and from judgements of single responses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from backtalk.feedback import prompt_text
from backtalk.feedback.case import prompt_key
from backtalk.feedback.views import LabelView, Pair, ScoreView
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.training_set import Across, TrainingSet

if TYPE_CHECKING:
    from backtalk.embedders.registry import EmbedderName
    from backtalk.rewards import RewardFit


@dataclass(frozen=True)
class RewardFeedback:
    """Pairs, and scores of single responses that no pair is made of."""

    pairs: list[Pair]
    points: list[ScoreView]

    @property
    def is_enough(self) -> bool:
        """True if a pair has a winner, or if there is both a good and a bad single response.

        Preferences of one pair that cancel each other have no winner.
        """
        return has_winner(self.pairs) or (
            any(point.score > 0.5 for point in self.points)
            and any(point.score < 0.5 for point in self.points)
        )

    @property
    def texts(self) -> list[str]:
        """Texts of the responses, and of the last message of each prompt."""
        return [
            text
            for pair in self.pairs
            for text in (pair.chosen, pair.rejected, prompt_text(pair.prompt[-1:]))
        ] + [
            text
            for point in self.points
            for text in (point.completion, prompt_text(point.prompt[-1:]))
        ]


def has_winner(pairs: Sequence[Pair]) -> bool:
    """Return whether one of two responses is preferred to the other, on balance."""
    leads: dict[tuple[str, str, str], float] = defaultdict(float)
    for pair in pairs:
        if pair.tie or pair.chosen == pair.rejected:
            continue
        lead = pair.weight * (2 * pair.probability - 1)
        first, second = sorted((pair.chosen, pair.rejected))
        leads[prompt_key(pair.prompt), first, second] += lead if pair.chosen == first else -lead
    return any(abs(lead) > _TOLERANCE for lead in leads.values())


_TOLERANCE = 1e-9


def reward_feedback(
    feedback: TrainingSet,
    *,
    across: Across = "prompt",
    progress: Callable[[int], None] | None = None,
) -> RewardFeedback:
    """Return the feedback that a reward is learned from.

    A judgement that is part of a pair does not count again as that of a single response.

    Parameters
    ----------
    feedback : TrainingSet
        Feedback to convert.
    across : {"prompt", "interaction"}, default "prompt"
        As for :meth:`~backtalk.learn.training_set.TrainingSet.views`.
    progress : Callable[[int], None], optional
        Function called with the number of cases read so far.
    """
    pairs = feedback.views(Pair, across=across, progress=progress)
    used = {id_ for pair in pairs for id_ in pair.feedback}
    points = [*feedback.views(ScoreView), *_checked_steps(feedback)]
    return RewardFeedback(pairs, [point for point in points if used.isdisjoint(point.feedback)])


def _checked_steps(feedback: TrainingSet) -> list[ScoreView]:
    labels = feedback.by_kind(LabelView).get("steps", [])
    return [
        ScoreView(**{**label.model_dump(exclude={"good"}), "score": float(label.good)})
        for label in labels
    ]


async def fit_reward(
    data: RewardFeedback,
    feedback: TrainingSet,
    embedder: EmbedderName,
    *,
    seed: int,
    title: str | None = None,
) -> RewardFit:
    """Fit a reward to feedback.

    Parameters
    ----------
    data : RewardFeedback
        Pairs and single responses.
    feedback : TrainingSet
        Training set that they are from, for the record.
    embedder : {"hashed", "sentence"}
        Name of the embedder, which is fitted to the texts.
    seed : int
        Random seed of the folds of the calibration.
    title : str, optional
        Name of the reward.

    Raises
    ------
    BacktalkError
        If no pair has a winner, and the single responses are not both good and bad.
    """
    from backtalk.embedders.registry import REWARD_DIMENSION, get_embedder  # noqa: PLC0415
    from backtalk.rewards import learn_reward  # noqa: PLC0415 - slow to import

    return await learn_reward(
        data.pairs,
        get_embedder(embedder, data.texts, dimension=REWARD_DIMENSION),
        points=data.points,
        seed=seed,
        fitted_on=feedback.snapshot,
        title=title,
    )


BETTER_AND_WORSE = FeedbackRequirement(
    "both good and bad answers, or one of two answers that is better",
    lambda feedback: reward_feedback(feedback).is_enough,
)
