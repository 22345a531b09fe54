"""Functions that programs begin with: learn a policy, evaluate it against another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path

from backtalk.errors import BacktalkError, NotFound
from backtalk.evaluate.answering import MAX_LEFT_OUT, AnswerSet
from backtalk.evaluate.evaluate import choose_best
from backtalk.evaluate.evaluate import evaluate as evaluate_policies
from backtalk.evaluate.examples import select_examples
from backtalk.evaluate.judges import Judge, get_judge
from backtalk.evaluate.judges.check import check_language_model
from backtalk.evaluate.result import Evaluation
from backtalk.evaluate.storage import save_evaluation
from backtalk.feedback import as_prompt, content_id
from backtalk.feedback.case import prompt_key
from backtalk.feedback.interaction import Prompt
from backtalk.feedback.requests import requested_prompt
from backtalk.learn.api import alearn, learn, run_folder
from backtalk.learn.next_steps import default_judge
from backtalk.learn.training_set import Split, in_split
from backtalk.models import Budget
from backtalk.models.run_sync import run_sync
from backtalk.models.wrappers.budget import Prices
from backtalk.policy import LoadedPolicy, Policy, load_policy, read_policy, with_origin
from backtalk.policy.origin import policy_origin
from backtalk.promotion import active_policy
from backtalk.promotion.alternatives import other_evidence
from backtalk.reports import save_examples
from backtalk.rewards.recorded_feedback import CannotJudge, NewAnswers
from backtalk.run import Progress, Run
from backtalk.stats.selection_bias import Selection
from backtalk.store import Store

__all__ = [
    "Comparison",
    "acompare",
    "aevaluate",
    "alearn",
    "answers_file",
    "evaluate",
    "find_policy",
    "learn",
    "select_prompts",
]

CHECKED_PAIRS = 50
"""Default number of pairs on which a language model as a judge is compared with people."""


async def aevaluate(
    candidate: Policy | str,
    baseline: Policy | str | None,
    store: Store,
    *,
    judge: Judge | str | None = None,
    guards: Sequence[Judge | str] = (),
    split: Split = "held-out",
    prompts: Iterable[Prompt | str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    prices: Prices | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    check_judge: int = CHECKED_PAIRS,
    max_left_out: float = MAX_LEFT_OUT,
) -> Evaluation:
    """Evaluate a policy against a baseline, save the evaluation in the store and return it.

    Both policies answer the same prompts, and the judge scores or compares the answers. Before the
    first answer is generated, the judge, the models and the budget are checked.

    Answers are stored next to the store, by policy, prompt and seed. Another evaluation of the same
    policy reuses them, whatever its judge and baseline, and so does a call after an error, an
    interruption or the end of a budget. A budget counts new answers and verdicts only.

    Parameters
    ----------
    candidate : Policy or str
        Policy to evaluate, its name or its id.
    baseline : Policy, str or None
        Policy to compare with; ``None`` for the active policy of the store.
    store : Store
        Store with the prompts, and with the policies that are given by name.
    judge : Judge or str, optional
        Judge, or its name; see :func:`~backtalk.evaluate.judges.get_judge`. It may score answers,
        compare them, or both. Default: :func:`~backtalk.learn.next_steps.default_judge`.
    guards : sequence of Judge or str, default ()
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
        Prices of models, for a budget that limits the cost, and for the cost of an answer.
    folder : Path, optional
        Folder of the stored answers; by default next to the store's artifacts.
    progress : Progress, optional
        Function that receives progress reports.
    fresh : bool, default False
        If true, generate all answers anew, such as after a change of the model behind an endpoint.
    check_judge : int, default 50
        Maximum number of pairs that people compared on which a language model as the judge is
        checked, after the evaluation and within its budget; 0 for no check.
    max_left_out : float, default 0.05
        Largest share of the prompts that a model may refuse, in [0, 1]; they are left out.

    Raises
    ------
    NotFound
        If there is no such policy, or the store has no active policy.
    UnknownName
        If there is no such judge.
    BacktalkError
        If there is no prompt to evaluate on, or the judge cannot judge the answers.
    BudgetExceeded
        If the budget is exceeded before there is a result.
    """
    new, old = find_policy(candidate, store), find_policy(baseline, store)
    selected = _select(store, prompts, split=split, limit=limit, seed=seed)
    scoring = _find_judge(judge or default_judge(new, old, store), store)
    guarding = [_find_judge(guard, store) for guard in guards]
    run = Run(
        seed=seed,
        budget=budget,
        prices=prices,
        progress=progress,
        cache=answers_file(store, folder),
        refresh=fresh,
    )
    with run, _other_judges(new, store):
        evaluation, answers = await evaluate_policies(
            _loaded(new, store, selected, run),
            _loaded(old, store, selected, run),
            selected,
            scoring,
            run=run,
            split=split,
            guards=guarding,
            max_left_out=max_left_out,
        )
        evaluation = await _with_check(evaluation, scoring, store, run, check_judge)
    return _save(store, evaluation, new, answers, index=1)


@dataclass(frozen=True)
class Comparison:
    """Evaluation of the best of several candidates, with the choice."""

    evaluation: Evaluation
    """Comparison of the winner with the baseline, on prompts that the choice did not use."""
    selection: Selection
    """Winner, with its value and optimism on the prompts of the choice."""


async def acompare(
    candidates: Sequence[Policy | str],
    baseline: Policy | str | None,
    store: Store,
    *,
    judge: Judge | str | None = None,
    guards: Sequence[Judge | str] = (),
    split: Split = "held-out",
    prompts: Iterable[Prompt | str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    prices: Prices | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    check_judge: int = CHECKED_PAIRS,
    max_left_out: float = MAX_LEFT_OUT,
) -> Comparison:
    """Choose the best of several policies, evaluate it on other prompts, and save the evaluation.

    Parameters
    ----------
    candidates : sequence of Policy or str
        Policies to choose from, their names or ids.
    baseline : Policy, str or None
        Policy to compare with; ``None`` for the active policy of the store.
    store : Store
        Store with prompts and policies.
    judge, guards, split, prompts, limit, seed, budget, prices, folder, progress, fresh, \
    check_judge, max_left_out
        As for :func:`aevaluate`, which also names the errors.
    """
    policies = [find_policy(candidate, store) for candidate in candidates]
    old = find_policy(baseline, store)
    selected = _select(store, prompts, split=split, limit=limit, seed=seed)
    scoring = _find_judge(judge or default_judge(policies[0], old, store), store)
    guarding = [_find_judge(guard, store) for guard in guards]
    run = Run(
        seed=seed,
        budget=budget,
        prices=prices,
        progress=progress,
        cache=answers_file(store, folder),
        refresh=fresh,
    )
    with run, _other_judges(policies[0], store):
        evaluation, selection, answers = await choose_best(
            [_loaded(policy, store, selected, run) for policy in policies],
            _loaded(old, store, selected, run),
            selected,
            scoring,
            run=run,
            split=split,
            guards=guarding,
            max_left_out=max_left_out,
        )
        evaluation = await _with_check(evaluation, scoring, store, run, check_judge)
    index = 1 + selection.winner
    winner = policies[selection.winner]
    return Comparison(_save(store, evaluation, winner, answers, index=index), selection)


def evaluate(
    candidate: Policy | str,
    baseline: Policy | str | None,
    store: Store,
    *,
    judge: Judge | str | None = None,
    guards: Sequence[Judge | str] = (),
    split: Split = "held-out",
    prompts: Iterable[Prompt | str] | None = None,
    limit: int | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    prices: Prices | None = None,
    folder: Path | None = None,
    progress: Progress | None = None,
    fresh: bool = False,
    check_judge: int = CHECKED_PAIRS,
    max_left_out: float = MAX_LEFT_OUT,
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
    judge, guards, split, prompts, limit, seed, budget, prices, folder, progress, fresh, \
    check_judge, max_left_out
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
            fresh=fresh,
            check_judge=check_judge,
            max_left_out=max_left_out,
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

    A sample is that of the lowest hashes of the seed and a prompt. Prompts that are added later
    hardly change it, so that stored answers and judgements of people are of further use, and a
    larger sample contains the smaller one.

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
    sample = set(nsmallest(limit, distinct, key=lambda key: content_id(str(seed), key)))
    return [prompt for key, prompt in distinct.items() if key in sample]


async def _with_check(
    evaluation: Evaluation, judge: Judge, store: Store, run: Run, pairs: int
) -> Evaluation:
    """Return the evaluation with the agreement of its judge with people."""
    check = await check_language_model(judge, store, run=run, pairs=pairs)
    return evaluation.model_copy(update={"judge_check": check})


def answers_file(store: Store, folder: Path | None = None) -> Path:
    """Return the file that the answers of a project's evaluations are stored in.

    Parameters
    ----------
    store : Store
        Store of the project.
    folder : Path, optional
        Folder of the file; by default next to the store's artifacts.
    """
    return (folder or run_folder(store, "answers", seed=0)) / "responses.db"


def _loaded(policy: Policy, store: Store, prompts: Sequence[Prompt], run: Run) -> LoadedPolicy:
    return load_policy(policy, store.artifacts, store=store, prompts=prompts, wrap=run.wrap)


def _select(
    store: Store,
    prompts: Iterable[Prompt | str] | None,
    *,
    split: Split,
    limit: int | None,
    seed: int,
) -> list[Prompt]:
    source = (
        (requested_prompt(case.interaction) for case in store.cases())
        if prompts is None
        else (as_prompt(prompt) for prompt in prompts)
    )
    selected = select_prompts(source, split=split, limit=limit, seed=seed)
    if not selected:
        raise BacktalkError(
            f"There is no prompt of the split {split!r} to evaluate on",
            "Add interactions, or give prompts with --prompts FILE (prompts= in Python); about one "
            "prompt in five is held out",
        )
    return selected


@contextmanager
def _other_judges(policy: Policy, store: Store) -> Iterator[None]:
    """Name other judges if the judge knows recorded answers only."""
    try:
        yield
    except CannotJudge as error:
        other = other_evidence(policy, policy_origin(policy, store), store)
        new = isinstance(error, NewAnswers)
        raise CannotJudge(error.what, other if new else f"{error.mend}. {other}") from None


def _save(
    store: Store, evaluation: Evaluation, candidate: Policy, answers: AnswerSet, *, index: int
) -> Evaluation:
    evaluation = with_origin(evaluation, candidate, store, answers.prompts)
    save_evaluation(store, evaluation)
    save_examples(store, evaluation, select_examples(answers, index=index))
    return evaluation


def _find_judge(judge: Judge | str, store: Store) -> Judge:
    return get_judge(judge, store) if isinstance(judge, str) else judge
