"""Functions that programs begin with: learn a policy, evaluate it against another."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from backtalk.errors import BacktalkError, NotFound
from backtalk.evaluate.evaluate import evaluate as evaluate_policies
from backtalk.evaluate.examples import select_examples
from backtalk.evaluate.judges import get_judge
from backtalk.evaluate.result import Evaluation
from backtalk.evaluate.storage import save_evaluation
from backtalk.feedback import as_prompt
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.learn.api import alearn, learn, run_folder
from backtalk.learn.training_set import Split, in_split
from backtalk.models import Budget
from backtalk.models.run_sync import run_sync
from backtalk.models.wrappers.budget import Prices
from backtalk.policy import Policy, load_policy, read_policy
from backtalk.promotion import active_policy
from backtalk.reports import save_examples
from backtalk.rewards import Reward
from backtalk.run import Progress, Run
from backtalk.store import Store

__all__ = ["aevaluate", "alearn", "evaluate", "find_policy", "learn", "select_prompts"]


async def aevaluate(
    candidate: Policy | str,
    baseline: Policy | str | None,
    store: Store,
    *,
    judge: Reward | str = "recorded",
    guards: Sequence[Reward | str] = (),
    split: Split = "held-out",
    prompts: Iterable[Prompt | str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    prices: Prices | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a policy against a baseline, save the evaluation in the store and return it.

    Both policies answer the same prompts, and the judge scores or compares the answers. A call with
    the same arguments resumes a run whose budget was exceeded.

    Parameters
    ----------
    candidate : Policy or str
        Policy to evaluate, its name or its id.
    baseline : Policy, str or None
        Policy to compare with; ``None`` for the active policy of the store.
    store : Store
        Store with the prompts, and with the policies that are given by name.
    judge : Reward or str, default "recorded"
        Judge, or its name; see :func:`~backtalk.evaluate.judges.get_judge`.
    guards : sequence of Reward or str, default ()
        Guardrail judges, on which the candidate must not score worse.
    split : {"train", "held-out", "all"}, default "held-out"
        Split of the prompts to use.
    prompts : iterable of Prompt or str, optional
        Prompts to use instead of the store's.
    limit : int, optional
        Maximum number of prompts, sampled with the seed.
    seed : int, default 0
        Random seed.
    budget : Budget, optional
        Limits of calls, tokens, cost and seconds.
    prices : Prices, optional
        Prices of models, for a budget that limits the cost.
    folder : Path, optional
        Folder of the run; by default next to the store's artifacts, determined by the arguments.
    progress : Progress, optional
        Function that receives progress reports.

    Raises
    ------
    NotFound
        If there is no such policy, or the store has no active policy.
    UnknownName
        If there is no such judge.
    BacktalkError
        If there is no prompt to evaluate on.
    BudgetExceeded
        If the budget is exceeded before there is a result.
    """
    new, old = find_policy(candidate, store), find_policy(baseline, store)
    source = (
        (case.interaction.prompt for case in store.cases())
        if prompts is None
        else (as_prompt(prompt) for prompt in prompts)
    )
    selected = select_prompts(source, split=split, limit=limit, seed=seed)
    if not selected:
        raise BacktalkError(
            f"There is no prompt of the split {split!r} to evaluate on",
            "Add interactions, give prompts, or choose another split",
        )
    scoring = _find_judge(judge, store)
    folder = folder or run_folder(store, new.id, old.id, scoring.name, seed=seed)
    with Run(folder, seed=seed, budget=budget, prices=prices, progress=progress) as run:
        evaluation, answers = await evaluate_policies(
            load_policy(new, store.artifacts, wrap=run.wrap),
            load_policy(old, store.artifacts, wrap=run.wrap),
            selected,
            scoring,
            run=run,
            split=split,
            guards=[_find_judge(guard, store) for guard in guards],
        )
    save_evaluation(store, evaluation)
    save_examples(store, evaluation, select_examples(answers))
    return evaluation


def evaluate(
    candidate: Policy | str,
    baseline: Policy | str | None,
    store: Store,
    *,
    judge: Reward | str = "recorded",
    guards: Sequence[Reward | str] = (),
    split: Split = "held-out",
    prompts: Iterable[Prompt | str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    prices: Prices | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a policy against a baseline, save the evaluation in the store and return it.

    The synchronous version of :func:`aevaluate`, which documents the parameters and errors.

    Parameters
    ----------
    candidate : Policy or str
        Policy to evaluate.
    baseline : Policy, str or None
        Policy to compare with.
    store : Store
        Store with prompts and policies.
    judge, guards, split, prompts, limit, seed, budget, prices, folder, progress
        As for :func:`aevaluate`.
    """
    return run_sync(
        aevaluate(
            candidate,
            baseline,
            store,
            judge=judge,
            guards=guards,
            split=split,
            prompts=prompts,
            limit=limit,
            seed=seed,
            budget=budget,
            prices=prices,
            folder=folder,
            progress=progress,
        )
    )


def find_policy(policy: Policy | str | None, store: Store) -> Policy:
    """Return a policy, the one of a name or id, or the active one for ``None``.

    Raises
    ------
    NotFound
        If the store has no such policy, or no active one.
    """
    if isinstance(policy, Policy):
        return policy
    if policy is not None:
        return read_policy(store, policy)
    active = active_policy(store)
    if active is None:
        raise NotFound(
            f"Project {store.project!r} has no active policy",
            "Name a policy; `backtalk policy add FILE` adds one, `backtalk promote NAME` makes it "
            "the active one",
        )
    return active


def select_prompts(
    prompts: Iterable[Prompt], *, split: Split, limit: int | None, seed: int
) -> list[Prompt]:
    """Return distinct prompts of a split, in their order.

    Parameters
    ----------
    prompts : iterable of Prompt
        Prompts, with repetitions.
    split : {"train", "held-out", "all"}
        Split to keep.
    limit : int or None
        Maximum number of prompts, sampled with the seed.
    seed : int
        Random seed of the sample.
    """
    distinct: dict[str, Prompt] = {}
    for prompt in prompts:
        if in_split(prompt, split):
            distinct.setdefault(prompt_key(prompt), prompt)
    selected = list(distinct.values())
    if limit is None or limit >= len(selected):
        return selected
    sample = np.random.default_rng(seed).choice(len(selected), limit, replace=False)
    return [selected[i] for i in sorted(sample.tolist())]


def _find_judge(judge: Reward | str, store: Store) -> Reward:
    return get_judge(judge, store) if isinstance(judge, str) else judge
