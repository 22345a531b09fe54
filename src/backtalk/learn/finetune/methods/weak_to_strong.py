"""Weak-to-strong generalisation: a strong model learns from the responses of a weaker one."""

from __future__ import annotations

from backtalk.errors import BacktalkError
from backtalk.learn.context import MethodContext
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.methods.imitation import answer_trees
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask, get_objective
from backtalk.learn.finetune.option_types import Count, Fraction
from backtalk.learn.finetune.registration import training_method
from backtalk.learn.requirements import PROMPTS, TEACHER, TWO_POLICIES
from backtalk.policy import Policy, list_policies

_GOAL = get_objective("weak-to-strong")


@training_method(
    "weak-to-strong",
    needs=[],
    objective="weak-to-strong",
    requires=[PROMPTS, TWO_POLICIES, TEACHER],
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
        Weaker policy, by name or id; by default the only other policy of the store.
    alpha : float, default 0.5
        Weight of the policy's own most probable tokens relative to the teacher's, in [0, 1].
    prompts : int, optional
        Maximum number of prompts; all prompts of the store by default.

    Raises
    ------
    BacktalkError
        If no teacher is named, and the store has no other policy or several.
    """
    goal = _GOAL.bind(alpha=alpha)
    selected = context.prompts(prompts)
    responses = await context.sample(selected, 1, policy=_find_teacher(context, teacher))
    answers = [
        (prompt, text) for prompt, texts in zip(selected, responses, strict=True) for text in texts
    ]

    def build(encoder: Encoder) -> list[TrainingTask]:
        return [TrainingTask("weak answers", goal, answer_trees(encoder, answers))]

    return build


def _find_teacher(context: MethodContext, name: str | None) -> Policy:
    """Return the teacher: the policy of that name, or the only other policy of the store."""
    if name is not None:
        return context.get_policy(name)
    policies = {policy.id: policy for policy in list_policies(context.feedback.store)}
    others = [policy for id_, policy in policies.items() if id_ != context.policy.id]
    if len(others) != 1:
        known = ", ".join(policy.label for policy in others) or "there is none"
        raise BacktalkError(
            "weak-to-strong needs a teacher",
            f"Name the weaker policy: -o teacher=NAME. Other policies: {known}",
        )
    return others[0]
