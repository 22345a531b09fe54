"""Answers of several policies to the same prompts, and a judge's values of them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray

from backtalk.decode import DecoderOutput
from backtalk.errors import BacktalkError
from backtalk.evaluate.judges.protocol import (
    Judge,
    PairwiseJudge,
    RecordingJudge,
    judge_batch_size,
)
from backtalk.evaluate.plan import AnsweringPolicy, Plan, answer_seed, calls_per_prompt
from backtalk.feedback.describe import describe_answer, shorten
from backtalk.feedback.interaction import Prompt, prompt_text
from backtalk.models import Budget, BudgetExceeded, ModelError
from backtalk.models.cut_answers import warn_of_cut_answers
from backtalk.models.refused_requests import REFUSED
from backtalk.rewards import PromptResponse, Reward
from backtalk.run import Run, StepReporter
from backtalk.stats.validation import Floats

BATCH_SIZE = 32
"""Number of prompts answered and judged at a time."""
MAX_LEFT_OUT = 0.05
"""Largest share of the prompts that models may refuse, by default."""
_SHOWN = 3

BUDGET_BATCH_SIZE = 8
"""Number of prompts answered and judged at a time in a run with a budget."""


@dataclass(frozen=True)
class RefusedPrompt:
    """Prompt that a model refuses, such as one that its chat template cannot write."""

    prompt: Prompt
    reason: str
    """Error of the model."""

    def __str__(self) -> str:
        return f"{shorten(prompt_text(self.prompt), 80)!r}: {self.reason}"


@dataclass(frozen=True)
class AnswerSet:
    """Answers of several policies to the same prompts, with the judge's values."""

    prompts: tuple[Prompt, ...]
    answers: tuple[tuple[DecoderOutput, ...], ...]
    """Answers of each policy, the baseline first."""
    values: Floats
    """Judge's value of each answer, shape ``(policies, prompts)``: its score, or, if the judge only
    compares, the probability that the answer is preferred to the baseline's plus half that of a
    tie. The baseline's own value is then 1/2."""
    complete: bool
    """False if the budget ended before all prompts were answered."""
    reused: int = 0
    """Number of answers of earlier evaluations, of all policies together."""
    unjudged: int = 0
    """Number of prompts without a verdict of the judge, which are left out."""
    refused: tuple[RefusedPrompt, ...] = ()
    """Prompts that a policy's model refuses, which are left out for all policies."""


async def answer_and_judge(
    plan: Plan, judge: Judge, run: Run, *, max_left_out: float = MAX_LEFT_OUT
) -> AnswerSet:
    """Generate the answers that do not exist yet, and judge all of them.

    The policies sample independently of one another. If the budget ends, the result has the
    prompts that all policies have answered.

    Parameters
    ----------
    plan : Plan
        Policies, the baseline first, their prompts and the answers that exist.
    judge : Judge
        Judge that scores the answers, or compares them with the baseline's.
    run : Run
        Seed, budget and progress of the run.
    max_left_out : float, default 0.05
        Largest share of the prompts that models may refuse, in [0, 1].

    Raises
    ------
    BacktalkError
        If models refuse more prompts, or all.
    BudgetExceeded
        If the budget ends before the first batch of prompts is answered and judged.
    ModelError
        If a model does not answer; answers so far are stored if the run has a file for them.
    """
    prompts, count = plan.prompts, len(plan.policies)
    answers: list[list[DecoderOutput]] = [[] for _ in range(count)]
    values: list[Floats] = []
    answered_prompts: list[Prompt] = []
    refused: list[RefusedPrompt] = []
    done = 0
    size = await _batch_size(plan, judge, run)
    with (
        run.task("answering", count * len(prompts), note=_reuse_note(plan)) as answered,
        run.task(f"judging by {judge.name}", len(prompts)) as judged,
    ):
        for start in range(0, len(prompts), size):
            batch = range(start, min(start + size, len(prompts)))
            try:
                outputs = [
                    await _answers(plan, index, batch, run, answered) for index in range(count)
                ]
                part, rows, errors = _split_refused(prompts[start : batch.stop], outputs)
                refused += errors
                _check_refused(refused, len(prompts), max_left_out)
                texts = [pair_texts(part, row) for row in rows]
                if part:
                    values.append(await _judge(judge, texts, [item.id for item in plan.policies]))
            except BudgetExceeded:
                if not values:
                    raise
                break
            except ModelError as error:
                raise _resumable(error, run) from None
            for row, decoded in zip(answers, rows, strict=True):
                row.extend(decoded)
            answered_prompts += part
            done = batch.stop
            judged(done)
    for policy, row in zip(plan.policies, answers, strict=True):
        warn_of_cut_answers(policy.id[:8], [output.answer for output in row])
    answer_set = AnswerSet(
        prompts=tuple(answered_prompts),
        answers=tuple(tuple(row) for row in answers),
        values=np.concatenate(values, axis=1),
        complete=done == len(prompts),
        reused=plan.reused,
        refused=tuple(refused),
    )
    return _without_unjudged(answer_set, judge)


def select_prompts(answer_set: AnswerSet, mask: NDArray[np.bool_]) -> AnswerSet:
    """Return the answers to some of the prompts.

    Parameters
    ----------
    answer_set : AnswerSet
        Answers.
    mask : numpy.ndarray
        True for each prompt to keep, shape ``(prompts,)``.
    """
    return replace(
        answer_set,
        prompts=tuple(compress(answer_set.prompts, mask)),
        answers=tuple(tuple(compress(row, mask)) for row in answer_set.answers),
        values=answer_set.values[:, mask],
    )


def _without_unjudged(answer_set: AnswerSet, judge: Judge) -> AnswerSet:
    judged: NDArray[np.bool_] = np.asarray(~np.isnan(answer_set.values).any(axis=0))
    if not judged.any():
        raise BacktalkError(
            f"{judge.name} gave no verdict on any of {len(judged)} prompts",
            "Use another judge, or look at the replies of this one; the answers are stored",
        )
    if judged.all():
        return answer_set
    return replace(select_prompts(answer_set, judged), unjudged=int((~judged).sum()))


async def _batch_size(plan: Plan, judge: Judge, run: Run) -> int:
    """Return the number of prompts to answer and judge at a time.

    A run with a budget has small batches, and none that its calls do not suffice for, as a batch
    that the budget ends in is lost.
    """
    size = judge_batch_size(judge, BATCH_SIZE)
    if size is None:
        return len(plan.prompts)
    if run.budget == Budget():
        return size
    size = min(size, BUDGET_BATCH_SIZE)
    per_prompt = await calls_per_prompt(plan)
    if run.budget.calls is None or not per_prompt:
        return size
    return max(1, min(size, (run.budget.calls - run.spent.usage.calls) // per_prompt))


async def _answers(
    plan: Plan, index: int, batch: range, run: Run, step: StepReporter
) -> list[DecoderOutput | ModelError]:
    """Return the answers of one policy: stored ones, and new ones for the other prompts.

    A prompt that the model refuses has the error instead of an answer.
    """
    policy, stored = plan.policies[index], plan.stored[index]
    before = len(plan.policies) * batch.start + index * len(batch)
    answers: list[DecoderOutput | ModelError] = []
    for start in range(batch.start, batch.stop, BATCH_SIZE):
        part = range(start, min(start + BATCH_SIZE, batch.stop))
        missing = [plan.prompts[i] for i in part if stored[i] is None]
        seed = answer_seed(policy, run.seed)
        new = iter(await _decode(policy, missing, seed) if missing else ())
        answers.extend(stored[i] or next(new) for i in part)
        step(before + len(answers))
    return answers


async def _decode(
    policy: AnsweringPolicy, prompts: Sequence[Prompt], seed: int
) -> list[DecoderOutput | ModelError]:
    """Return the answers to prompts, or the errors with which the model refuses them."""
    try:
        return [*await policy.decode(prompts, seed=seed)]
    except REFUSED as error:
        if len(prompts) == 1:
            return [error]
    half = len(prompts) // 2
    first = await _decode(policy, prompts[:half], seed)
    return [*first, *await _decode(policy, prompts[half:], seed)]


def _split_refused(
    prompts: Sequence[Prompt], outputs: Sequence[Sequence[DecoderOutput | ModelError]]
) -> tuple[list[Prompt], list[list[DecoderOutput]], list[RefusedPrompt]]:
    """Return the prompts that all policies answered, their answers, and the other prompts."""
    answered: list[Prompt] = []
    rows: list[list[DecoderOutput]] = [[] for _ in outputs]
    refused = []
    for prompt, column in zip(prompts, zip(*outputs, strict=True), strict=True):
        errors = [one for one in column if isinstance(one, ModelError)]
        if errors:
            refused.append(RefusedPrompt(prompt, str(errors[0])))
            continue
        answered.append(prompt)
        for row, output in zip(rows, column, strict=True):
            if isinstance(output, DecoderOutput):
                row.append(output)
    return answered, rows, refused


def _check_refused(refused: Sequence[RefusedPrompt], total: int, limit: float) -> None:
    """Raise an error if models refuse a larger share of the prompts than a limit, or all."""
    if not refused or (len(refused) <= limit * total and len(refused) < total):
        return
    listed = "; ".join(map(str, refused[:_SHOWN]))
    raise BacktalkError(
        f"{len(refused)} of {total} prompts are refused by a model, and max_left_out is "
        f"{limit:.0%}: {listed}",
        "Mend or delete these prompts, choose another chat_template of the policy, or raise "
        "max_left_out",
    )


def _reuse_note(plan: Plan) -> str:
    return f"reused {plan.reused} answers" if plan.reused else ""


def _resumable(error: ModelError, run: Run) -> ModelError:
    """Return the error with the remark that a further run pays for no answer twice."""
    if run.is_resumable:
        error.mend = (
            f"{error.mend}. The answers so far are stored: run the same again, and it goes on from "
            "there"
        )
    return error


def pair_texts(prompts: Sequence[Prompt], answers: Sequence[DecoderOutput]) -> list[PromptResponse]:
    """Return each prompt with its answer as judges read it: its text, and its tool calls."""
    return [
        (prompt, describe_answer(decoded.answer.text, decoded.answer.messages))
        for prompt, decoded in zip(prompts, answers, strict=True)
    ]


async def preferences_by(
    judge: PairwiseJudge,
    answers: Sequence[PromptResponse],
    baseline: Sequence[PromptResponse],
    policies: tuple[str, str],
) -> Floats:
    """Return the preferences for some answers over the baseline's, shape ``(n,)``, in [0, 1].

    Parameters
    ----------
    judge : PairwiseJudge
        Judge that compares the answers.
    answers, baseline : sequence of PromptResponse
        Answers of two policies to the same n prompts.
    policies : tuple of two str
        Ids of these policies, for a judge that records them.

    Returns
    -------
    numpy.ndarray
        Probability that each answer is preferred, plus half that of a tie; NaN without a verdict.
    """
    if isinstance(judge, RecordingJudge):
        verdicts = await judge.compare_policies(answers, baseline, policies)
    else:
        verdicts = await judge.compare(answers, baseline)
    return np.asarray(verdicts[:, 0] + verdicts[:, 2] / 2, dtype=float)


async def _judge(
    judge: Judge, rows: Sequence[Sequence[PromptResponse]], policies: Sequence[str]
) -> Floats:
    """Return the values of each policy's answers, shape ``(policies, prompts)``."""
    if isinstance(judge, Reward):
        scores = await judge.score([answer for row in rows for answer in row])
        return scores.mean.reshape(len(rows), -1)
    comparisons = (
        preferences_by(judge, row, rows[0], (policy, policies[0]))
        for row, policy in zip(rows[1:], policies[1:], strict=True)
    )
    if isinstance(judge, RecordingJudge):  # people are asked about all candidates at once
        values = await asyncio.gather(*comparisons)
    else:
        values = [await comparison for comparison in comparisons]
    return np.stack([np.full(len(rows[0]), 0.5), *values])
