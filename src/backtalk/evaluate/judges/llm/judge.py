"""Language models as judges of pairs of answers, and of single answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

import numpy as np

from backtalk.evaluate.judges.info import JudgeInfo
from backtalk.evaluate.judges.llm.options import JudgeOptions
from backtalk.evaluate.judges.llm.questions import (
    comparison_format,
    comparison_question,
    score_format,
    score_question,
)
from backtalk.evaluate.judges.llm.verdicts import collect_verdicts
from backtalk.models import CachedModel, Model, ResponseCache
from backtalk.rewards import PromptResponse, Scores
from backtalk.rewards.preference_oracle import ResponsePair
from backtalk.run import Run
from backtalk.stats.validation import Floats

_TIE = np.array([0.0, 0.0, 1.0])


class LanguageModelJudge:
    """Base class of judges by a language model.

    Parameters
    ----------
    model : Model
        Model that judges.
    options : JudgeOptions, optional
        Rubric, number of samples and so on.
    cache : ResponseCache, optional
        Cache of its replies, so that no question is paid for twice, in whatever run.
    run : Run, optional
        Run that caches and limits its calls; see :meth:`in_run`.
    """

    def __init__(
        self,
        model: Model,
        options: JudgeOptions | None = None,
        *,
        cache: ResponseCache | None = None,
        run: Run | None = None,
    ) -> None:
        self.model = model if run is None else run.wrap(model, role="judge")
        self.options = options or JudgeOptions()
        self.cache = cache
        self._run = run

    @property
    def name(self) -> str:
        """Name in reports."""
        return self.options.name or f"llm:{self.model.name}"

    @property
    def aspect(self) -> str:
        """Aspect of people's judgements with which its verdicts are compared."""
        return self.options.aspect

    @property
    def info(self) -> JudgeInfo:
        """Description, for evaluations."""
        return JudgeInfo(name=self.name, kind="llm", model=self.model.name)

    def in_run(self, run: Run) -> Self:
        """Return the same judge, whose calls count towards the budget of a run."""
        if self._run is run:
            return self
        return type(self)(self.model, self.options, cache=self.cache, run=run)

    @property
    def _cached_model(self) -> Model:
        return self.model if self.cache is None else CachedModel(self.model, self.cache)


class LlmJudge(LanguageModelJudge):
    """Judge that compares two answers.

    Each pair is shown in both orders, unless the options say otherwise, and the two verdicts are
    averaged: a verdict that changes with the order is half a win for each, which is a tie (Zheng et
    al. 2023, arXiv 2306.05685, section 3.4). Equal answers are a tie without a call. A pair
    whose replies cannot be read in either order has no verdict: its row is NaN.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models import FunctionModel
    >>> from backtalk.models.run_sync import run_sync
    >>> judge = LlmJudge(FunctionModel(lambda request: "A", name="first"))
    >>> prompt = as_prompt("Are you open?")
    >>> run_sync(judge.compare([(prompt, "Yes.")], [(prompt, "No.")])).tolist()
    [[0.5, 0.5, 0.0]]
    """

    @property
    def both_orders(self) -> bool:
        """True if each pair is shown in both orders."""
        return self.options.both_orders

    async def compare(self, a: Sequence[PromptResponse], b: Sequence[PromptResponse]) -> Floats:
        """Return P(a is preferred), P(b is preferred) and P(tie), shape ``(n, 3)``."""
        forward = await self.compare_in_order(a, b)
        if not self.options.both_orders:
            return forward
        backward = await self.compare_in_order(b, a)
        return np.asarray((forward + backward[:, [1, 0, 2]]) / 2)

    async def compare_in_order(
        self, first: Sequence[PromptResponse], second: Sequence[PromptResponse]
    ) -> Floats:
        """Compare answers in one order only.

        Parameters
        ----------
        first, second : sequence of PromptResponse
            Answers that are shown first and second, n of each.

        Returns
        -------
        numpy.ndarray
            P(first is preferred), P(second is preferred) and P(tie), shape ``(n, 3)``.
        """
        form = comparison_format(self.options)
        differ = [x[1] != y[1] for x, y in zip(first, second, strict=True)]
        questions = [
            comparison_question(x, y, self.options, form)
            for x, y, different in zip(first, second, differ, strict=True)
            if different
        ]
        verdicts = np.tile(_TIE, (len(first), 1))
        verdicts[np.array(differ, dtype=bool)] = await collect_verdicts(
            self._cached_model, questions, form, self.options, cache=self.cache
        )
        return verdicts

    async def prefer(self, pairs: Sequence[ResponsePair]) -> Floats:
        """Return the probability that the first response of each pair is better, shape ``(n,)``.

        A tie, and a pair without a verdict, is 1/2.
        """
        verdicts = await self.compare(
            [(prompt, first) for prompt, first, _ in pairs],
            [(prompt, second) for prompt, _, second in pairs],
        )
        return np.nan_to_num(verdicts[:, 0] + verdicts[:, 2] / 2, nan=0.5)


class LlmReward(LanguageModelJudge):
    """Judge that scores each answer on the scale of its rubric.

    The score is the mean over samples, or over all scores by their probability. An answer whose
    replies cannot be read has no score: it is NaN.

    Examples
    --------
    >>> from backtalk.feedback import as_prompt
    >>> from backtalk.models import FunctionModel
    >>> from backtalk.models.run_sync import run_sync
    >>> judge = LlmReward(FunctionModel(lambda request: "Score: 4/5", name="four"))
    >>> run_sync(judge.score([(as_prompt("Are you open?"), "Yes.")])).mean.tolist()
    [4.0]
    """

    @property
    def bounds(self) -> tuple[float, float]:
        """Ends of the scale."""
        low, high = self.options.rubric.scale
        return float(low), float(high)

    async def score(self, answers: Sequence[PromptResponse]) -> Scores:
        """Return the score of each response to its prompt."""
        form = score_format(self.options)
        questions = [score_question(answer, self.options, form) for answer in answers]
        values = await collect_verdicts(
            self._cached_model, questions, form, self.options, cache=self.cache
        )
        return Scores(values[:, 0])
