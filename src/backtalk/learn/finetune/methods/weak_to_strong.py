"""Weak-to-strong learning: a strong model learns from what a weaker one says."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.learn.context import answer_trees, named_policy, prompts_of
from backtalk.learn.finetune import objectives as _objectives  # noqa: F401 - registers them
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, find_objective
from backtalk.learn.finetune.registration import MethodContext, training_method

_GOAL = find_objective("weak-to-strong")


@training_method("weak-to-strong", needs=[], paper=_GOAL.paper)
async def weak_to_strong(
    work: MethodContext,
    *,
    teacher: str | None = None,
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5,
    prompts: Annotated[int, Field(ge=1)] | None = None,
) -> BuildTasks:
    """Weak-to-strong: a weaker policy's answers are imitated, with trust in one's own confidence.

    Burns et al. (2023), with the auxiliary confidence loss. The weak policy answers the store's
    prompts once each, as it answers anybody.

    Parameters
    ----------
    work : MethodContext
        The policy, the feedback and the run.
    teacher : str, optional
        The weaker policy, by name.
    alpha : float, default 0.5
        How much the policy's own most probable tokens count against the teacher's.
    prompts : Annotated[int, Field(ge=1)], optional
        The most prompts; all of the store's by default.
    """
    if teacher is None:
        raise BacktalkError(
            "weak-to-strong has nobody to learn from",
            "Name the weaker policy as the store knows it: -o teacher=NAME",
        )
    goal = _GOAL.bind(alpha=alpha)
    asked = prompts_of(work, prompts)
    result = await work.sample(asked, 1, policy=named_policy(work, teacher))
    answers = [(prompt, text) for prompt, own in zip(asked, result, strict=True) for text in own]

    def make(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask("weak answers", goal, answer_trees(encoder, answers))]

    return make
