"""T-REG: preference optimisation regularised by token rewards of the model itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.views import Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder, ResponseText
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import NonNegative, Positive
from backtalk.learn.finetune.prompt_conditioning import append_system
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.lazy_modules import np
from backtalk.learn.log_likelihood import token_log_likelihoods
from backtalk.models.protocol import Scorer

if TYPE_CHECKING:
    from numpy.typing import NDArray

Rewards = Mapping[tuple[Prompt, str], tuple[float, ...]]
"""Reward of each token of a response, by prompt and response."""

GOOD = "Give the best answer you can: right, complete, to the point and in a fitting manner."
BAD = "Give the worst answer you can: wrong, incomplete, beside the point, in no fitting manner."


@training_method("t-reg", needs=[Pair], objective="t-reg")
async def t_reg(
    context: MethodContext,
    *,
    beta: Positive = 0.1,
    alpha: NonNegative = 0.25,
    good: str = GOOD,
    bad: str = BAD,
) -> BuildTasks:
    """Train on pairs with implicit token rewards drawn towards the model's own token rewards.

    T-REG, Zhou et al. (2024). The reward of a token is ``sigmoid(log pi(y_t | good) - log pi(y_t |
    bad)) - 1/2``, by the policy before learning. ``good`` and ``bad`` are system prompts that ask
    for a good and for a bad response.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    beta : float, default 0.1
        Coefficient of the implicit KL penalty towards the reference.
    alpha : float, default 0.25
        Weight of the token-level regularisation.
    good : str, default GOOD
        System prompt that asks for a good response.
    bad : str, default BAD
        System prompt that asks for a bad response.
    """
    pairs = context.feedback.by_kind(Pair)
    texts = [
        (pair.prompt, text)
        for views in pairs.values()
        for pair in views
        if not pair.tie
        for text in (pair.chosen, pair.rejected)
    ]
    rewards = await token_rewards(context, list(dict.fromkeys(texts)), good, bad)
    bound = get_objective("t-reg").bind(beta=beta, alpha=alpha)

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(kind, bound, trees_with_token_rewards(encoder, views, rewards))
            for kind, views in pairs.items()
        ]

    return build


async def token_rewards(
    context: MethodContext, texts: Sequence[tuple[Prompt, str]], good: str, bad: str
) -> dict[tuple[Prompt, str], tuple[float, ...]]:
    """Return the token rewards of each response; responses that are too long have none.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    texts : sequence of tuple of Prompt and str
        Prompts with responses.
    good : str
        System prompt that asks for a good response.
    bad : str
        System prompt that asks for a bad response.

    Returns
    -------
    dict
        Rewards of the tokens, shape ``(number of tokens,)``, by prompt and response.

    Raises
    ------
    BacktalkError
        If the policy's model gives no token probabilities.
    """
    model = context.model()
    if not isinstance(model, Scorer):
        raise BacktalkError(
            f"The model {model.name!r} gives no token probabilities",
            "Use a policy with a local model",
        )
    results: dict[tuple[Prompt, str], tuple[float, ...]] = {}
    with context.run.task("finding token rewards", len(texts)) as step:
        for start in range(0, len(texts), _BATCH_SIZE):
            batch = texts[start : start + _BATCH_SIZE]
            scores = [
                await _score_under(model, context, batch, instruction)
                for instruction in (good, bad)
            ]
            for key, better, worse in zip(batch, *scores, strict=True):
                if better is not None and worse is not None:
                    results[key] = tuple((0.5 * np.tanh((better - worse) / 2)).tolist())
            step(start + len(batch))
    return results


_BATCH_SIZE = 64


async def _score_under(
    model: Scorer, context: MethodContext, texts: Sequence[tuple[Prompt, str]], instruction: str
) -> list[NDArray[np.float64] | None]:
    requests = [
        (append_system(context.policy, instruction).messages(prompt), text)
        for prompt, text in texts
    ]
    return await token_log_likelihoods(model, requests)


def trees_with_token_rewards(
    encoder: Encoder, pairs: Sequence[Pair], rewards: Rewards
) -> list[PromptTree]:
    """Return trees of pairs with token rewards.

    Parameters
    ----------
    encoder : Encoder
        Encoder of the policy.
    pairs : sequence of Pair
        Pairs; those without token rewards are left out and counted.
    rewards : Rewards
        Token rewards by prompt and response.
    """
    known = []
    for pair in pairs:
        texts = pair.chosen, pair.rejected
        missing = {(pair.prompt, text) for text in texts} - rewards.keys()
        if pair.tie or not missing:
            known.append(pair)
        elif not encoder.leaves_out(pair.prompt, texts):
            encoder.left_out["too long for the token rewards"] += 1
    return pair_trees(
        encoder,
        known,
        response_text=lambda prompt, text: ResponseText(text, token_rewards=rewards[prompt, text]),
    )
