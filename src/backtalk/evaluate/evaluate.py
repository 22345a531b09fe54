"""Comparing policies: let them answer the same prompts, and have a judge look at the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from backtalk.decode import Decoded
from backtalk.errors import BacktalkError
from backtalk.evaluate.result import SelectionBaseline, Evaluation, Measure, PromptSplit
from backtalk.feedback import Message, content_id
from backtalk.feedback.case import prompt_key
from backtalk.models import BudgetExceeded
from backtalk.rewards import Answer, Reward
from backtalk.run import Run
from backtalk.stats.baselines import compare_to_baselines
from backtalk.stats.estimate import Estimate
from backtalk.stats.intervals.choose import mean_interval
from backtalk.stats.selection_bias import Selection, choose
from backtalk.stats.win_rate import paired_difference, win_rate

Array = NDArray[np.float64]
Prompt = tuple[Message, ...]

BATCH_SIZE = 32
"""How many prompts are answered before the next; what a budget that ends in between loses."""


class AnsweringPolicy(Protocol):
    """Something that answers prompts: a loaded policy."""

    @property
    def id(self) -> str:
        """The policy's id."""
        ...

    async def decode(self, prompts: Sequence[Prompt], *, seed: int = 0) -> list[Decoded]:
        """Answer each prompt."""
        ...


@runtime_checkable
class PairwiseJudge(Protocol):
    """A judge that compares two answers, rather than scoring each by itself."""

    async def compare(self, a: Sequence[Answer], b: Sequence[Answer]) -> Array:
        """Return P(a is preferred), P(b is), P(tie) of each pair, shape ``(n, 3)``."""
        ...


@dataclass(frozen=True)
class AnswerSet:
    """The answers of several policies to the same prompts, with the judge's value of each."""

    prompts: tuple[Prompt, ...]
    answers: tuple[tuple[Decoded, ...], ...]
    """The answers of each policy, the baseline's first."""
    values: Array
    """What the judge thinks of each, shape ``(policies, prompts)``."""
    complete: bool
    """Whether all prompts were done."""


async def generate_and_score(
    policies: Sequence[AnsweringPolicy], prompts: Sequence[Prompt], judge: Reward, run: Run
) -> AnswerSet:
    """Let each policy answer each prompt, and judge the answers.

    The policies draw their samples independently of one another. Where the budget ends, the
    prompts that were done by all are what there is.

    Raises
    ------
    BudgetSpent
        If it ended before any prompt was done.
    """
    answers: list[list[Decoded]] = [[] for _ in policies]
    values: list[Array] = []
    done = 0
    with run.task("answering held-out prompts", len(prompts)) as step:
        for start in range(0, len(prompts), BATCH_SIZE):
            chunk = prompts[start : start + BATCH_SIZE]
            try:
                drawn = [
                    await policy.decode(chunk, seed=_seed(run.seed, index))
                    for index, policy in enumerate(policies)
                ]
                judged = await judge.score(
                    [
                        (prompt, decoded.answer.text)
                        for row in drawn
                        for prompt, decoded in zip(chunk, row, strict=True)
                    ]
                )
            except BudgetExceeded:
                if not done:
                    raise
                break
            for row, decoded in zip(answers, drawn, strict=True):
                row.extend(decoded)
            values.append(judged.mean.reshape(len(policies), len(chunk)))
            done += len(chunk)
            step(done)
    return AnswerSet(
        prompts=tuple(prompts[:done]),
        answers=tuple(tuple(row) for row in answers),
        values=np.concatenate(values, axis=1),
        complete=done == len(prompts),
    )


def _seed(seed: int, place: int) -> int:
    """Return a seed of its own for each policy: answers are paired by prompt, not by chance."""
    return int(content_id("policy", str(seed), str(place))[:8], 16)


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
    candidate, baseline : Answerer
        The policies, loaded with :meth:`Run.wrap` so that the budget holds.
    prompts : sequence of Prompt
        What both answer.
    judge : Reward
        What says how good an answer is, or which of two is better.
    run : Run
        Gives the seed and the budget.
    split : Prompts, default "held-out"
        Which prompts these are.
    guards : sequence of Reward, default ()
        Rewards that must not get worse.

    Raises
    ------
    BacktalkError
        If there is no prompt, or the two policies are one.
    """
    if candidate.id == baseline.id:
        raise BacktalkError(
            f"The candidate {candidate.id!r} is the baseline itself",
            "Compare it with another policy",
        )
    if not prompts:
        raise BacktalkError(
            f"There is no {split} prompt to evaluate on",
            "A fifth of all prompts is held out: add interactions, or give prompts of your own",
        )
    trial = await generate_and_score([baseline, candidate], prompts, judge, run)
    ids = (candidate.id, baseline.id)
    result = await _compared(trial, 1, judge, policies=ids, guards=guards, run=run, split=split)
    return result, trial


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
    candidates, baseline
        The policies.
    prompts, judge, run, split, guards
        As in :func:`evaluate`.
    unseen : float, default 0.5
        The share of prompts that the choice does not see, and that the evaluation is done on.

    Returns
    -------
    Evaluation
        The winner against the baseline, on the prompts that the choice never saw.
    Selection
        How the winner looked where it was chosen, and by how much that flatters it.
    Trial
        All answers.
    """
    if len(prompts) < 2:
        raise BacktalkError(
            f"Choosing among {len(candidates)} candidates and evaluating the winner on other "
            f"prompts takes at least two prompts, there are {len(prompts)}",
            "Add interactions, or give prompts of your own",
        )
    trial = await generate_and_score([baseline, *candidates], prompts, judge, run)
    selection = choose(trial.values[1:], held_out=unseen, bounds=judge.bounds, seed=run.seed)
    hidden = np.asarray(selection.held_out)
    rest = AnswerSet(
        prompts=tuple(p for p, held in zip(trial.prompts, hidden, strict=True) if held),
        answers=tuple(
            tuple(d for d, held in zip(row, hidden, strict=True) if held) for row in trial.answers
        ),
        values=trial.values[:, hidden],
        complete=trial.complete,
    )
    ids = (candidates[selection.winner].id, baseline.id)
    place = 1 + selection.winner
    result = await _compared(rest, place, judge, policies=ids, guards=guards, run=run, split=split)
    marked = {"chosen_of": len(candidates), "optimism": float(selection.optimism)}
    return result.model_copy(update=marked), selection, trial


async def _compared(
    trial: AnswerSet,
    place: int,
    judge: Reward,
    *,
    policies: tuple[str, str],
    guards: Sequence[Reward],
    run: Run,
    split: PromptSplit,
) -> Evaluation:
    ours = _texts(trial, trial.answers[place])
    theirs = _texts(trial, trial.answers[0])
    values, baseline_values = trial.values[place], trial.values[0]
    if isinstance(judge, PairwiseJudge):
        verdicts = await judge.compare(ours, theirs)
        preferences = verdicts[:, 0] + verdicts[:, 2] / 2
    else:
        preferences = _wins(values, baseline_values)
    lengths = np.array([len(text) for _, text in ours], dtype=float)
    baseline_lengths = np.array([len(text) for _, text in theirs], dtype=float)
    choices, ceiling = await _trivial_choices(trial.answers[place], trial.prompts, judge)
    spent = run.spent.usage
    return Evaluation(
        candidate=policies[0],
        baseline=policies[1],
        judge=judge.name,
        split=split,
        prompts=len(trial.prompts),
        prompts_digest=content_id(*sorted(prompt_key(prompt) for prompt in trial.prompts)),
        seed=run.seed,
        complete=trial.complete,
        win_rate=win_rate(preferences, seed=run.seed).estimate,
        value=_measure(judge, values, baseline_values, run.seed),
        longer_wins=win_rate(_wins(lengths, baseline_lengths), seed=run.seed).estimate,
        length_ratio=float(lengths.mean() / max(baseline_lengths.mean(), 1e-9)),
        choices=choices,
        ceiling=ceiling,
        guards=tuple(
            [
                _measure(
                    guard,
                    (await guard.score(ours)).mean,
                    (await guard.score(theirs)).mean,
                    run.seed,
                )
                for guard in guards
            ]
        ),
        calls=spent.calls,
        tokens=spent.tokens,
    )


def _texts(trial: AnswerSet, answers: Sequence[Decoded]) -> list[Answer]:
    return [
        (prompt, decoded.answer.text)
        for prompt, decoded in zip(trial.prompts, answers, strict=True)
    ]


def _wins(ours: Array, theirs: Array) -> Array:
    return np.asarray((np.sign(ours - theirs) + 1) / 2)


async def _trivial_choices(
    answers: Sequence[Decoded], prompts: Sequence[Prompt], judge: Reward
) -> tuple[tuple[SelectionBaseline, ...], Estimate | None]:
    """Put the candidate's choice among its samples beside trivial rules, where it has one."""
    if all(len(decoded.candidates) == 1 for decoded in answers):
        return (), None
    judged = await judge.score(
        [
            (prompt, completion.text)
            for prompt, decoded in zip(prompts, answers, strict=True)
            for completion in decoded.candidates
        ]
    )
    ends = np.cumsum([len(decoded.candidates) for decoded in answers])
    standing = compare_to_baselines(
        [[completion.text for completion in decoded.candidates] for decoded in answers],
        np.split(judged.mean, ends[:-1]),
        [decoded.chosen for decoded in answers],
        bounds=judge.bounds,
    )
    choices = tuple(
        SelectionBaseline(rule=rule, value=score.score, difference=score.difference)
        for rule, score in standing.baselines.items()
    )
    return choices, standing.ceiling


def _measure(reward: Reward, ours: Array, theirs: Array, seed: int) -> Measure:
    bounds = reward.bounds

    def mean(values: Array) -> Estimate | None:
        if bounds is None and np.ptp(values) == 0:
            return None
        return mean_interval(values, bounds=bounds, seed=seed)

    unknown = bounds is None and np.ptp(ours - theirs) == 0
    return Measure(
        name=reward.name,
        candidate=mean(ours),
        baseline=mean(theirs),
        difference=None if unknown else paired_difference(ours, theirs, bounds=bounds, seed=seed),
    )
