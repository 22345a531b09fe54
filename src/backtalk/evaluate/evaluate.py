"""Evaluation of a candidate policy against a baseline, on the same prompts by one judge."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from backtalk.decode import DecoderOutput
from backtalk.errors import BacktalkError
from backtalk.evaluate.judges.info import describe_judge
from backtalk.evaluate.result import Evaluation, Measure, PromptSplit, SelectionBaseline
from backtalk.feedback import content_id
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.models import BudgetExceeded
from backtalk.rewards import PromptResponse, Reward
from backtalk.run import Run
from backtalk.stats.baselines import compare_to_baselines
from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.selection_bias import Selection, choose
from backtalk.stats.validation import Floats
from backtalk.stats.win_rate import paired_difference, win_rate

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


@runtime_checkable
class PairwiseJudge(Protocol):
    """Judge that compares two answers instead of scoring each one."""

    async def compare(self, a: Sequence[PromptResponse], b: Sequence[PromptResponse]) -> Floats:
        """Return P(a is preferred), P(b is preferred) and P(tie), shape ``(n, 3)``."""
        ...


@dataclass(frozen=True)
class AnswerSet:
    """Answers of several policies to the same prompts, with the judge's values."""

    prompts: tuple[Prompt, ...]
    answers: tuple[tuple[DecoderOutput, ...], ...]
    """Answers of each policy, the baseline first."""
    values: Floats
    """Judge's value of each answer, shape ``(policies, prompts)``."""
    complete: bool
    """False if the budget ended before all prompts were answered."""


async def generate_and_score(
    policies: Sequence[AnsweringPolicy], prompts: Sequence[Prompt], judge: Reward, run: Run
) -> AnswerSet:
    """Generate the answers of each policy to each prompt, and score them.

    The policies sample independently of one another. If the budget ends, the result has the
    prompts that all policies have answered.

    Parameters
    ----------
    policies : sequence of AnsweringPolicy
        Policies, the baseline first.
    prompts : sequence of Prompt
        Prompts to answer.
    judge : Reward
        Judge that scores the answers.
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
    with run.task("answering held-out prompts", len(prompts)) as step:
        for start in range(0, len(prompts), BATCH_SIZE):
            batch = prompts[start : start + BATCH_SIZE]
            try:
                outputs = [
                    await policy.decode(batch, seed=_seed(run.seed, index))
                    for index, policy in enumerate(policies)
                ]
                scores = await judge.score(
                    [
                        (prompt, decoded.answer.text)
                        for row in outputs
                        for prompt, decoded in zip(batch, row, strict=True)
                    ]
                )
            except BudgetExceeded:
                if not done:
                    raise
                break
            for row, decoded in zip(answers, outputs, strict=True):
                row.extend(decoded)
            values.append(scores.mean.reshape(len(policies), len(batch)))
            done += len(batch)
            step(done)
    return AnswerSet(
        prompts=tuple(prompts[:done]),
        answers=tuple(tuple(row) for row in answers),
        values=np.concatenate(values, axis=1),
        complete=done == len(prompts),
    )


def _seed(seed: int, index: int) -> int:
    """Return a different seed for each policy, so their samples are independent."""
    return int(content_id("policy", str(seed), str(index))[:8], 16)


async def evaluate(
    candidate: AnsweringPolicy,
    baseline: AnsweringPolicy,
    prompts: Sequence[Prompt],
    judge: Reward,
    *,
    run: Run,
    split: PromptSplit = "held-out",
    guards: Sequence[Reward] = (),
) -> tuple[Evaluation, AnswerSet]:
    """Compare a candidate with a baseline.

    Parameters
    ----------
    candidate, baseline : AnsweringPolicy
        Policies, loaded with :meth:`Run.wrap` so that the budget applies.
    prompts : sequence of Prompt
        Prompts that both policies answer.
    judge : Reward
        Judge that scores the answers, or compares them if it is a :class:`PairwiseJudge`.
    run : Run
        Seed, budget and progress of the run.
    split : PromptSplit, default "held-out"
        Set that the prompts are from, for the record.
    guards : sequence of Reward, default ()
        Guardrails: rewards on which the candidate must not get worse.

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
    answer_set = await generate_and_score([baseline, candidate], prompts, judge, run)
    ids = (candidate.id, baseline.id)
    result = await _make_evaluation(
        answer_set, 1, judge, policies=ids, guards=guards, run=run, split=split
    )
    return result, answer_set


async def choose_best(
    candidates: Sequence[AnsweringPolicy],
    baseline: AnsweringPolicy,
    prompts: Sequence[Prompt],
    judge: Reward,
    *,
    run: Run,
    split: PromptSplit = "held-out",
    guards: Sequence[Reward] = (),
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
    answer_set = await generate_and_score([baseline, *candidates], prompts, judge, run)
    selection = choose(answer_set.values[1:], held_out=unseen, bounds=judge.bounds, seed=run.seed)
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
    judge: Reward,
    *,
    policies: tuple[str, str],
    guards: Sequence[Reward],
    run: Run,
    split: PromptSplit,
) -> Evaluation:
    responses = _responses(answer_set, answer_set.answers[index])
    baseline_responses = _responses(answer_set, answer_set.answers[0])
    values, baseline_values = answer_set.values[index], answer_set.values[0]
    if isinstance(judge, PairwiseJudge):
        verdicts = await judge.compare(responses, baseline_responses)
        preferences = verdicts[:, 0] + verdicts[:, 2] / 2
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
            [
                _measure(
                    guard,
                    (await guard.score(responses)).mean,
                    (await guard.score(baseline_responses)).mean,
                    run.seed,
                )
                for guard in guards
            ]
        ),
        calls=usage.calls,
        tokens=usage.tokens,
    )


def _responses(answer_set: AnswerSet, answers: Sequence[DecoderOutput]) -> list[PromptResponse]:
    return [
        (prompt, decoded.answer.text)
        for prompt, decoded in zip(answer_set.prompts, answers, strict=True)
    ]


def _preferences(values: Floats, baseline_values: Floats) -> Floats:
    """Return 1 where the value is higher than the baseline's, 0 where lower, 1/2 where equal."""
    return np.asarray((np.sign(values - baseline_values) + 1) / 2)


async def _selection_baselines(
    answers: Sequence[DecoderOutput], prompts: Sequence[Prompt], judge: Reward
) -> tuple[tuple[SelectionBaseline, ...], Estimate | None]:
    """Compare the candidate's choice among its samples with baseline rules, if it has a choice."""
    if all(len(decoded.candidates) == 1 for decoded in answers):
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


def _measure(reward: Reward, values: Floats, baseline_values: Floats, seed: int) -> Measure:
    bounds = reward.bounds

    def mean(sample: Floats) -> Estimate | None:
        if bounds is None and np.ptp(sample) == 0:
            return None
        return mean_interval(sample, bounds=bounds, seed=seed)

    constant = bounds is None and np.ptp(values - baseline_values) == 0
    return Measure(
        name=reward.name,
        candidate=mean(values),
        baseline=mean(baseline_values),
        difference=None
        if constant
        else paired_difference(values, baseline_values, bounds=bounds, seed=seed),
    )
