"""Evaluation of a candidate policy against a baseline, on the same prompts by one judge."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Literal

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.evaluate.answering import (
    MAX_LEFT_OUT,
    AnswerSet,
    answer_and_judge,
    pair_texts,
    preferences_by,
    select_prompts,
)
from backtalk.evaluate.cost import AnswerCost, answer_cost
from backtalk.evaluate.judges.check import measure_biases
from backtalk.evaluate.judges.info import JudgeInfo, describe_judge
from backtalk.evaluate.judges.protocol import Judge, PairwiseJudge, in_run
from backtalk.evaluate.measures import (
    bounds_of,
    guard_measure,
    judged_win_rate,
    measure,
    score_preferences,
    selection_baselines,
)
from backtalk.evaluate.plan import AnsweringPolicy, PlannablePolicy, check_plan, make_plan
from backtalk.evaluate.result import Evaluation, PromptSplit
from backtalk.feedback import content_id
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.models.protocol import Usage
from backtalk.rewards import Reward
from backtalk.run import Run
from backtalk.stats.selection_bias import Selection, choose
from backtalk.stats.win_rate import win_rate

__all__ = ["AnswerSet", "AnsweringPolicy", "PairwiseJudge", "choose_best", "evaluate"]


async def evaluate(
    candidate: AnsweringPolicy,
    baseline: AnsweringPolicy,
    prompts: Sequence[Prompt],
    judge: Judge,
    *,
    run: Run,
    split: PromptSplit = "held-out",
    guards: Sequence[Judge] = (),
    max_left_out: float = MAX_LEFT_OUT,
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
    max_left_out : float, default 0.05
        Largest share of the prompts that a model may refuse, in [0, 1]; they are left out.

    Returns
    -------
    Evaluation
        Result of the comparison.
    AnswerSet
        Answers of both policies, the baseline first.

    Raises
    ------
    BacktalkError
        If there is no prompt, both policies are the same, or the judge cannot judge the answers.
        No answer has been generated then.
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
    judge, guards = in_run(judge, run), [in_run(guard, run) for guard in guards]
    answer_set = await _answer(
        [baseline, candidate], prompts, judge, guards, run=run, limit=max_left_out
    )
    result = await _make_evaluation(
        answer_set, 1, judge, policies=(candidate, baseline), guards=guards, run=run, split=split
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
    max_left_out: float = MAX_LEFT_OUT,
) -> tuple[Evaluation, Selection, AnswerSet]:
    """Choose the best of several candidates on some prompts, and evaluate it on the others.

    Parameters
    ----------
    candidates : sequence of AnsweringPolicy
        Candidates to choose from.
    baseline, prompts, judge, run, split, guards, max_left_out
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
    judge, guards = in_run(judge, run), [in_run(guard, run) for guard in guards]
    answer_set = await _answer(
        [baseline, *candidates], prompts, judge, guards, run=run, limit=max_left_out
    )
    if len(answer_set.prompts) < 2:
        raise BacktalkError(
            "Fewer than two prompts have answers and verdicts, of which one is for the choice and "
            "one for the evaluation",
            "Raise the budget, or use another judge",
        )
    selection = choose(
        answer_set.values[1:], held_out=unseen, bounds=bounds_of(judge), seed=run.seed
    )
    hidden = np.asarray(selection.held_out)
    rest = select_prompts(answer_set, hidden)
    pair = (candidates[selection.winner], baseline)
    index = 1 + selection.winner
    result = await _make_evaluation(
        rest, index, judge, policies=pair, guards=guards, run=run, split=split
    )
    selection_fields = {"chosen_of": len(candidates), "optimism": float(selection.optimism)}
    return result.model_copy(update=selection_fields), selection, answer_set


async def _answer(
    policies: Sequence[AnsweringPolicy],
    prompts: Sequence[Prompt],
    judge: Judge,
    guards: Sequence[Judge],
    *,
    run: Run,
    limit: float,
) -> AnswerSet:
    """Answer the prompts, after checks that cost nothing."""
    plan = await make_plan(policies, prompts, seed=run.seed)
    await check_plan(plan, [judge, *guards], run)
    return await answer_and_judge(plan, judge, run, max_left_out=limit)


async def _make_evaluation(
    answer_set: AnswerSet,
    index: int,
    judge: Judge,
    *,
    policies: tuple[AnsweringPolicy, AnsweringPolicy],
    guards: Sequence[Judge],
    run: Run,
    split: PromptSplit,
) -> Evaluation:
    responses = pair_texts(answer_set.prompts, answer_set.answers[index])
    baseline_responses = pair_texts(answer_set.prompts, answer_set.answers[0])
    ids = (policies[0].id, policies[1].id)
    values, baseline_values = answer_set.values[index], answer_set.values[0]
    if not isinstance(judge, Reward):
        preferences = values
    elif isinstance(judge, PairwiseJudge):
        preferences = await preferences_by(judge, responses, baseline_responses, ids)
        preferences = preferences[~np.isnan(preferences)]
    else:
        preferences = score_preferences(values, baseline_values)
    lengths = np.array([len(text) for _, text in responses], dtype=float)
    baseline_lengths = np.array([len(text) for _, text in baseline_responses], dtype=float)
    choices, ceiling = await selection_baselines(
        answer_set.answers[index], answer_set.prompts, judge
    )
    info = describe_judge(judge)
    biases = None
    if info.kind == "llm":
        biases = await measure_biases(judge, responses, baseline_responses)
    usage = run.spent.usage
    return Evaluation(
        candidate=ids[0],
        baseline=ids[1],
        judge=judge.name,
        judge_info=info,
        judge_biases=biases,
        judges_itself=_judges_itself(
            info, _model_name(policies[0], answer_set, index), _model_name(policies[1], answer_set)
        ),
        split=split,
        prompts=len(answer_set.prompts),
        prompts_digest=content_id(*sorted(prompt_key(prompt) for prompt in answer_set.prompts)),
        seed=run.seed,
        complete=answer_set.complete,
        win_rate=await judged_win_rate(
            judge, preferences, responses, baseline_responses, seed=run.seed
        ),
        value=measure(judge, values, baseline_values, run.seed),
        longer_wins=win_rate(score_preferences(lengths, baseline_lengths), seed=run.seed).estimate,
        length_ratio=float(lengths.mean() / max(baseline_lengths.mean(), 1e-9)),
        choices=choices,
        ceiling=ceiling,
        guards=tuple(
            [
                await guard_measure(guard, responses, baseline_responses, ids, seed=run.seed)
                for guard in guards
            ]
        ),
        calls=usage.calls,
        tokens=usage.tokens,
        candidate_cost=_cost(policies[0], answer_set, index, run),
        baseline_cost=_cost(policies[1], answer_set, 0, run),
        reused=answer_set.reused,
        unjudged=answer_set.unjudged,
        refused=tuple(map(str, answer_set.refused)),
    )


def _cost(policy: AnsweringPolicy, answer_set: AnswerSet, index: int, run: Run) -> AnswerCost:
    model = _model_name(policy, answer_set, index)

    def money(usage: Usage) -> Decimal | None:
        return None if model is None else run.money(model, usage)

    return answer_cost(answer_set.answers[index], money)


def _model_name(policy: AnsweringPolicy, answer_set: AnswerSet, index: int = 0) -> str | None:
    if isinstance(policy, PlannablePolicy):
        return policy.model.name
    return answer_set.answers[index][0].answer.model


def _judges_itself(
    info: JudgeInfo, candidate: str | None, baseline: str | None
) -> Literal["candidate", "baseline", "both"] | None:
    if info.model is None or info.model not in {candidate, baseline}:
        return None
    if candidate == baseline:
        return "both"
    return "candidate" if info.model == candidate else "baseline"
