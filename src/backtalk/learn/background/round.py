"""Doing a round: learn, evaluate, promote; each step once, however often the round is begun."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.evaluate.evaluate import evaluate
from backtalk.evaluate.examples import examples
from backtalk.evaluate.judges import get_judge
from backtalk.evaluate.result import Evaluation
from backtalk.evaluate.storage import read_evaluation, save_evaluation
from backtalk.experiments import Experiment, list_experiments, start
from backtalk.feedback import Message, content_id
from backtalk.learn.background.spec import Round, RoundOutcome
from backtalk.learn.method import find_method
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import LoadedPolicy, Policy, load_policy, read_policy, save_policy
from backtalk.promotion import GateRefused, active_policy, promote, promotion_history
from backtalk.reports import save_exhibits
from backtalk.run import Run
from backtalk.store import Store

Note = Callable[[RoundOutcome], None]
"""Keeps what a round has come to, so that no step is done again."""


async def run_round(
    todo: Round, store: Store, run: Run, *, done: RoundOutcome, note: Note
) -> RoundOutcome:
    """Do what is left of a round.

    Parameters
    ----------
    todo : Round
        The round.
    store, run
        Where it is kept, and what it may spend.
    done : RoundOutcome
        What it has come to before.
    note : Note
        Called after each step.

    Raises
    ------
    BacktalkError
        If there is nothing to learn from, or nothing to evaluate on.
    """
    outcome = done
    if outcome.policy is None:
        learned = await _learn(todo, store, run)
        outcome = _noted(outcome, run, note, policy=learned.id)
    policy = read_policy(store, str(outcome.policy))
    served = active_policy(store)
    against = served or read_policy(store, todo.parent)
    if policy.id == against.id:
        return _noted(outcome, run, note, **_served_already(outcome, store))
    if todo.watch.judge is not None and outcome.evaluation is None:
        result = await _evaluate(todo, policy, against, store, run)
        outcome = _noted(outcome, run, note, evaluation=result.id)
    if todo.watch.gate is not None and outcome.promoted is None:
        why = _promote(todo, policy, outcome, store)
        outcome = _noted(outcome, run, note, promoted=why is None, why=why)
    if todo.watch.experiment is not None and outcome.experiment is None:
        outcome = _noted(outcome, run, note, **_put_to_users(todo, policy, against, outcome, store))
    return outcome


def _noted(outcome: RoundOutcome, run: Run, note: Note, **found: object) -> RoundOutcome:
    spent = run.spent
    told = outcome.model_copy(
        update={
            "calls": spent.usage.calls,
            "tokens": spent.usage.tokens,
            "money": float(spent.money),
            **found,
        }
    )
    note(told)
    return told


def _served_already(outcome: RoundOutcome, store: Store) -> dict[str, object]:
    past = promotion_history(store)
    if outcome.evaluation is not None and past[-1].promotion.evaluation == outcome.evaluation:
        return {"promoted": True}
    return {"why": "It is what is served, or what it was learned from"}


async def _learn(todo: Round, store: Store, run: Run) -> Policy:
    watch = todo.watch
    feedback = TrainingSet(store, split=watch.split, kinds=watch.kinds, until=todo.until)
    parent = read_policy(store, todo.parent)
    learned = await find_method(watch.method).learn(parent, feedback, run, **watch.options)
    if watch.name is not None:
        learned = learned.named(watch.name)
    save_policy(store, learned)
    return learned


async def _evaluate(
    todo: Round, policy: Policy, against: Policy, store: Store, run: Run
) -> Evaluation:
    watch = todo.watch

    def loaded(one: Policy) -> LoadedPolicy:
        return load_policy(one, store.artifacts, wrap=run.wrap)

    result, trial = await evaluate(
        loaded(policy),
        loaded(against),
        _held_out(todo, store),
        get_judge(str(watch.judge), store),
        run=run,
        guards=[get_judge(name, store) for name in watch.guards],
    )
    # An id of the round's own, so that a round that is done again saves no second one.
    result = result.model_copy(update={"id": content_id("evaluation", todo.id, against.id)})
    save_evaluation(store, result)
    save_exhibits(store, result, examples(trial))
    return result


def _held_out(todo: Round, store: Store) -> list[tuple[Message, ...]]:
    result = TrainingSet(store, split="held-out", until=todo.until).prompts()
    limit = todo.watch.limit
    if limit is None or limit >= len(result):
        return result
    drawn = np.random.default_rng(todo.watch.seed).choice(len(result), limit, replace=False)
    return [result[place] for place in sorted(drawn.tolist())]


def _put_to_users(
    todo: Round, policy: Policy, against: Policy, outcome: RoundOutcome, store: Store
) -> dict[str, object]:
    """Begin an experiment with a policy, unless a judge has found that it is worse."""
    if outcome.evaluation is not None:
        rate = read_evaluation(store, outcome.evaluation).win_rate
        if rate.high < 0.5:
            return {"why": f"No experiment: it wins {rate.value:.3f}, at most {rate.high:.3f}"}
    name = f"learned-{todo.id[:8]}"
    if name not in {known.name for known in list_experiments(store)}:
        signal = str(todo.watch.experiment)
        trial = Experiment(
            name=name,
            control=against.id,
            candidates=(policy.id,),
            outcome=signal,
            allocation="dueling" if signal.startswith("preference") else "fixed",
        )
        try:
            start(store, trial, actor=todo.watch.actor)
        except BacktalkError as refused:
            return {"why": str(refused)}
    return {"experiment": name}


def _promote(todo: Round, policy: Policy, outcome: RoundOutcome, store: Store) -> str | None:
    """Promote a policy; return why not."""
    evaluation = None if outcome.evaluation is None else read_evaluation(store, outcome.evaluation)
    for entry in reversed(promotion_history(store)):
        if policy.id == entry.promotion.previous and entry.promotion.action == "rollback":
            return f"It was served before, and {entry.actor} rolled it back"
    try:
        promote(store, policy, evaluation, actor=todo.watch.actor, gate=todo.watch.gate)
    except GateRefused as refused:
        return str(refused)
    return None
