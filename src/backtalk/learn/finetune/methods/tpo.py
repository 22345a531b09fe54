"""TPO: the best and the worst that the policy has to say on each topic of an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.embedders.named import EmbedderName, named_embedder
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import Pair
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.segments import segments
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.learn.method import Paper
from backtalk.rewards import learn_reward
from backtalk.rewards.protocol import Reward

Beta = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=1)]
Share = Annotated[float, Field(ge=0, le=1)]

PAPER = Paper(
    "A topic-level self-correctional approach to mitigate hallucinations in MLLMs",
    "He et al.",
    2024,
    "https://arxiv.org/abs/2411.17265",
)


@training_method("tpo", needs=[Pair], paper=PAPER)
async def tpo(
    work: MethodContext,
    *,
    beta: Beta = 0.1,
    samples: Count = 4,
    embedder: EmbedderName = "hashed",
    alike: Share = 0.3,
) -> BuildTasks:
    """Overwrite each topic of an answer with the best and the worst alternative, and prefer that.

    Topic-level preference overwriting, for texts. Of several answers of the policy the first is
    cut into topics, its lines or sentences. The alternatives to a topic are the pieces of the
    other answers that are most like it. A Bradley-Terry reward, learned from the pairs of the
    feedback, says of each how good the answer is with it in the topic's place; DPO then prefers
    the answer with the best on every topic to that with the worst. The two differ in nothing
    else. In the paper a multimodal model judges the alternatives itself.

    Parameters
    ----------
    work : MethodContext
        Whose pairs the reward is learned from, and whose policy answers their prompts.
    beta : Beta, default 0.1
        How strongly the policy is held near the reference.
    samples : Count, default 4
        How many answers are drawn for each prompt.
    embedder : EmbedderName, default "hashed"
        What the reward reads answers with.
    alike : Share, default 0.3
        The least share of words that a topic and its alternative have in common.
    """
    pairs = work.feedback.views(Pair)
    prompts = list({prompt_key(pair.prompt): pair.prompt for pair in pairs}.values())
    made: list[Pair] = []
    if any(not pair.tie for pair in pairs):
        with work.run.task("learning a reward"):
            learned = await learn_reward(pairs, named_embedder(embedder, pairs), seed=work.run.seed)
        said = await work.sample(prompts, samples)
        made = await overwritten(prompts, said, learned.reward, alike=alike)
    bound = find_objective("dpo").bind(beta=beta)

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask("topics", bound, pair_trees(encoder, made))]

    return make


async def overwritten(
    prompts: Sequence[Chat], said: Sequence[Sequence[str]], reward: Reward, *, alike: float
) -> list[Pair]:
    """Return the first answer to each prompt with the best and with the worst on each topic.

    Parameters
    ----------
    prompts : sequence of Chat
        What was asked.
    said : Sequence[Sequence[str]]
        The answers to each.
    reward : Reward
        Scores answers.
    alike : float
        As for :func:`alternatives`.
    """
    topics = [alternatives(own, alike=alike) if own else [] for own in said]
    texts = [
        (prompt, _with(own, index, other))
        for prompt, own in zip(prompts, topics, strict=True)
        for index, others in enumerate(own)
        for other in others
    ]
    if not texts:
        return []
    scores = iter((await reward.score(texts)).mean.tolist())
    made = []
    for prompt, own in zip(prompts, topics, strict=True):
        best, worst = [], []
        for others in own:
            results = [(next(scores), other) for other in others]
            best.append(max(results, key=lambda one: one[0])[1])
            worst.append(min(results, key=lambda one: one[0])[1])
        if own:
            made.append(Pair(prompt=prompt, chosen="".join(best), rejected="".join(worst)))
    return made


def alternatives(said: Sequence[str], *, alike: float) -> list[list[str]]:
    """Return for each topic of the first answer itself, and what the others say in its place.

    Parameters
    ----------
    said : sequence of str
        Several answers.
    alike : float
        The least share of words that a topic and its alternative have in common.
    """
    own, *others = [segments(text) for text in said]
    results = []
    for topic in own:
        words = topic.strip()
        there = dict.fromkeys([topic])
        for other in others:
            best = max(other, key=lambda piece: _common(words, piece), default="")
            if words and best.strip() and _common(words, best) >= alike:
                there[topic.replace(words, best.strip())] = None
        results.append([*there])
    return results


def _common(one: str, other: str) -> float:
    """Return the share of different words that two texts have in common."""
    a, b = set(one.split()), set(other.split())
    return len(a & b) / max(len(a | b), 1)


def _with(topics: Sequence[Sequence[str]], place: int, other: str) -> str:
    """Return the answer with another text on one topic."""
    return "".join(other if at == place else own[0] for at, own in enumerate(topics))
