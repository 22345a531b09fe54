"""T-REG: the model's own sense of what is good and bad as a reward of each token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.feedback.views import Pair
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder, Text
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.prompt_conditioning import append_system
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.learn.finetune.trees import PromptTree
from backtalk.models.errors import ContextTooLong
from backtalk.models.protocol import Scorer

Beta = Annotated[float, Field(gt=0)]
Weight = Annotated[float, Field(ge=0)]
Rewards = Mapping[tuple[Chat, str], tuple[float, ...]]
"""The reward of each token of a response to a prompt."""

GOOD = "Give the best answer you can: right, complete, to the point and in a fitting manner."
BAD = "Give the worst answer you can: wrong, incomplete, beside the point, in no fitting manner."


@training_method("t-reg", needs=[Pair], paper=find_objective("t-reg").paper)
async def t_reg(
    work: MethodContext,
    *,
    beta: Beta = 0.1,
    alpha: Weight = 0.25,
    good: str = GOOD,
    bad: str = BAD,
) -> BuildTasks:
    """Learn from pairs, the implicit reward of each token drawn to one that the model finds itself.

    That is by how much more probable a token is where the system prompt asks for a good answer
    than where it asks for a bad one: ``sigmoid(log pi(y_t | good) - log pi(y_t | bad)) - 1/2``, by
    the policy before it learns.

    Parameters
    ----------
    work : MethodContext
        Whose pairs are learned from.
    beta : Beta, default 0.1
        How strongly the policy is held near the reference.
    alpha : Weight, default 0.25
        How strongly the implicit rewards are drawn to those of the tokens.
    good, bad
        What the system prompt asks for.
    """
    pairs = work.feedback.by_kind(Pair)
    texts = [
        (pair.prompt, text)
        for own in pairs.values()
        for pair in own
        if not pair.tie
        for text in (pair.chosen, pair.rejected)
    ]
    rewards = await token_rewards(work, list(dict.fromkeys(texts)), good, bad)
    bound = find_objective("t-reg").bind(beta=beta, alpha=alpha)

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(kind, bound, rewarded_trees(encoder, own, rewards))
            for kind, own in pairs.items()
        ]

    return make


async def token_rewards(
    work: MethodContext, texts: Sequence[tuple[Chat, str]], good: str, bad: str
) -> dict[tuple[Chat, str], tuple[float, ...]]:
    """Return the rewards of the tokens of each text; what is too long for the model has none.

    Raises
    ------
    BacktalkError
        If the policy's model cannot say how probable it finds a text.
    """
    model = work.model()
    if not isinstance(model, Scorer):
        raise BacktalkError(
            f"The model {model.name!r} does not say how probable it finds a text",
            "Use a local model",
        )
    results: dict[tuple[Chat, str], tuple[float, ...]] = {}
    with work.run.task("finding token rewards", len(texts)) as step:
        for start in range(0, len(texts), _AT_ONCE):
            some = texts[start : start + _AT_ONCE]
            scores = [await _scored(model, work, some, words) for words in (good, bad)]
            for key, better, worse in zip(some, *scores, strict=True):
                if better is not None and worse is not None:
                    results[key] = tuple((0.5 * np.tanh((better - worse) / 2)).tolist())
            step(start + len(some))
    return results


_AT_ONCE = 64


async def _scored(
    model: Scorer, work: MethodContext, texts: Sequence[tuple[Chat, str]], words: str
) -> list[NDArray[np.float64] | None]:
    asked = [(append_system(work.policy, words).messages(prompt), text) for prompt, text in texts]
    try:
        return [*await model.score(asked)]
    except ContextTooLong:
        return [await _alone(model, one) for one in asked]


async def _alone(model: Scorer, text: tuple[Chat, str]) -> NDArray[np.float64] | None:
    try:
        return (await model.score([text]))[0]
    except ContextTooLong:
        return None


def rewarded_trees(encoder: Encoder, pairs: Sequence[Pair], rewards: Rewards) -> list[PromptTree]:
    """Return trees of pairs, with the rewards of the tokens as their credit."""
    known = []
    for pair in pairs:
        lacking = {(pair.prompt, pair.chosen), (pair.prompt, pair.rejected)} - rewards.keys()
        if lacking and not pair.tie:
            encoder.left_out["too long for the token rewards"] += 1
        else:
            known.append(pair)
    return pair_trees(
        encoder,
        known,
        text=lambda prompt, text: Text(text, token_credit=rewards[prompt, text]),
    )
