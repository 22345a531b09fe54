"""TPO: preferences between the best and the worst combination of topics of a response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.embedders.registry import EmbedderName
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Fraction, Positive
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.segments import segments
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.learn.method import Paper
from backtalk.learn.requirements import FeedbackRequirement
from backtalk.learn.reward_feedback import BETTER_AND_WORSE, RewardFeedback
from backtalk.learn.training_set import TrainingSet
from backtalk.rewards.protocol import Reward

Count = Annotated[int, Field(gt=1)]
MIN_SIMILARITY = 0.3
"""Default of the lowest similarity of a topic and an alternative."""

PAPER = Paper(
    "A topic-level self-correctional approach to mitigate hallucinations in MLLMs",
    "He et al.",
    2024,
    "https://arxiv.org/abs/2411.17265",
)


def has_shared_topic(feedback: TrainingSet) -> bool:
    """Return whether two compared answers to a prompt have similar segments that differ."""
    return any(
        len(options) > 1
        for texts in compared_answers(feedback.views(Pair)).values()
        for options in alternatives(list(texts), min_similarity=MIN_SIMILARITY)
    )


@training_method(
    "tpo",
    needs=[Pair],
    requires=[
        BETTER_AND_WORSE,
        FeedbackRequirement(
            "two answers to one prompt with similar lines or sentences (samples may have some)",
            has_shared_topic,
            definite=False,
        ),
    ],
    objective="dpo",
    paper=PAPER,
)
async def tpo(
    context: MethodContext,
    *,
    beta: Positive = 0.1,
    samples: Count = 4,
    embedder: EmbedderName = "hashed",
    min_similarity: Fraction = MIN_SIMILARITY,
) -> BuildTasks:
    """Prefer a response with the best alternative on every topic to one with the worst.

    Topic-level preference overwriting, He et al. (2024), for texts. The first of several samples is
    cut into topics, which are its lines or sentences. Alternatives to a topic are the most similar
    segments of the other samples and of the compared answers in the feedback. Where no sample is
    complete, the preferred answer takes the place of the first sample. A Bradley-Terry reward,
    fitted to the pairs of the feedback, scores the response with each alternative in place of the
    topic. DPO then prefers the response with the best alternatives to the response with the worst.
    In the paper a multimodal model judges the alternatives itself.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of the implicit KL penalty towards the reference.
    samples : int, default 4
        Number of samples for each prompt.
    embedder : {"hashed", "sentence"}, default "hashed"
        Embedder of the reward.
    min_similarity : float, default 0.3
        Lowest Jaccard similarity of the words of a topic and an alternative.
    """
    pairs = context.feedback.views(Pair)
    prompts = list({prompt_key(pair.prompt): pair.prompt for pair in pairs}.values())
    results: list[Pair] = []
    if any(not pair.tie for pair in pairs):
        reward = await context.learn_reward(RewardFeedback(pairs, []), embedder)
        answers = compared_answers(pairs)
        responses = [
            list(dict.fromkeys([*sampled, *answers[prompt_key(prompt)]]))
            for prompt, sampled in zip(prompts, await context.sample(prompts, samples), strict=True)
        ]
        results = await overwritten_pairs(prompts, responses, reward, min_similarity=min_similarity)
    bound = get_objective("dpo").bind(beta=beta)

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask("topics", bound, pair_trees(encoder, results))]

    return build


def compared_answers(pairs: Sequence[Pair]) -> dict[str, dict[str, None]]:
    """Return the answers that were compared, by the key of their prompt, preferred ones first."""
    results: dict[str, dict[str, None]] = {}
    for pair in pairs:
        results.setdefault(prompt_key(pair.prompt), {}).update({pair.chosen: None})
    for pair in pairs:
        results[prompt_key(pair.prompt)].setdefault(pair.rejected)
    return results


async def overwritten_pairs(
    prompts: Sequence[Prompt],
    samples: Sequence[Sequence[str]],
    reward: Reward,
    *,
    min_similarity: float,
) -> list[Pair]:
    """Return pairs of the first sample with the best and with the worst alternative on each topic.

    Parameters
    ----------
    prompts : sequence of Prompt
        N prompts.
    samples : sequence of sequence of str
        Samples for each prompt.
    reward : Reward
        Scorer of responses.
    min_similarity : float
        Lowest similarity, as for :func:`alternatives`.
    """
    topics = [
        alternatives(responses, min_similarity=min_similarity) if responses else []
        for responses in samples
    ]
    texts = [
        (prompt, _replace_topic(response_topics, index, other))
        for prompt, response_topics in zip(prompts, topics, strict=True)
        for index, options in enumerate(response_topics)
        for other in options
    ]
    if not texts:
        return []
    scores = iter((await reward.score(texts)).mean.tolist())
    results = []
    for prompt, response_topics in zip(prompts, topics, strict=True):
        best, worst = [], []
        for options in response_topics:
            scored = [(next(scores), text) for text in options]
            best.append(max(scored, key=lambda pair: pair[0])[1])
            worst.append(min(scored, key=lambda pair: pair[0])[1])
        if response_topics:
            results.append(Pair(prompt=prompt, chosen="".join(best), rejected="".join(worst)))
    return results


def alternatives(samples: Sequence[str], *, min_similarity: float) -> list[list[str]]:
    """Return each topic of the first sample with its alternatives, the topic itself first.

    Parameters
    ----------
    samples : sequence of str
        Samples for one prompt.
    min_similarity : float
        Lowest Jaccard similarity of the words of a topic and an alternative.
    """
    response_topics, *options = [segments(text) for text in samples]
    results = []
    for topic in response_topics:
        words = topic.strip()
        there = dict.fromkeys([topic])
        for other in options:
            best = max(other, key=lambda piece: _similarity(words, piece), default="")
            if words and best.strip() and _similarity(words, best) >= min_similarity:
                there[topic.replace(words, best.strip())] = None
        results.append([*there])
    return results


def _similarity(one: str, other: str) -> float:
    """Return the Jaccard similarity of the words of two texts."""
    a, b = set(one.split()), set(other.split())
    return len(a & b) / max(len(a | b), 1)


def _replace_topic(topics: Sequence[Sequence[str]], position: int, other: str) -> str:
    """Return the response with another text on one topic."""
    return "".join(
        other if at == position else response_topics[0] for at, response_topics in enumerate(topics)
    )
