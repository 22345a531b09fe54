"""Functions that learn a policy: the feedback of a store, a method, and where the result goes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from backtalk.errors import NotFound
from backtalk.feedback import content_id
from backtalk.feedback.base import OVERALL
from backtalk.learn.availability import require_lesson
from backtalk.learn.method import get_method
from backtalk.learn.training_set import Split, TrainingSet
from backtalk.memory.effect import retire_in_project
from backtalk.models import Budget
from backtalk.models.run_sync import run_sync
from backtalk.models.wrappers.budget import Prices
from backtalk.policy import Policy, read_policy, save_policy
from backtalk.promotion import active_policy
from backtalk.run import Progress, Run
from backtalk.store import Store


async def alearn(
    method: str,
    policy: Policy | str | None,
    store: Store,
    *,
    name: str | None = None,
    split: Split = "train",
    kinds: Sequence[str] | None = None,
    aspect: str = OVERALL,
    limit: int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    prices: Prices | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Policy:
    """Learn a policy from the feedback in a store, save it in the store and return it.

    The run has a folder. A call with the same arguments resumes a run that was interrupted or whose
    budget was spent.

    Parameters
    ----------
    method : str
        Name of a method; :func:`~backtalk.learn.available_methods` lists them.
    policy : Policy, str or None
        Policy to improve, its name or its id; ``None`` for the active policy of the store.
    store : Store
        Store with the feedback.
    name : str, optional
        Name of the learned policy.
    split : {"train", "held-out", "all"}, default "train"
        Prompts to learn from; ``"train"`` leaves out the prompts held out for evaluation.
    kinds : sequence of str, optional
        Kinds of feedback to learn from; all by default.
    aspect : str, default "overall"
        Aspect of the judgements to learn from. Those on other aspects are left out and counted in
        the notes of the policy's lineage.
    limit : int, optional
        Maximum number of prompts to learn from, sampled with the seed; see
        :meth:`~backtalk.learn.TrainingSet.limited`. All by default.
    seed : int, default 0
        Seed of everything that is drawn at random.
    budget : Budget, optional
        Limits of calls, tokens, money and seconds.
    prices : Prices, optional
        Prices of models, if money is limited.
    folder : Path, optional
        Folder of the run; by default next to the store's artifacts, determined by the arguments.
    progress : Progress, optional
        Function that receives progress reports.
    **options : Any
        Options of the method.

    Raises
    ------
    UnknownName
        If there is no such method, or the method has no such option.
    NotFound
        If there is no such policy, or the store has no active policy.
    BudgetExceeded
        If the budget is spent.
    BacktalkError
        If the feedback holds nothing that the method can learn from.
    """
    chosen = get_method(method)
    values = chosen.read_options(options)
    parent = _find_policy(policy, store)
    if name is not None:
        parent.named(name)
    if folder is None:
        about = [] if aspect == OVERALL else [f"aspect {aspect}"]
        about += [] if limit is None else [f"limit {limit}"]
        folder = run_folder(
            store, method, parent.id, *sorted(map(str, values.items())), *about, seed=seed
        )
    feedback = TrainingSet(store, split=split, kinds=kinds, aspect=aspect)
    require_lesson(chosen, feedback, parent)
    with Run(folder, seed=seed, budget=budget, prices=prices, progress=progress) as run:
        learned = await chosen.learn(
            parent, feedback.limited(limit, seed=seed, needs=chosen.views), run, **values
        )
    if name is not None:
        learned = learned.named(name)
    # Its lineage is followed through the store.
    save_policy(store, parent)
    save_policy(store, learned)
    if chosen.target == "memory":
        retire_in_project(store)
    return learned


def learn(
    method: str,
    policy: Policy | str | None,
    store: Store,
    *,
    name: str | None = None,
    split: Split = "train",
    kinds: Sequence[str] | None = None,
    aspect: str = OVERALL,
    limit: int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    prices: Prices | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    **options: Any,
) -> Policy:
    """Learn a policy from the feedback in a store, save it in the store and return it.

    The same as :func:`alearn`, which documents parameters and errors, for code that is not
    asynchronous.

    Parameters
    ----------
    method : str
        Name of a method.
    policy : Policy, str or None
        Policy to improve.
    store : Store
        Store with the feedback.
    name, split, kinds, aspect, limit, seed, budget, prices, folder, progress, **options
        As for :func:`alearn`.
    """
    return run_sync(
        alearn(
            method,
            policy,
            store,
            name=name,
            split=split,
            kinds=kinds,
            aspect=aspect,
            limit=limit,
            seed=seed,
            budget=budget,
            prices=prices,
            folder=folder,
            progress=progress,
            **options,
        )
    )


def run_folder(store: Store, *identity: str, seed: int) -> Path:
    """Return the folder of a run, next to the store's artifacts.

    Parameters
    ----------
    store : Store
        Store that the run works on.
    *identity : str
        Strings that distinguish the run from others: method, policy, options.
    seed : int
        Seed of the run.
    """
    root = store.artifacts.folder_beside("runs")
    return root / content_id(store.project, *identity, str(seed))


def _find_policy(policy: Policy | str | None, store: Store) -> Policy:
    if isinstance(policy, Policy):
        return policy
    if policy is not None:
        return read_policy(store, policy)
    active = active_policy(store)
    if active is None:
        raise NotFound(
            f"The project {store.project!r} has no active policy",
            "Name a policy, or promote one with backtalk.promote",
        )
    return active
