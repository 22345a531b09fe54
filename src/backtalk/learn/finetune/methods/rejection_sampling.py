"""Rejection sampling: a policy imitates those of its samples that a judge selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from backtalk.embedders.registry import EmbedderName
from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import LabelView, Pair, ScoreView, SFTExample
from backtalk.learn.context import LEARNED, MethodContext, score_responses
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.methods.imitation import answer_trees
from backtalk.learn.finetune.objective import (
    BoundObjective,
    BuildTasks,
    TrainingTask,
    get_objective,
)
from backtalk.learn.finetune.option_types import Count, NonNegative
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import example_trees
from backtalk.learn.lazy_modules import np
from backtalk.learn.method import Paper
from backtalk.learn.reward_feedback import BETTER_AND_WORSE, reward_feedback
from backtalk.rewards import Reward

Source = Literal["samples", "store"]

RAFT = Paper(
    "RAFT: reward ranked finetuning for generative foundation model alignment",
    "Dong et al.",
    2023,
    "https://arxiv.org/abs/2304.06767",
)
SUPERHF = Paper(
    "SuperHF: supervised iterative learning from human feedback",
    "Mukobi et al.",
    2023,
    "https://arxiv.org/abs/2310.16763",
)
REST_EM = Paper(
    "Beyond human data: scaling self-training for problem-solving with language models",
    "Singh et al.",
    2023,
    "https://arxiv.org/abs/2312.06585",
)
REJECTION = Paper(
    "Scaling relationship on learning mathematical reasoning with large language models",
    "Yuan et al.",
    2023,
    "https://arxiv.org/abs/2308.01825",
)


@training_method(
    "raft",
    needs=[Pair],
    alternatives=[ScoreView, LabelView],
    requires=[BETTER_AND_WORSE],
    objective="sft",
    paper=RAFT,
)
async def raft(
    context: MethodContext,
    *,
    samples: Count = 8,
    keep: Count = 1,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    source: Source = "samples",
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """Reward-ranked fine-tuning: imitate the best of several samples for each prompt.

    Dong et al. (2023).

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    samples : int, default 8
        Number of samples for each prompt.
    keep : int, default 1
        Number of samples to imitate for each prompt, best first.
    judge : str, default "learned"
        Judge that ranks the samples: ``learned`` for a reward fitted to the store's feedback, or a
        judge of ``backtalk evaluate``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the learned reward.
    source : {"samples", "store"}, default "samples"
        Origin of the responses: new samples, or the responses in the store, the paper's offline
        mode.
    sampler : str, optional
        Policy that samples, by name or id; the policy to improve by default.
    prompts : int, optional
        Maximum number of prompts; all prompts of the store by default.
    """
    goal = get_objective("sft").bind()
    reward = await context.judge(judge, embedder)
    selected = context.prompts(prompts)
    responses = await _get_responses(context, selected, samples, sampler=sampler, source=source)
    return _imitation_tasks(goal, await select_best(reward, selected, responses, keep))


@training_method(
    "superhf",
    needs=[Pair],
    alternatives=[ScoreView, LabelView],
    requires=[BETTER_AND_WORSE],
    objective="superhf",
    paper=SUPERHF,
)
async def superhf(
    context: MethodContext,
    *,
    samples: Count = 8,
    keep: Count = 1,
    beta: NonNegative = 0.3,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    source: Source = "samples",
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """Imitate reward-filtered samples with a KL prior that keeps the policy near its start.

    SuperHF, Mukobi et al. (2023). The options are those of ``raft``, and ``beta``.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    samples : int, default 8
        Number of samples for each prompt.
    keep : int, default 1
        Number of samples to imitate for each prompt, best first.
    beta : float, default 0.3
        Weight of the KL prior.
    judge : str, default "learned"
        Judge that ranks the samples: ``learned`` for a reward fitted to the store's feedback, or a
        judge of ``backtalk evaluate``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the learned reward.
    source : {"samples", "store"}, default "samples"
        Origin of the responses: new samples, or the responses in the store.
    sampler : str, optional
        Policy that samples, by name or id; the policy to improve by default.
    prompts : int, optional
        Maximum number of prompts; all prompts of the store by default.
    """
    goal = get_objective("superhf").bind(beta=beta)
    reward = await context.judge(judge, embedder)
    selected = context.prompts(prompts)
    responses = await _get_responses(context, selected, samples, sampler=sampler, source=source)
    return _imitation_tasks(goal, await select_best(reward, selected, responses, keep))


@training_method(
    "rejection-sampling",
    needs=[Pair],
    alternatives=[ScoreView, LabelView],
    requires=[BETTER_AND_WORSE],
    objective="sft",
    paper=REJECTION,
)
async def rejection_sampling(
    context: MethodContext,
    *,
    samples: Count = 8,
    threshold: float | None = None,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    examples: bool = True,
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """Imitate all distinct samples that are right, and the examples in the store.

    Yuan et al. (2023); one round of expert iteration.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    samples : int, default 8
        Number of samples for each prompt.
    threshold : float, optional
        Lowest score of a right sample. Default: the upper bound of the judge's scale, or, for a
        learned reward, the mean score of the chosen and of the good responses; if no sample scores
        as much, the top tenth of the samples is right.
    judge : str, default "learned"
        Judge of the samples: ``learned`` for a reward fitted to the store's feedback, or a judge of
        ``backtalk evaluate``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the learned reward.
    examples : bool, default True
        If true, also imitate the examples in the store.
    sampler : str, optional
        Policy that samples, by name or id; the policy to improve by default.
    prompts : int, optional
        Maximum number of prompts; all prompts of the store by default.
    """
    goal = get_objective("sft").bind()
    reward = await context.judge(judge, embedder)
    selected = context.prompts(prompts)
    responses = await _get_responses(context, selected, samples, sampler=sampler)
    right = await _right_samples(
        context, reward, selected, responses, judge=judge, threshold=threshold
    )
    stored_examples = context.feedback.views(SFTExample) if examples else []
    return _imitation_tasks(goal, right, stored_examples)


@training_method(
    "rest-em",
    needs=[Pair],
    alternatives=[ScoreView, LabelView],
    requires=[BETTER_AND_WORSE],
    objective="sft",
    paper=REST_EM,
)
async def rest_em(
    context: MethodContext,
    *,
    samples: Count = 32,
    cap: Count = 10,
    threshold: float | None = None,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """Imitate right samples of the last round's policy, starting from the base policy each round.

    ReST-EM, Singh et al. (2023), algorithm 1. One call is one iteration. Every round starts from
    the same base, the policy to improve; ``sampler`` names the policy of the previous round. Right
    samples are selected by ``threshold``, at most ``cap`` for each prompt, so that easy prompts do
    not outweigh the others.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    samples : int, default 32
        Number of samples for each prompt.
    cap : int, default 10
        Maximum number of samples to imitate for each prompt.
    threshold : float, optional
        Lowest score of a right sample. Default: the upper bound of the judge's scale, or, for a
        learned reward, the mean score of the chosen and of the good responses; if no sample scores
        as much, the top tenth of the samples is right.
    judge : str, default "learned"
        Judge of the samples: ``learned`` for a reward fitted to the store's feedback, or a judge of
        ``backtalk evaluate``.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the learned reward.
    sampler : str, optional
        Policy that samples, by name or id; the policy to improve by default.
    prompts : int, optional
        Maximum number of prompts; all prompts of the store by default.
    """
    goal = get_objective("sft").bind()
    reward = await context.judge(judge, embedder)
    selected = context.prompts(prompts)
    responses = await _get_responses(context, selected, samples, sampler=sampler)
    return _imitation_tasks(
        goal,
        await _right_samples(
            context, reward, selected, responses, judge=judge, threshold=threshold, cap=cap
        ),
    )


async def select_best(
    reward: Reward, prompts: Sequence[Prompt], responses: Sequence[Sequence[str]], keep: int
) -> list[tuple[Prompt, str]]:
    """Return the responses with the highest scores.

    Parameters
    ----------
    reward : Reward
        Scorer.
    prompts : sequence of Prompt
        N prompts.
    responses : sequence of sequence of str
        Responses to each prompt.
    keep : int
        Maximum number of responses to return for each prompt.
    """
    scores = await score_responses(reward, prompts, responses)
    return [
        (prompt, texts[i])
        for prompt, texts, score in zip(prompts, responses, scores, strict=True)
        for i in np.argsort(-score, kind="stable")[:keep].tolist()
    ]


async def select_right(
    reward: Reward,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[str]],
    threshold: float,
    *,
    cap: int | None = None,
) -> list[tuple[Prompt, str]]:
    """Return the responses that score at least the threshold.

    Parameters
    ----------
    reward : Reward
        Scorer.
    prompts : sequence of Prompt
        N prompts.
    responses : sequence of sequence of str
        Responses to each prompt.
    threshold : float
        Lowest score of a right response.
    cap : int, optional
        Maximum number of responses to return for each prompt, first ones first.
    """
    scores = await score_responses(reward, prompts, responses)
    return [
        (prompt, texts[i])
        for prompt, texts, score in zip(prompts, responses, scores, strict=True)
        for i in np.flatnonzero(score >= threshold - _TOLERANCE)[:cap].tolist()
    ]


_TOLERANCE = 1e-9


async def _get_responses(
    context: MethodContext,
    prompts: Sequence[Prompt],
    samples: int,
    *,
    sampler: str | None,
    source: Source = "samples",
) -> list[list[str]]:
    """Return the distinct non-empty responses to each prompt."""
    if source == "store":
        results = context.stored_responses(prompts)
    else:
        results = await context.sample(prompts, samples, policy=context.get_policy(sampler))
    return [[text for text in dict.fromkeys(texts) if text.strip()] for texts in results]


TOP_SHARE = 0.1
"""Share of the samples that count as right if none scores as much as the good responses."""


async def _right_samples(
    context: MethodContext,
    reward: Reward,
    prompts: Sequence[Prompt],
    responses: Sequence[Sequence[str]],
    *,
    judge: str,
    threshold: float | None,
    cap: int | None = None,
) -> list[tuple[Prompt, str]]:
    """Return the right samples; by a learned reward, those with the highest scores if none is."""
    right_score = await _right_score(context, reward, judge, threshold)
    right = await select_right(reward, prompts, responses, right_score, cap=cap)
    if right or threshold is not None or judge != LEARNED or not any(responses):
        return right
    scores = np.concatenate(await score_responses(reward, prompts, responses))
    top = float(np.quantile(scores, 1 - TOP_SHARE))
    return await select_right(reward, prompts, responses, top, cap=cap)


async def _right_score(
    context: MethodContext, reward: Reward, judge: str, threshold: float | None
) -> float:
    if threshold is not None:
        return threshold
    if reward.bounds is not None:
        return reward.bounds[1]
    if judge != LEARNED:
        raise BacktalkError(
            f"The judge {judge!r} has no upper bound, so the score of a right sample is unknown",
            "Give a threshold: -o threshold=SCORE",
        )
    data = reward_feedback(context.feedback)
    chosen = [(pair.prompt, pair.chosen) for pair in data.pairs if not pair.tie] + [
        (point.prompt, point.completion) for point in data.points if point.score > 0.5
    ]
    return float((await reward.score(chosen)).mean.mean())


def _imitation_tasks(
    goal: BoundObjective,
    responses: Sequence[tuple[Prompt, str]],
    examples: Sequence[SFTExample] = (),
) -> BuildTasks:
    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask("selected", goal, answer_trees(encoder, responses)),
            TrainingTask("examples", goal, example_trees(encoder, examples)),
        ]

    return build
