"""Evaluation of a candidate policy against a baseline, on the same prompts by one judge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from backtalk.decode import DecoderOutput
from backtalk.errors import BacktalkError
from backtalk.evaluate.answering import (
    AnsweringPolicy,
    AnswerSet,
    answer_and_judge,
    pair_texts,
    preferences_by,
)
from backtalk.evaluate.judges.info import describe_judge
from backtalk.evaluate.judges.protocol import Judge, PairwiseJudge
from backtalk.evaluate.result import Evaluation, Measure, PromptSplit, SelectionBaseline
from backtalk.feedback import content_id
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.rewards import PromptResponse, Reward
from backtalk.run import Run
from backtalk.stats.baselines import compare_to_baselines
from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.selection_bias import Selection, choose
from backtalk.stats.validation import Floats
from backtalk.stats.win_rate import paired_difference, win_rate

__all__ = ["AnswerSet", "AnsweringPolicy", "PairwiseJudge", "choose_best", "evaluate"]

_COSTLY = frozenset({"llm", "people"})
"""Kinds of judges that judge the answers only, and not every sample that one was chosen from."""


async def evaluate(
    candidate: AnsweringPolicy,
    baseline: AnsweringPolicy,
    prompts: Sequence[Prompt],
    judge: Judge,
    *,
    run: Run,
    split: PromptSplit = "held-out",
    guards: Sequence[Judge] = (),
) -> tuple[Evaluation, AnswerSet]:
    """Compare a candidate with a baseline.

    Parameters
    ----------
    candidate, baseline : AnsweringPolicy
        Policies, loaded with :meth:`Run.wrap` so that the budget applies.
    prompts : sequence of Prompt
        Prompts that both policies answer.
    judge : Judge
        Judge that scores the answers, compares them, or both. The values of one that only compares
        are preferences over the baseline.
    run : Run
        Seed, budget and progress of the run.
    split : PromptSplit, default "held-out"
        Set that the prompts are from, for the record.
    guards : sequence of Judge, default ()
        Guardrails: judges by which the candidate must not get worse.

    Returns
    -------
    Evaluation
        Result of the comparison.
    AnswerSet
        Answers of both policies, the baseline first.

    Raises
    ------
    BacktalkError
        If there is no prompt, or both policies are the same.
    """
    if candidate.id == baseline.id:
        raise BacktalkError(
            f"The candidate {candidate.id!r} is the baseline itself",
            "Compare it with another policy",
        )
    if not prompts:
        raise BacktalkError(
            f"There is no {split} prompt to evaluate on",
            "A fifth of all prompts is held out: add interactions, or pass other prompts",
        )
    answer_set = await answer_and_judge([baseline, candidate], prompts, judge, run)
    ids = (candidate.id, baseline.id)
    result = await _make_evaluation(
        answer_set, 1, judge, policies=ids, guards=guards, run=run, split=split
    )
    return result, answer_set


async def choose_best(
    candidates: Sequence[AnsweringPolicy],
    baseline: AnsweringPolicy,
    prompts: Sequence[Prompt],
    judge: Judge,
    *,
    run: Run,
    split: PromptSplit = "held-out",
    guards: Sequence[Judge] = (),
    unseen: float = 0.5,
) -> tuple[Evaluation, Selection, AnswerSet]:
    """Choose the best of several candidates on some prompts, and evaluate it on the others.

    Parameters
    ----------
    candidates : sequence of AnsweringPolicy
        Candidates to choose from.
    baseline, prompts, judge, run, split, guards
        See :func:`evaluate`.
    unseen : float, default 0.5
        Share of the prompts that is held out from the choice and used for the evaluation.

    Returns
    -------
    Evaluation
        Comparison of the winner with the baseline, on the prompts held out from the choice.
    Selection
        Winner, with its value and optimism on the prompts that it was chosen on.
    AnswerSet
        Answers of all policies, the baseline first.

    Raises
    ------
    BacktalkError
        If there are fewer than two prompts.
    """
    if len(prompts) < 2:
        raise BacktalkError(
            f"Choosing among {len(candidates)} candidates and evaluating the winner on other "
            f"prompts takes at least two prompts, there are {len(prompts)}",
            "Add interactions, or pass other prompts",
        )
    answer_set = await answer_and_judge([baseline, *candidates], prompts, judge, run)
    selection = choose(answer_set.values[1:], held_out=unseen, bounds=_bounds(judge), seed=run.seed)
    hidden = np.asarray(selection.held_out)
    rest = AnswerSet(
        prompts=tuple(p for p, held in zip(answer_set.prompts, hidden, strict=True) if held),
        answers=tuple(
            tuple(d for d, held in zip(row, hidden, strict=True) if held)
            for row in answer_set.answers
        ),
        values=answer_set.values[:, hidden],
        complete=answer_set.complete,
    )
    ids = (candidates[selection.winner].id, baseline.id)
    index = 1 + selection.winner
    result = await _make_evaluation(
        rest, index, judge, policies=ids, guards=guards, run=run, split=split
    )
    selection_fields = {"chosen_of": len(candidates), "optimism": float(selection.optimism)}
    return result.model_copy(update=selection_fields), selection, answer_set


async def _make_evaluation(
    answer_set: AnswerSet,
    index: int,
    judge: Judge,
    *,
    policies: tuple[str, str],
    guards: Sequence[Judge],
    run: Run,
    split: PromptSplit,
) -> Evaluation:
    responses = pair_texts(answer_set.prompts, answer_set.answers[index])
    baseline_responses = pair_texts(answer_set.prompts, answer_set.answers[0])
    values, baseline_values = answer_set.values[index], answer_set.values[0]
    if not isinstance(judge, Reward):
        preferences = values
    elif isinstance(judge, PairwiseJudge):
        preferences = await preferences_by(judge, responses, baseline_responses)
    else:
        preferences = _preferences(values, baseline_values)
    lengths = np.array([len(text) for _, text in responses], dtype=float)
    baseline_lengths = np.array([len(text) for _, text in baseline_responses], dtype=float)
    choices, ceiling = await _selection_baselines(
        answer_set.answers[index], answer_set.prompts, judge
    )
    usage = run.spent.usage
    return Evaluation(
        candidate=policies[0],
        baseline=policies[1],
        judge=judge.name,
        judge_info=describe_judge(judge),
        split=split,
        prompts=len(answer_set.prompts),
        prompts_digest=content_id(*sorted(prompt_key(prompt) for prompt in answer_set.prompts)),
        seed=run.seed,
        complete=answer_set.complete,
        win_rate=win_rate(preferences, seed=run.seed).estimate,
        value=_measure(judge, values, baseline_values, run.seed),
        longer_wins=win_rate(_preferences(lengths, baseline_lengths), seed=run.seed).estimate,
        length_ratio=float(lengths.mean() / max(baseline_lengths.mean(), 1e-9)),
        choices=choices,
        ceiling=ceiling,
        guards=tuple(
            [await _guard(guard, responses, baseline_responses, run.seed) for guard in guards]
        ),
        calls=usage.calls,
        tokens=usage.tokens,
    )


def _preferences(values: Floats, baseline_values: Floats) -> Floats:
    """Return 1 where the value is higher than the baseline's, 0 where lower, 1/2 where equal."""
    return np.asarray((np.sign(values - baseline_values) + 1) / 2)


async def _selection_baselines(
    answers: Sequence[DecoderOutput], prompts: Sequence[Prompt], judge: Judge
) -> tuple[tuple[SelectionBaseline, ...], Estimate | None]:
    """Compare the candidate's choice among its samples with baseline rules, if it has a choice.

    A judge that only compares, or is costly, is not bothered with the samples.
    """
    if (
        not isinstance(judge, Reward)
        or describe_judge(judge).kind in _COSTLY
        or all(len(decoded.candidates) == 1 for decoded in answers)
    ):
        return (), None
    scores = await judge.score(
        [
            (prompt, completion.text)
            for prompt, decoded in zip(prompts, answers, strict=True)
            for completion in decoded.candidates
        ]
    )
    ends = np.cumsum([len(decoded.candidates) for decoded in answers])
    comparison = compare_to_baselines(
        [[completion.text for completion in decoded.candidates] for decoded in answers],
        np.split(scores.mean, ends[:-1]),
        [decoded.chosen for decoded in answers],
        bounds=judge.bounds,
    )
    choices = tuple(
        SelectionBaseline(rule=rule, value=score.score, difference=score.difference)
        for rule, score in comparison.baselines.items()
    )
    return choices, comparison.ceiling


async def _guard(
    guard: Judge,
    responses: Sequence[PromptResponse],
    baseline_responses: Sequence[PromptResponse],
    seed: int,
) -> Measure:
    if isinstance(guard, Reward):
        values = (await guard.score(responses)).mean
        baseline_values = (await guard.score(baseline_responses)).mean
    else:
        values = await preferences_by(guard, responses, baseline_responses)
        baseline_values = np.full(len(values), 0.5)
    return _measure(guard, values, baseline_values, seed)


def _bounds(judge: Judge) -> tuple[float, float] | None:
    return judge.bounds if isinstance(judge, Reward) else (0.0, 1.0)


def _measure(judge: Judge, values: Floats, baseline_values: Floats, seed: int) -> Measure:
    bounds = _bounds(judge)

    def mean(sample: Floats) -> Estimate | None:
        if bounds is None and np.ptp(sample) == 0:
            return None
        return mean_interval(sample, bounds=bounds, seed=seed)

    if not isinstance(judge, Reward):
        preference = mean_interval(values, bounds=(0.0, 1.0), seed=seed)
        return Measure(
            name=judge.name,
            candidate=preference,
            difference=preference.transform(1.0, -0.5),
        )
    constant = bounds is None and np.ptp(values - baseline_values) == 0
    return Measure(
        name=judge.name,
        candidate=mean(values),
        baseline=mean(baseline_values),
        difference=None
        if constant
        else paired_difference(values, baseline_values, bounds=bounds, seed=seed),
    )
