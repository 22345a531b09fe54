"""Answers of several policies to the same prompts, and a judge's values of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from backtalk.decode import DecoderOutput
from backtalk.evaluate.judges.protocol import Judge, PairwiseJudge, judge_batch_size
from backtalk.feedback import content_id
from backtalk.feedback.interaction import Prompt
from backtalk.models import BudgetExceeded
from backtalk.rewards import PromptResponse, Reward
from backtalk.run import Run
from backtalk.stats.validation import Floats

BATCH_SIZE = 32
"""Number of prompts answered at a time. A budget that ends within a batch loses that batch."""


class AnsweringPolicy(Protocol):
    """Policy that can answer prompts, such as :class:`backtalk.policy.LoadedPolicy`."""

    @property
    def id(self) -> str:
        """Id of the policy."""
        ...

    async def decode(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[DecoderOutput]:
        """Answer each prompt."""
        ...


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


async def answer_and_judge(
    policies: Sequence[AnsweringPolicy], prompts: Sequence[Prompt], judge: Judge, run: Run
) -> AnswerSet:
    """Generate the answers of each policy to each prompt, and judge them.

    The policies sample independently of one another. If the budget ends, the result has the
    prompts that all policies have answered.

    Parameters
    ----------
    policies : sequence of AnsweringPolicy
        Policies, the baseline first.
    prompts : sequence of Prompt
        Prompts to answer.
    judge : Judge
        Judge that scores the answers, or compares them with the baseline's.
    run : Run
        Seed, budget and progress of the run.

    Raises
    ------
    BudgetExceeded
        If the budget ends before the first batch of prompts is answered.
    """
    answers: list[list[DecoderOutput]] = [[] for _ in policies]
    values: list[Floats] = []
    done = 0
    size = judge_batch_size(judge, BATCH_SIZE) or len(prompts)
    with run.task("answering held-out prompts", len(prompts)) as step:
        for start in range(0, len(prompts), size):
            batch = prompts[start : start + size]
            try:
                outputs = [
                    await policy.decode(batch, seed=answer_seed(policy, run.seed))
                    for policy in policies
                ]
                judged = await _judge(judge, [pair_texts(batch, row) for row in outputs])
            except BudgetExceeded:
                if not done:
                    raise
                break
            for row, decoded in zip(answers, outputs, strict=True):
                row.extend(decoded)
            values.append(judged)
            done += len(batch)
            step(done)
    return AnswerSet(
        prompts=tuple(prompts[:done]),
        answers=tuple(tuple(row) for row in answers),
        values=np.concatenate(values, axis=1),
        complete=done == len(prompts),
    )


def answer_seed(policy: AnsweringPolicy, seed: int) -> int:
    """Return the seed of a policy's answers.

    It depends on the policy, so that the samples of two policies are independent, and on nothing
    else but the seed of the run, so that every evaluation of the policy has the same answers.
    """
    return int(content_id("policy", str(seed), policy.id)[:8], 16)


def pair_texts(prompts: Sequence[Prompt], answers: Sequence[DecoderOutput]) -> list[PromptResponse]:
    """Return each prompt with the text of its answer."""
    return [(prompt, decoded.answer.text) for prompt, decoded in zip(prompts, answers, strict=True)]


async def preferences_by(
    judge: PairwiseJudge, answers: Sequence[PromptResponse], baseline: Sequence[PromptResponse]
) -> Floats:
    """Return the preferences for some answers over the baseline's, shape ``(n,)``, in [0, 1].

    Parameters
    ----------
    judge : PairwiseJudge
        Judge that compares the answers.
    answers, baseline : sequence of PromptResponse
        Answers of two policies to the same n prompts.

    Returns
    -------
    numpy.ndarray
        Probability that each answer is preferred, plus half that of a tie.
    """
    verdicts = await judge.compare(answers, baseline)
    return np.asarray(verdicts[:, 0] + verdicts[:, 2] / 2, dtype=float)


async def _judge(judge: Judge, rows: Sequence[Sequence[PromptResponse]]) -> Floats:
    """Return the values of each policy's answers, shape ``(policies, prompts)``."""
    if isinstance(judge, Reward):
        scores = await judge.score([answer for row in rows for answer in row])
        return scores.mean.reshape(len(rows), -1)
    baseline, *others = rows
    values = [np.full(len(baseline), 0.5)]
    values += [await preferences_by(judge, row, baseline) for row in others]
    return np.stack(values)
