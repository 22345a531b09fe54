"""Where a method's own answers come from: prompts, samples of policies, and what judges them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from backtalk.embedders import HashedTfidf, SentenceEmbedder
from backtalk.embedders.named import EmbedderName, named_embedder
from backtalk.errors import BacktalkError
from backtalk.evaluate.judges import get_judge
from backtalk.feedback.merge import prompt_key
from backtalk.feedback.views import Pair
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.registration import MethodContext
from backtalk.learn.finetune.tree_builders import kept
from backtalk.learn.finetune.trees import PromptTree
from backtalk.models.protocol import Embedder
from backtalk.policy import Policy, read_policy
from backtalk.rewards import Reward, learn_reward

Count = Annotated[int, Field(ge=1)]
Array = NDArray[np.float64]

LEARNED = "learned"
"""The judge that is learned from the store's pairs."""


def named_policy(work: MethodContext, name: str | None) -> Policy:
    """Return the policy of that name in the store, or the one that learns if none is named."""
    return work.policy if name is None else read_policy(work.feedback.store, name)


def prompts_of(work: MethodContext, most: int | None = None) -> list[Chat]:
    """Return the distinct prompts of the store that may be learned from, at most so many of them.

    Those without any feedback are among them. Which ones are taken is decided by the seed.
    """
    result = work.feedback.prompts()
    if not result:
        raise BacktalkError(
            "The store has no prompts to learn from", "Add interactions, or take --split all"
        )
    if most is None or most >= len(result):
        return result
    drawn = np.random.default_rng([work.run.seed, 11]).choice(len(result), most, replace=False)
    return [result[i] for i in sorted(drawn.tolist())]


def stored(work: MethodContext, prompts: Sequence[Chat]) -> list[list[str]]:
    """Return the distinct answers to each prompt that there are already."""
    results: dict[str, dict[str, None]] = {prompt_key(prompt): {} for prompt in prompts}
    for case in work.feedback.every_case():
        key = prompt_key(case.interaction.prompt)
        if key in results:
            results[key].update(dict.fromkeys(one.text for one in case.interaction.responses))
    return [list(results[prompt_key(prompt)]) for prompt in prompts]


async def judged_by(work: MethodContext, name: str, embedder: EmbedderName = "hashed") -> Reward:
    """Return what judges answers: learned from the store's pairs, or a judge by its name.

    Raises
    ------
    BacktalkError
        If a judge is to be learned and no pair has a winner, or if there is none of that name.
    """
    if name != LEARNED:
        return get_judge(name, work.feedback.store)
    pairs = work.feedback.views(Pair)
    with work.run.task("learning a reward"):
        learned = await learn_reward(pairs, named_embedder(embedder, pairs), seed=work.run.seed)
    return learned.reward


def embedder_of(name: EmbedderName, texts: Iterable[str]) -> Embedder:
    """Return the embedder of that name; the hashed one weighs words by these texts."""
    return SentenceEmbedder() if name == "sentence" else HashedTfidf.fit(sorted(set(texts)))


async def scored(
    reward: Reward, prompts: Sequence[Chat], answers: Sequence[Sequence[str]]
) -> list[Array]:
    """Return the score of each answer, an array a prompt."""
    if not prompts:
        return []
    flat = [(prompt, text) for prompt, own in zip(prompts, answers, strict=True) for text in own]
    values = (await reward.score(flat)).mean if flat else np.empty(0)
    ends = np.cumsum([len(own) for own in answers])
    return np.split(np.asarray(values, dtype=float), ends[:-1])


def answer_trees(encoder: Encoder, answers: Iterable[tuple[Chat, str]]) -> list[PromptTree]:
    """Return a tree for each prompt and answer, to imitate."""
    return kept(encoder.tree(prompt, [Text(text, 1.0)]) for prompt, text in answers)
