"""Counterfactual DPO: what the model says under an instruction, against what it says without."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import Message
from backtalk.feedback.views import Pair
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Chat, Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.prompt_conditioning import append_system
from backtalk.learn.finetune.registration import MethodContext, training_method
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.learn.method import Paper

Beta = Annotated[float, Field(gt=0)]
Count = Annotated[int, Field(gt=0)]

PAPER = Paper(
    "Aligning large language models with counterfactual DPO",
    "Butcher",
    2024,
    "https://arxiv.org/abs/2401.09566",
)


@training_method("counterfactual-dpo", needs=[], paper=PAPER)
async def counterfactual_dpo(
    work: MethodContext,
    *,
    style: str = "",
    negative: str = "",
    disregard: str = "",
    beta: Beta = 0.1,
    samples: Count = 1,
) -> BuildTasks:
    """Make a style the model's own: prefer what it says when told to over what it says untold.

    No judgement is needed, only prompts: those of all interactions in the store. With a ``style``
    the answer under it is preferred to the plain one, or to the one under the ``negative``; with
    a ``negative`` alone the plain answer is preferred. Both are learned for the prompt without
    either. With ``disregard`` the plain answer is preferred to the one under that instruction,
    where the instruction stands in the system prompt, so that it is ignored.

    Parameters
    ----------
    work : MethodContext
        Whose policy answers.
    style : str, default ""
        What the answers are to be like, as a system prompt says it.
    negative : str, default ""
        What they are not to be like.
    disregard : str, default ""
        An instruction that is not to be followed.
    beta : Beta, default 0.1
        How strongly the policy is held near the reference.
    samples : Count, default 1
        How many pairs are made for a prompt.

    Raises
    ------
    BacktalkError
        If no style is given.
    """
    if not (style or negative or disregard):
        raise BacktalkError(
            "counterfactual-dpo was not told what to learn",
            "Give a style, a negative or an instruction to disregard, such as -o style='Be brief.'",
        )
    prompts = work.feedback.prompts()
    plain: list[list[str]] = []
    if disregard or not (style and negative):
        plain = await work.sample(prompts, samples)

    async def under(words: str) -> list[list[str]]:
        if not words:
            return plain
        return await work.sample(prompts, samples, policy=append_system(work.policy, words))

    made: dict[str, list[Pair]] = {}
    if style or negative:
        better, worse = await under(style), await under(negative)
        made["style"] = contrasted(prompts, better, worse)
    if disregard:
        asked = [(Message.system(disregard), *prompt) for prompt in prompts]
        obeyed = await work.sample(asked, samples)
        made["disregard"] = contrasted(asked, plain, obeyed)
    bound = find_objective("dpo").bind(beta=beta)

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask(name, bound, pair_trees(encoder, own)) for name, own in made.items()]

    return make


def contrasted(
    prompts: Sequence[Chat], better: Sequence[Sequence[str]], worse: Sequence[Sequence[str]]
) -> list[Pair]:
    """Return the pairs of what was said to each prompt in one way and in the other.

    Where one way has fewer answers, as many of the other's are left over.
    """
    return [
        Pair(prompt=prompt, chosen=chosen, rejected=rejected)
        for prompt, *both in zip(prompts, better, worse, strict=True)
        for chosen, rejected in zip(*both, strict=False)
    ]
