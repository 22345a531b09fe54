"""Methods that imitate a policy's own answers: those of many that a judge selects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from backtalk.embedders.named import EmbedderName
from backtalk.errors import BacktalkError
from backtalk.feedback.views import Pair, SFTExample
from backtalk.learn.context import (
    LEARNED,
    Count,
    answer_trees,
    judged_by,
    named_policy,
    prompts_of,
    scored,
    stored,
)
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder
from backtalk.learn.finetune.objective import (
    BoundObjective,
    BuildTasks,
    TrainingTask,
    find_objective,
)
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import example_trees
from backtalk.learn.method import Paper
from backtalk.rewards import Reward

Factor = Annotated[float, Field(ge=0)]
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


@training_method("raft", needs=[Pair], paper=RAFT)
async def raft(
    work: MethodContext,
    *,
    samples: Count = 8,
    keep: Count = 1,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    source: Source = "samples",
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """Reward-ranked fine-tuning: of several samples for each prompt, the best is imitated.

    Dong et al. (2023).

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    samples : Count, default 8
        How many samples are drawn for each prompt.
    keep : Count, default 1
        How many of them are imitated, the best first.
    judge : str, default LEARNED
        What ranks them: ``learned`` for a reward learned from the store's pairs, or a judge as
        ``backtalk evaluate`` names them.
    embedder : EmbedderName, default "hashed"
        What the learned reward reads answers with.
    source : Source, default "samples"
        ``samples``, or ``store`` for the answers that the store has: the paper's offline mode.
    sampler : str, optional
        The policy that draws them, by name; the one that learns by default.
    prompts : Count, optional
        The most prompts; all of the store's by default.
    """
    goal = find_objective("sft").bind()
    reward = await judged_by(work, judge, embedder)
    asked = prompts_of(work, prompts)
    result = await _answers(work, asked, samples, sampler=sampler, source=source)
    return _parts(goal, await best(reward, asked, result, keep))


@training_method("superhf", needs=[Pair], paper=SUPERHF)
async def superhf(
    work: MethodContext,
    *,
    samples: Count = 8,
    keep: Count = 1,
    beta: Factor = 0.3,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    source: Source = "samples",
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """SuperHF: samples that a reward has filtered are imitated, held near the policy by a KL prior.

    Mukobi et al. (2023). The options are those of ``raft``, and ``beta``.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    samples, keep, judge, embedder, source, sampler, prompts
        As for ``raft``.
    beta : Factor, default 0.3
        The weight of the prior.
    """
    goal = find_objective("superhf").bind(beta=beta)
    reward = await judged_by(work, judge, embedder)
    asked = prompts_of(work, prompts)
    result = await _answers(work, asked, samples, sampler=sampler, source=source)
    return _parts(goal, await best(reward, asked, result, keep))


@training_method("rejection-sampling", needs=[Pair], paper=REJECTION)
async def rejection_sampling(
    work: MethodContext,
    *,
    samples: Count = 8,
    threshold: float | None = None,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    examples: bool = True,
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """Rejection sampling: all distinct samples that are right, and the examples there are.

    Yuan et al. (2023); one round of expert iteration.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    samples, judge, embedder, sampler, prompts
        As for ``raft``.
    threshold : float, optional
        The score from which on a sample is right: by default the top of the judge's scale, or,
        for a learned reward, the mean score of the answers that were preferred.
    examples : bool, default True
        Whether what the store has of examples is imitated too.
    """
    goal = find_objective("sft").bind()
    reward = await judged_by(work, judge, embedder)
    asked = prompts_of(work, prompts)
    result = await _answers(work, asked, samples, sampler=sampler)
    level = await _level(work, reward, judge, threshold)
    shown = work.feedback.views(SFTExample) if examples else []
    return _parts(goal, await right(reward, asked, result, level), shown)


@training_method("rest-em", needs=[Pair], paper=REST_EM)
async def rest_em(
    work: MethodContext,
    *,
    samples: Count = 32,
    cap: Count = 10,
    threshold: float | None = None,
    judge: str = LEARNED,
    embedder: EmbedderName = "hashed",
    sampler: str | None = None,
    prompts: Count | None = None,
) -> BuildTasks:
    """ReST-EM: samples of the last round's policy that are right, so many a prompt, teach the base.

    Singh et al. (2023), algorithm 1. One call is one iteration: every round begins from the same
    base, the policy that learns, and ``sampler`` names the policy of the round before. Samples are
    drawn anew, right ones kept by ``threshold``, and at most ``cap`` for each prompt, so that
    easy prompts do not outweigh the others.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    samples, judge, embedder, sampler, prompts
        As for ``raft``.
    cap : Count, default 10
        The most samples that are imitated for a prompt.
    threshold : float, optional
        As for ``rejection-sampling``.
    """
    goal = find_objective("sft").bind()
    reward = await judged_by(work, judge, embedder)
    asked = prompts_of(work, prompts)
    result = await _answers(work, asked, samples, sampler=sampler)
    level = await _level(work, reward, judge, threshold)
    return _parts(goal, await right(reward, asked, result, level, cap=cap))


async def best(
    reward: Reward, prompts: Sequence[Chat], answers: Sequence[Sequence[str]], keep: int
) -> list[tuple[Chat, str]]:
    """Return the answers of each prompt that score highest, at most so many, each once."""
    scores = await scored(reward, prompts, answers)
    return [
        (prompt, own[i])
        for prompt, own, score in zip(prompts, answers, scores, strict=True)
        for i in np.argsort(-score, kind="stable")[:keep].tolist()
    ]


async def right(
    reward: Reward,
    prompts: Sequence[Chat],
    answers: Sequence[Sequence[str]],
    threshold: float,
    *,
    cap: int | None = None,
) -> list[tuple[Chat, str]]:
    """Return the answers that score at least the threshold, the first so many of each prompt."""
    scores = await scored(reward, prompts, answers)
    return [
        (prompt, own[i])
        for prompt, own, score in zip(prompts, answers, scores, strict=True)
        for i in np.flatnonzero(score >= threshold - _SAME)[:cap].tolist()
    ]


_SAME = 1e-9


async def _answers(
    work: MethodContext,
    prompts: Sequence[Chat],
    samples: int,
    *,
    sampler: str | None,
    source: Source = "samples",
) -> list[list[str]]:
    """Return the distinct answers to each prompt that are not empty."""
    if source == "store":
        results = stored(work, prompts)
    else:
        results = await work.sample(prompts, samples, policy=named_policy(work, sampler))
    return [[text for text in dict.fromkeys(own) if text.strip()] for own in results]


async def _level(work: MethodContext, reward: Reward, judge: str, threshold: float | None) -> float:
    if threshold is not None:
        return threshold
    if reward.bounds is not None:
        return reward.bounds[1]
    if judge != LEARNED:
        raise BacktalkError(
            f"The judge {judge!r} has no scale, so that no score of it means right",
            "Give a threshold",
        )
    chosen = [(pair.prompt, pair.chosen) for pair in work.feedback.views(Pair) if not pair.tie]
    return float((await reward.score(chosen)).mean.mean())


def _parts(
    goal: BoundObjective, answers: Sequence[tuple[Chat, str]], examples: Sequence[SFTExample] = ()
) -> BuildTasks:
    def make(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask("selected", goal, answer_trees(encoder, answers)),
            TrainingTask("examples", goal, example_trees(encoder, examples)),
        ]

    return make
