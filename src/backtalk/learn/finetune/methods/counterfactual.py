"""Counterfactual DPO: responses under an instruction against responses without it."""

from __future__ import annotations

from collections.abc import Sequence

from backtalk.errors import BacktalkError
from backtalk.feedback.interaction import Message, Prompt
from backtalk.feedback.views import Pair
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, Positive
from backtalk.learn.finetune.prompt_conditioning import append_system
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.finetune.tree_builders import pair_trees
from backtalk.learn.method import Paper
from backtalk.learn.requirements import PROMPTS, option

PAPER = Paper(
    "Aligning large language models with counterfactual DPO",
    "Butcher",
    2024,
    "https://arxiv.org/abs/2401.09566",
)


@training_method(
    "counterfactual-dpo",
    needs=[],
    objective="dpo",
    paper=PAPER,
    requires=[PROMPTS, option("-o style=TEXT, -o negative=TEXT or -o disregard=TEXT")],
    example="-o style='Be brief.'",
)
async def counterfactual_dpo(
    context: MethodContext,
    *,
    style: str = "",
    negative: str = "",
    disregard: str = "",
    beta: Positive = 0.1,
    samples: Count = 1,
) -> BuildTasks:
    """Train a style into the model: prefer its responses under an instruction to those without.

    Butcher (2024). No feedback is needed, only the prompts of the store. With ``style``, the
    response under it is preferred to the plain response, or to the response under ``negative``;
    with ``negative`` alone, the plain response is preferred. Both are trained for the prompt
    without the instruction. With ``disregard``, the plain response is preferred to the response
    under that instruction, for prompts with the instruction in the system prompt, so that it is
    ignored.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    style : str, default ""
        Desired style, as a system prompt.
    negative : str, default ""
        Undesired style, as a system prompt.
    disregard : str, default ""
        Instruction that the policy should ignore.
    beta : float, default 0.1
        Coefficient of the implicit KL penalty towards the reference.
    samples : int, default 1
        Number of pairs for each prompt.

    Raises
    ------
    BacktalkError
        If no style and no instruction is given.
    """
    if not (style or negative or disregard):
        raise BacktalkError(
            "counterfactual-dpo needs a style or an instruction",
            "Give -o style=TEXT, -o negative=TEXT or -o disregard=TEXT",
        )
    prompts = context.feedback.prompts()
    plain: list[list[str]] = []
    if disregard or not (style and negative):
        plain = await context.sample(prompts, samples)

    async def sample_under(instruction: str) -> list[list[str]]:
        if not instruction:
            return plain
        return await context.sample(
            prompts, samples, policy=append_system(context.policy, instruction)
        )

    pairs_by_task: dict[str, list[Pair]] = {}
    if style or negative:
        better, worse = await sample_under(style), await sample_under(negative)
        pairs_by_task["style"] = contrast_pairs(prompts, better, worse)
    if disregard:
        instructed = [(Message.system(disregard), *prompt) for prompt in prompts]
        compliant = await context.sample(instructed, samples)
        pairs_by_task["disregard"] = contrast_pairs(instructed, plain, compliant)
    bound = get_objective("dpo").bind(beta=beta)

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [
            TrainingTask(name, bound, pair_trees(encoder, pairs))
            for name, pairs in pairs_by_task.items()
        ]

    return build


def contrast_pairs(
    prompts: Sequence[Prompt], better: Sequence[Sequence[str]], worse: Sequence[Sequence[str]]
) -> list[Pair]:
    """Return pairs of two groups of responses to each prompt.

    Surplus responses of one group are ignored.

    Parameters
    ----------
    prompts : sequence of Prompt
        N prompts.
    better : sequence of sequence of str
        Chosen responses to each prompt.
    worse : sequence of sequence of str
        Rejected responses to each prompt.
    """
    return [
        Pair(prompt=prompt, chosen=chosen, rejected=rejected)
        for prompt, *groups in zip(prompts, better, worse, strict=True)
        for chosen, rejected in zip(*groups, strict=False)
    ]
