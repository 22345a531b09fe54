"""Execution of a round: learn, evaluate, promote; each step happens once, also after a restart."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from backtalk.errors import BacktalkError
from backtalk.evaluate.evaluate import evaluate
from backtalk.evaluate.examples import select_examples
from backtalk.evaluate.judges import get_judge
from backtalk.evaluate.judges.new_answers import check_new_answers
from backtalk.evaluate.result import Evaluation
from backtalk.evaluate.storage import read_evaluation, save_evaluation
from backtalk.experiments import Experiment, list_experiments, start
from backtalk.feedback import content_id
from backtalk.feedback.interaction import Prompt
from backtalk.learn.background.spec import Round, RoundOutcome
from backtalk.learn.left_out_rows import read_max_left_out
from backtalk.learn.method import get_method
from backtalk.learn.no_improvement import NoImprovement
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import (
    LoadedPolicy,
    Policy,
    load_policy,
    read_policy,
    save_policy,
    with_origin,
)
from backtalk.promotion import GateRefused, active_policy, promote, promotion_history
from backtalk.reports import save_examples
from backtalk.run import Run
from backtalk.store import Store

Checkpoint = Callable[[RoundOutcome], None]
"""Function that saves the outcome so far."""


async def run_round(
    todo: Round, store: Store, run: Run, *, outcome: RoundOutcome, checkpoint: Checkpoint
) -> RoundOutcome:
    """Run the remaining steps of a round.

    Parameters
    ----------
    todo : Round
        Round to run.
    store : Store
        Store for policies, evaluations and experiments.
    run : Run
        Seed, budget and cache.
    outcome : RoundOutcome
        Outcome at the last checkpoint.
    checkpoint : Checkpoint
        Function called after each step.

    Raises
    ------
    BacktalkError
        If there is nothing to learn from, or no prompt to evaluate on.
    """

    def advance(**changes: object) -> RoundOutcome:
        spent = run.spent
        advanced = outcome.model_copy(
            update={
                "calls": spent.usage.calls,
                "tokens": spent.usage.tokens,
                "money": float(spent.money),
                **changes,
            }
        )
        checkpoint(advanced)
        return advanced

    if outcome.policy is None:
        await _check_judges(todo, store)
        try:
            learned = await _learn(todo, store, run)
        except NoImprovement as result:
            return advance(reason=result.what)
        outcome = advance(policy=learned.id)
    policy = read_policy(store, str(outcome.policy))
    baseline = active_policy(store) or read_policy(store, todo.parent)
    if policy.id == baseline.id:
        return advance(**_unchanged_policy(outcome, store))
    if todo.watch.judge is not None and outcome.evaluation is None:
        evaluation = await _evaluate(todo, policy, baseline, store, run)
        outcome = advance(evaluation=evaluation.id)
    if todo.watch.gate is not None and outcome.promoted is None:
        reason = _promote(todo, policy, outcome, store)
        outcome = advance(promoted=reason is None, reason=reason)
    if todo.watch.experiment is not None and outcome.experiment is None:
        outcome = advance(**_start_experiment(todo, policy, baseline, outcome, store))
    return outcome


def _unchanged_policy(outcome: RoundOutcome, store: Store) -> dict[str, object]:
    history = promotion_history(store)
    if outcome.evaluation is not None and history[-1].promotion.evaluation == outcome.evaluation:
        return {"promoted": True}
    return {"reason": "It equals the active policy or its parent"}


async def _check_judges(todo: Round, store: Store) -> None:
    """Raise an error before the learning if its result could not be evaluated."""
    watch = todo.watch
    parent = read_policy(store, todo.parent)
    for name in () if watch.judge is None else (watch.judge, *watch.guards):
        judge = get_judge(name, store)
        if parent.model.kind != "replay":
            await check_new_answers(judge, parent.label)


async def _learn(todo: Round, store: Store, run: Run) -> Policy:
    watch = todo.watch
    feedback = TrainingSet(
        store, split=watch.split, kinds=watch.kinds, until=todo.until, aspect=watch.aspect
    )
    parent = read_policy(store, todo.parent)
    learned = await get_method(watch.method).learn(parent, feedback, run, **watch.options)
    if watch.name is not None:
        learned = learned.named(watch.name)
    save_policy(store, learned)
    return learned


async def _evaluate(
    todo: Round, policy: Policy, baseline: Policy, store: Store, run: Run
) -> Evaluation:
    watch = todo.watch
    prompts = _held_out_prompts(todo, store)

    def load(policy: Policy) -> LoadedPolicy:
        return load_policy(policy, store.artifacts, store=store, prompts=prompts, wrap=run.wrap)

    evaluation, answers = await evaluate(
        load(policy),
        load(baseline),
        prompts,
        get_judge(str(watch.judge), store),
        run=run,
        guards=[get_judge(name, store) for name in watch.guards],
        max_left_out=read_max_left_out(watch.options, get_method(watch.method).options),
    )
    # The id is determined by the round: a round that runs again saves no second evaluation.
    evaluation = evaluation.model_copy(
        update={"id": content_id("evaluation", todo.id, baseline.id)}
    )
    evaluation = with_origin(evaluation, policy, store, answers.prompts)
    save_evaluation(store, evaluation)
    save_examples(store, evaluation, select_examples(answers))
    return evaluation


def _held_out_prompts(todo: Round, store: Store) -> list[Prompt]:
    feedback = TrainingSet(store, split="held-out", until=todo.until).as_requested()
    prompts = feedback.prompts()
    limit = todo.watch.limit
    if limit is None or limit >= len(prompts):
        return prompts
    indices = np.random.default_rng(todo.watch.seed).choice(len(prompts), limit, replace=False)
    return [prompts[index] for index in sorted(indices.tolist())]


def _start_experiment(
    todo: Round, policy: Policy, baseline: Policy, outcome: RoundOutcome, store: Store
) -> dict[str, object]:
    """Start an experiment with a policy, unless the evaluation shows that it is worse."""
    if outcome.evaluation is not None:
        rate = read_evaluation(store, outcome.evaluation).win_rate
        if rate.high < 0.5:
            return {"reason": f"No experiment: it wins {rate.value:.3f}, at most {rate.high:.3f}"}
    name = f"learned-{todo.id[:8]}"
    if name not in {experiment.name for experiment in list_experiments(store)}:
        signal = str(todo.watch.experiment)
        experiment = Experiment(
            name=name,
            control=baseline.id,
            candidates=(policy.id,),
            outcome=signal,
            allocation="dueling" if signal.startswith("preference") else "fixed",
        )
        try:
            start(store, experiment, actor=todo.watch.actor)
        except BacktalkError as error:
            return {"reason": str(error)}
    return {"experiment": name}


def _promote(todo: Round, policy: Policy, outcome: RoundOutcome, store: Store) -> str | None:
    """Promote a policy, or return the reason why not."""
    evaluation = None if outcome.evaluation is None else read_evaluation(store, outcome.evaluation)
    for record in reversed(promotion_history(store)):
        if policy.id == record.promotion.previous and record.promotion.action == "rollback":
            return f"It was active before, and {record.actor} rolled it back"
    try:
        promote(store, policy, evaluation, actor=todo.watch.actor, gate=todo.watch.gate)
    except GateRefused as refused:
        return str(refused)
    return None
