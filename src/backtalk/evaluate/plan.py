"""Plan of an evaluation: the answers that exist already, and checks before the others cost.

Nothing here calls a model that charges for an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

from backtalk.decode import DecoderOutput
from backtalk.evaluate.judges.protocol import CheckedJudge, Judge
from backtalk.feedback import content_id
from backtalk.feedback.describe import describe_answer
from backtalk.feedback.interaction import Prompt
from backtalk.models import Budget, CachedModel, Model, NotRecorded, Request, Usage
from backtalk.models.protocol import Checkable
from backtalk.models.wrappers.dry_run import PlannedRequests, PlanningModel, StoredModel
from backtalk.rewards.protocol import PlannedAnswers
from backtalk.run import Run


class AnsweringPolicy(Protocol):
    """Policy that can answer prompts, such as :class:`backtalk.policy.LoadedPolicy`."""

    @property
    def id(self) -> str:
        """Id of the policy."""
        ...

    async def decode(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[DecoderOutput]:
        """Answer each prompt."""
        ...


@runtime_checkable
class PlannablePolicy(AnsweringPolicy, Protocol):
    """Policy whose model is known, so that stored answers can be told from new ones."""

    @property
    def label(self) -> str:
        """Label for reports."""
        ...

    @property
    def model(self) -> Model:
        """Model that answers."""
        ...

    @property
    def is_recording(self) -> bool:
        """True if the answers are recorded ones, which cost nothing."""
        ...

    def with_model(self, model: Model) -> Self:
        """Return the policy with another model in place of its own."""
        ...


@dataclass(frozen=True)
class Plan:
    """Answers of each policy that exist before an evaluation."""

    prompts: tuple[Prompt, ...]
    policies: tuple[AnsweringPolicy, ...]
    stored: tuple[tuple[DecoderOutput | None, ...], ...]
    """Answer of each policy to each prompt; ``None`` for those to generate."""

    @property
    def reused(self) -> int:
        """Number of answers of earlier evaluations; recorded answers do not count."""
        return sum(
            answer is not None
            for policy, row in zip(self.policies, self.stored, strict=True)
            for answer in row
            if isinstance(policy, PlannablePolicy) and not policy.is_recording
        )

    @property
    def unfinished(self) -> list[PlannablePolicy]:
        """Policies with answers to generate, as far as it can be told."""
        return [
            policy
            for policy, row in zip(self.policies, self.stored, strict=True)
            if None in row and isinstance(policy, PlannablePolicy)
        ]

    def planned_answers(self) -> list[PlannedAnswers]:
        """Return the answers as far as they are known, for judges to check."""
        planned = []
        for policy, row in zip(self.policies, self.stored, strict=True):
            if isinstance(policy, PlannablePolicy):
                texts = tuple(
                    describe_answer(decoded.answer.text, decoded.answer.messages)
                    for decoded in row
                    if decoded is not None
                )
                complete = len(texts) == len(row)
                planned.append(PlannedAnswers(policy.label, texts if complete else None))
        return planned


async def make_plan(
    policies: Sequence[AnsweringPolicy], prompts: Sequence[Prompt], *, seed: int
) -> Plan:
    """Return the answers that exist already.

    Parameters
    ----------
    policies : sequence of AnsweringPolicy
        Policies, the baseline first.
    prompts : sequence of Prompt
        Prompts to answer.
    seed : int
        Seed of the run.

    Raises
    ------
    NotRecorded
        If a policy replays recorded answers and has none to a prompt.
    """
    rows = [
        await _stored_answers(policy, prompts, answer_seed(policy, seed)) for policy in policies
    ]
    return Plan(tuple(prompts), tuple(policies), tuple(map(tuple, rows)))


async def check_plan(plan: Plan, judges: Sequence[Judge], run: Run) -> None:
    """Raise an error if the evaluation cannot work, before anything is spent.

    Parameters
    ----------
    plan : Plan
        Plan of the answers.
    judges : sequence of Judge
        Judge and guardrails.
    run : Run
        Run with the budget.

    Raises
    ------
    BacktalkError
        If a judge cannot judge these answers or a model cannot answer.
    BudgetExceeded
        If the budget is too small for one prompt.
    """
    answers = plan.planned_answers()
    for judge in judges:
        if isinstance(judge, CheckedJudge):
            await judge.check(plan.prompts, answers)
    unfinished = plan.unfinished
    for caller in [*unfinished, *judges] if unfinished else ():
        model = getattr(caller, "model", None)
        if isinstance(model, Checkable):
            await model.check()
    await _check_budget(plan, run)


async def calls_per_prompt(plan: Plan) -> int:
    """Return the number of calls that one prompt takes of the policies with answers to generate."""
    return sum([len(await _requests(policy, plan)) for policy in plan.unfinished])


def answer_seed(policy: AnsweringPolicy, seed: int) -> int:
    """Return the seed of a policy's answers.

    It depends on what the policy samples from, so that the samples of two policies are independent
    unless they only choose among the same samples in different ways. It depends on nothing else but
    the seed of the run, so that every evaluation of the policy has the same answers.
    """
    samples = getattr(policy, "sampling_id", policy.id)
    return int(content_id("policy", str(seed), samples)[:8], 16)


async def _stored_answers(
    policy: AnsweringPolicy, prompts: Sequence[Prompt], seed: int
) -> Sequence[DecoderOutput | None]:
    if not isinstance(policy, PlannablePolicy):
        return [None] * len(prompts)
    if policy.is_recording:
        return await policy.decode(prompts, seed=seed)
    if not isinstance(policy.model, CachedModel):
        return [None] * len(prompts)
    stored = policy.with_model(StoredModel(policy.model))
    try:
        return await stored.decode(prompts, seed=seed)
    except NotRecorded:
        return [await _stored_answer(stored, prompt, seed) for prompt in prompts]


async def _stored_answer(
    policy: AnsweringPolicy, prompt: Prompt, seed: int
) -> DecoderOutput | None:
    try:
        (answer,) = await policy.decode([prompt], seed=seed)
    except NotRecorded:
        return None
    return answer


async def _check_budget(plan: Plan, run: Run) -> None:
    """Require the calls for one prompt of all policies together, and the tokens of each."""
    if run.budget == Budget():
        return
    bounds: dict[str, list[Usage]] = {}
    for policy in plan.unfinished:
        requests = await _requests(policy, plan)
        bounds.setdefault(policy.model.name, []).extend(map(policy.model.bound, requests))
    total = sum(len(usages) for usages in bounds.values())
    for name, usages in bounds.items():
        run.require(name, [*usages, *[Usage(1)] * (total - len(usages))])


async def _requests(policy: PlannablePolicy, plan: Plan) -> list[Request]:
    """Return the requests that the policy's decoder makes first for the first prompt left."""
    row = plan.stored[plan.policies.index(policy)]
    prompt = plan.prompts[row.index(None)]
    try:
        await policy.with_model(PlanningModel(policy.model)).decode([prompt])
    except PlannedRequests as planned:
        return planned.requests
    return []
