"""Protocols of judges: one scores each answer, another compares two answers to a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias, TypeVar, runtime_checkable

from backtalk.feedback.interaction import Prompt
from backtalk.rewards import PromptResponse, Reward
from backtalk.rewards.protocol import PlannedAnswers
from backtalk.run import Run
from backtalk.stats.validation import Floats


@runtime_checkable
class PairwiseJudge(Protocol):
    """Judge that compares two answers.

    A judge that also is a :class:`~backtalk.rewards.Reward` scores answers as well: the values of
    an evaluation are its scores, and the win rate comes from its comparisons.
    """

    @property
    def name(self) -> str:
        """Name in reports."""
        ...

    async def compare(self, a: Sequence[PromptResponse], b: Sequence[PromptResponse]) -> Floats:
        """Return P(a is preferred), P(b is preferred) and P(tie), shape ``(n, 3)``."""
        ...


@runtime_checkable
class RecordingJudge(Protocol):
    """Judge that compares two answers and records the policies that gave them."""

    async def compare_policies(
        self,
        a: Sequence[PromptResponse],
        b: Sequence[PromptResponse],
        policies: tuple[str | None, str | None] = (None, None),
    ) -> Floats:
        """Return P(a is preferred), P(b is preferred) and P(tie), shape ``(n, 3)``.

        Parameters
        ----------
        a, b : sequence of PromptResponse
            Answers of two policies to the same n prompts.
        policies : tuple of two str or None, default (None, None)
            Ids of these policies.
        """
        ...


Judge: TypeAlias = Reward | PairwiseJudge
"""Judge of an evaluation."""

JudgeT = TypeVar("JudgeT", bound=Judge)


def in_run(judge: JudgeT, run: Run) -> JudgeT:
    """Return a judge whose calls of models count towards the budget of a run.

    A judge that calls models has a method ``in_run``; others are returned as they are.
    """
    bound: JudgeT = judge.in_run(run) if hasattr(judge, "in_run") else judge
    return bound


@runtime_checkable
class CheckedJudge(Protocol):
    """Judge that can tell, before any answer is generated, that it cannot judge."""

    async def check(self, prompts: Sequence[Prompt], answers: Sequence[PlannedAnswers]) -> None:
        """Raise an error if the judge cannot judge these answers, without a paid call.

        Parameters
        ----------
        prompts : sequence of Prompt
            Prompts of the evaluation.
        answers : sequence of PlannedAnswers
            Answers of each policy to these prompts, as far as they are known.

        Raises
        ------
        BacktalkError
            If it cannot; the message names the judges that can.
        """
        ...


def judge_batch_size(judge: Judge, default: int) -> int | None:
    """Return the number of prompts that a judge judges at a time, ``None`` for all at once.

    It is the judge's attribute ``batch_size``, such as ``None`` for people, who need all questions
    at once; otherwise the default.
    """
    size: int | None = getattr(judge, "batch_size", default)
    return size


@runtime_checkable
class UncertainJudge(Protocol):
    """Judge that was fitted on few judgements, and knows the error that this makes."""

    async def win_rate_std(self, a: Sequence[PromptResponse], b: Sequence[PromptResponse]) -> float:
        """Return the standard deviation of a's mean win rate over fits to other judgements."""
        ...
