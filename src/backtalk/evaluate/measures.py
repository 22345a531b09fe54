"""Measures of an evaluation: values, guardrails, and choices compared with baseline rules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from backtalk.decode import DecoderOutput
from backtalk.errors import NotFound
from backtalk.evaluate.answering import preferences_by
from backtalk.evaluate.judges.info import describe_judge
from backtalk.evaluate.judges.protocol import Judge, UncertainJudge
from backtalk.evaluate.result import Measure, SelectionBaseline
from backtalk.feedback.describe import describe_answer
from backtalk.feedback.interaction import Prompt
from backtalk.rewards import PromptResponse, Reward
from backtalk.stats.baselines import compare_to_baselines
from backtalk.stats.estimate import Estimate, NoSpread
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.validation import Floats
from backtalk.stats.win_rate import paired_difference, win_rate

COSTLY = frozenset({"llm", "people"})
"""Kinds of judges that judge the answers only, and not the samples that they were chosen from."""


def score_preferences(values: Floats, baseline_values: Floats) -> Floats:
    """Return 1 where the value is higher than the baseline's, 0 where lower, 1/2 where equal."""
    return np.asarray((np.sign(values - baseline_values) + 1) / 2)


async def selection_baselines(
    answers: Sequence[DecoderOutput], prompts: Sequence[Prompt], judge: Judge
) -> tuple[tuple[SelectionBaseline, ...], Estimate | None]:
    """Compare the candidate's choice among its samples with baseline rules, if it has a choice.

    Parameters
    ----------
    answers : sequence of DecoderOutput
        Answers with their samples.
    prompts : sequence of Prompt
        Prompt of each answer.
    judge : Judge
        Judge of the samples. There is no comparison if it has no scores, is costly, does not know
        the samples that were not chosen, or finds hardly a difference on an unbounded scale.
    """
    if (
        not isinstance(judge, Reward)
        or describe_judge(judge).kind in COSTLY
        or all(len(decoded.candidates) == 1 for decoded in answers)
    ):
        return (), None
    samples = [
        (prompt, describe_answer(completion.text, completion.messages))
        for prompt, decoded in zip(prompts, answers, strict=True)
        for completion in decoded.candidates
    ]
    ends = np.cumsum([len(decoded.candidates) for decoded in answers])
    try:
        scores = await judge.score(samples)
        comparison = compare_to_baselines(
            [[completion.text for completion in decoded.candidates] for decoded in answers],
            np.split(scores.mean, ends[:-1]),
            [decoded.chosen for decoded in answers],
            bounds=judge.bounds,
        )
    except (NotFound, NoSpread):
        return (), None
    choices = tuple(
        SelectionBaseline(rule=rule, value=score.score, difference=score.difference)
        for rule, score in comparison.baselines.items()
    )
    return choices, comparison.ceiling


async def guard_measure(
    guard: Judge,
    responses: Sequence[PromptResponse],
    baseline_responses: Sequence[PromptResponse],
    policies: tuple[str, str],
    *,
    seed: int,
) -> Measure:
    """Return the values of both policies' answers by a guardrail.

    Parameters
    ----------
    guard : Judge
        Guardrail.
    responses, baseline_responses : sequence of PromptResponse
        Answers of the candidate and of the baseline to the same prompts.
    policies : tuple of two str
        Ids of the candidate and of the baseline.
    seed : int
        Seed of the intervals.
    """
    if isinstance(guard, Reward):
        values = (await guard.score(responses)).mean
        baseline_values = (await guard.score(baseline_responses)).mean
    else:
        values = await preferences_by(guard, responses, baseline_responses, policies)
        baseline_values = np.full(len(values), 0.5)
    judged = ~np.isnan(values + baseline_values)
    if not judged.any():
        raise NotFound(
            f"The guardrail {guard.name} gave no verdict on any of {len(judged)} prompts",
            "Use another guardrail; the answers are stored",
        )
    return measure(guard, values[judged], baseline_values[judged], seed)


async def judged_win_rate(
    judge: Judge,
    preferences: Floats,
    responses: Sequence[PromptResponse],
    baseline_responses: Sequence[PromptResponse],
    *,
    seed: int,
) -> Estimate:
    """Return the win rate by a judge, with the error of the judge's own fit if it knows it.

    A reward that was fitted on few judgements errs in the same way on all prompts. The interval
    over prompts alone would make any such error look like a difference if there are many prompts.

    Parameters
    ----------
    judge : Judge
        Judge.
    preferences : numpy.ndarray
        Probability that each response is preferred, plus half that of a tie, shape ``(n,)``.
    responses, baseline_responses : sequence of PromptResponse
        Answers of the candidate and of the baseline to the same prompts.
    seed : int
        Seed of the intervals.
    """
    rate = win_rate(preferences, seed=seed).estimate
    if not isinstance(judge, UncertainJudge):
        return rate
    widened = rate.widened(
        await judge.win_rate_std(responses, baseline_responses), method="posterior of the judge"
    )
    return replace(widened, low=max(widened.low, 0.0), high=min(widened.high, 1.0))


def bounds_of(judge: Judge) -> tuple[float, float] | None:
    """Return the ends of a judge's scale; that of preferences if it only compares."""
    return judge.bounds if isinstance(judge, Reward) else (0.0, 1.0)


def measure(judge: Judge, values: Floats, baseline_values: Floats, seed: int) -> Measure:
    """Return the mean values of two policies' answers, with their difference.

    Parameters
    ----------
    judge : Judge
        Judge of the answers.
    values, baseline_values : numpy.ndarray
        Value of each answer, shape ``(n,)``.
    seed : int
        Seed of the intervals.
    """
    bounds = bounds_of(judge)

    def estimate(interval: Callable[[], Estimate]) -> Estimate | None:
        try:
            return interval()
        except NoSpread:
            return None

    if not isinstance(judge, Reward):
        preference = mean_interval(values, bounds=(0.0, 1.0), seed=seed)
        return Measure(
            name=judge.name,
            candidate=preference,
            difference=preference.transform(1.0, -0.5),
        )
    return Measure(
        name=judge.name,
        candidate=estimate(lambda: mean_interval(values, bounds=bounds, seed=seed)),
        baseline=estimate(lambda: mean_interval(baseline_values, bounds=bounds, seed=seed)),
        difference=estimate(
            lambda: paired_difference(values, baseline_values, bounds=bounds, seed=seed)
        ),
    )
