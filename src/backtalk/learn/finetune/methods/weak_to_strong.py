"""Weak-to-strong generalisation: a strong model learns from the responses of a weaker one."""

from __future__ import annotations

from backtalk.errors import BacktalkError
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.methods.imitation import answer_trees
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, Fraction
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.requirements import PROMPTS, TWO_POLICIES

_GOAL = get_objective("weak-to-strong")


@training_method(
    "weak-to-strong",
    needs=[],
    objective="weak-to-strong",
    requires=[PROMPTS, TWO_POLICIES],
    example="-o teacher=WEAKER",
)
async def weak_to_strong(
    context: MethodContext,
    *,
    teacher: str | None = None,
    alpha: Fraction = 0.5,
    prompts: Count | None = None,
) -> BuildTasks:
    """Imitate a weaker policy's responses, with an auxiliary confidence loss.

    Weak-to-strong generalisation, Burns et al. (2023). The weaker policy responds once to each
    prompt of the store.

    Parameters
    ----------
    context : MethodContext
        Policy, feedback and run.
    teacher : str, optional
        Weaker policy, by name or id. Required.
    alpha : float, default 0.5
        Weight of the policy's own most probable tokens relative to the teacher's, in [0, 1].
    prompts : int, optional
        Maximum number of prompts; all prompts of the store by default.

    Raises
    ------
    BacktalkError
        If no teacher is named.
    """
    if teacher is None:
        raise BacktalkError(
            "weak-to-strong needs a teacher",
            "Name the weaker policy: -o teacher=NAME",
        )
    goal = _GOAL.bind(alpha=alpha)
    selected = context.prompts(prompts)
    responses = await context.sample(selected, 1, policy=context.get_policy(teacher))
    answers = [
        (prompt, text) for prompt, texts in zip(selected, responses, strict=True) for text in texts
    ]

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask("weak answers", goal, answer_trees(encoder, answers))]

    return build
