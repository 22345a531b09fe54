"""Signals for prompt optimisers, made from whatever feedback a store holds.

No metric function is needed. Each part judges new answers in its own way, and a signal is their
weighted mean: a reward learned from pairs and judgements, closeness to what people made of an
answer, criteria of critiques, and a judge by name.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from backtalk.errors import BacktalkError
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import CritiqueView
from backtalk.learn.context import MethodContext
from backtalk.learn.lazy_modules import np
from backtalk.learn.prompt.closeness import Closeness, corrections
from backtalk.learn.prompt.criteria import criteria_part
from backtalk.learn.prompt.known_feedback import KnownFeedback
from backtalk.learn.prompt.protocol import TextFeedback
from backtalk.learn.prompt.refinements import only_answers, refine
from backtalk.learn.reward_feedback import RewardFeedback, fit_reward, reward_feedback
from backtalk.learn.training_set import TrainingSet
from backtalk.rewards.judge_info import JudgeInfo

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from backtalk.embedders.registry import EmbedderName
    from backtalk.rewards import Reward

MAX_ACCURACY = 0.95
"""Accuracy above which a part gets no more weight: few judgements do not show more."""


EDIT_ACCURACY = 0.51
"""Maximum accuracy of a reward learned from edits. It tells edited texts from answers nearly
always, by what all edits have in common, which says hardly anything about two answers. Where a
correction is known, closeness to it decides."""


class SignalPart(Protocol):
    """Part of a signal."""

    name: str

    @property
    def accuracy(self) -> float:
        """Estimated probability that the part ranks two answers as people would, in [0.5, 1]."""
        ...

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> NDArray[np.float64]:
        """Return the score of each answer, in [0, 1]; NaN where the part cannot tell."""
        ...


@dataclass
class RewardPart:
    """Learned reward or judge as a part: the probability that an answer is good."""

    reward: Reward
    accuracy: float
    name: str = "reward"

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> NDArray[np.float64]:
        """Return the score of each answer, in [0, 1]."""
        values = (await self.reward.score(list(zip(prompts, answers, strict=True)))).mean
        if self.reward.bounds is None:
            return np.asarray(1 / (1 + np.exp(-np.clip(values, -40, 40))))
        low, high = self.reward.bounds
        return np.clip((np.asarray(values) - low) / (high - low), 0.0, 1.0)


@dataclass
class FeedbackSignal:
    """Weighted mean of the parts that a store's feedback allows.

    The weight of a part is the log-odds of its accuracy, by which a weighted vote of independent
    judges errs least: Nitzan and Paroush (1982), "Optimal decision rules in uncertain dichotomous
    choice situations". A part that cannot tell about an answer is left out there.
    """

    parts: Sequence[SignalPart]
    known: KnownFeedback
    name: str = "feedback"

    @property
    def weights(self) -> dict[str, float]:
        """Weight of each part, which sum to 1."""
        accuracies = (min(max(part.accuracy, 0.51), MAX_ACCURACY) for part in self.parts)
        logs = [math.log(accuracy / (1 - accuracy)) for accuracy in accuracies]
        return {part.name: log / sum(logs) for part, log in zip(self.parts, logs, strict=True)}

    async def score(self, prompts: Sequence[Prompt], answers: Sequence[str]) -> NDArray[np.float64]:
        """Return the score of each answer, in [0, 1]."""
        if not prompts:
            return np.empty(0)
        rows = np.array([await part.score(prompts, answers) for part in self.parts])
        weights = np.array(list(self.weights.values()))[:, None] * ~np.isnan(rows)
        total = weights.sum(axis=0)
        mean = (weights * np.nan_to_num(rows)).sum(axis=0) / np.where(total > 0, total, 1)
        return np.asarray(np.where(total > 0, mean, 0.5))

    async def explain(
        self, prompts: Sequence[Prompt], answers: Sequence[str]
    ) -> list[TextFeedback]:
        """Return what people said about the answers, or about the most similar known ones."""
        return [self.known.about(p, a) for p, a in zip(prompts, answers, strict=True)]


def has_signal(feedback: TrainingSet) -> bool:
    """Return whether feedback tells better answers from worse, or corrects or criticises some."""
    return (
        reward_feedback(feedback).is_enough
        or bool(corrections(feedback))
        or bool(feedback.views(CritiqueView))
    )


async def make_signal(
    context: MethodContext,
    *,
    judge: str | None = None,
    only_judge: bool = False,
    embedder: EmbedderName = "hashed",
    refine_critiques: bool | None = None,
) -> FeedbackSignal:
    """Return the signal that the feedback of a training set allows.

    What it optimises is recorded in ``context.rewards``, so that the promotion gate refuses it as
    evidence.

    Parameters
    ----------
    context : MethodContext
        Feedback, policy and run.
    judge : str, optional
        Name of a judge to use beside the feedback, or alone where no feedback judges answers.
    only_judge : bool, default False
        If true, the judge alone scores answers; the words of the feedback stay known.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of learned rewards.
    refine_critiques : bool, optional
        If true, the policy's model refines criticised answers, one call each, and the refined ones
        count as corrections. Default: only if there is no other judgement than critiques.

    Raises
    ------
    BacktalkError
        If nothing tells better answers from worse, and no judge is named.
    """
    known = KnownFeedback.of(context.feedback)
    data = reward_feedback(context.feedback)
    if refine_critiques or (refine_critiques is None and not data.is_enough):
        known = await _refined(context, known)
    # A refined answer is better, not good: it mends what one critique names. It makes a pair, and
    # answers are not compared with it.
    refined = [one.pair for one in known.refinements]
    texts = corrections(context.feedback)
    parts: list[SignalPart] = []
    if judge is not None:
        parts.append(RewardPart(await context.judge(judge, embedder), MAX_ACCURACY, name=judge))
        if only_judge:
            return FeedbackSignal(parts, known)
    data = RewardFeedback([*data.pairs, *refined], data.points)
    if (reward := await _reward_part(context, data, texts, embedder)) is not None:
        parts.append(reward)
    if texts:
        parts.append(Closeness(texts))
        context.rewards.append(JudgeInfo(name="closeness to corrections"))
    if not parts and (criteria := await criteria_part(context, known, embedder)) is not None:
        parts.append(criteria)
    if not parts:
        left_out, mend = context.feedback.explain_left_out()
        raise BacktalkError(
            "Nothing in the feedback tells better answers from worse"
            + (f"; left out: {left_out}" if left_out else ""),
            mend
            or "Collect preferences, ratings, edits or critiques, or name a judge: "
            "-o judge=llm:MODEL",
        )
    return FeedbackSignal(parts, known)


async def _refined(context: MethodContext, known: KnownFeedback) -> KnownFeedback:
    """Return the feedback with the answers that a model refined by critiques, if it may be used."""
    views = [view for of_prompt in known.critiques.values() for view in of_prompt]
    if not (views and context.may_call_models) or only_answers(context.policy):
        return known
    return known.with_refined(await refine(context, views))


async def _reward_part(
    context: MethodContext,
    data: RewardFeedback,
    texts: Mapping[str, Sequence[str]],
    embedder: EmbedderName,
) -> RewardPart | None:
    """Return the reward learned from pairs and single judgements, if there are enough."""
    if not data.is_enough:
        return None
    with context.run.task("learning a reward"):
        fit = await fit_reward(data, context.feedback, embedder, seed=context.run.seed)
    reward = fit.reward
    context.rewards.append(reward.info)
    accuracy = _accuracy(reward.correct, reward.decided, reward.concordance)
    edited = np.mean([one.chosen in texts.get(prompt_key(one.prompt), ()) for one in data.pairs])
    share = float(edited) if data.pairs else 0.0
    return RewardPart(reward, share * min(accuracy, EDIT_ACCURACY) + (1 - share) * accuracy)


def _accuracy(correct: int, decided: int, concordance: float | None) -> float:
    """Return the cross-validated accuracy, shrunk towards a half for few pairs."""
    if decided:
        return (correct + 2) / (decided + 4)
    return 0.5 if concordance is None else concordance
