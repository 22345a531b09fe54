"""Fine-tuning of a policy on feedback: the steps that all methods that train weights share."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import JsonValue

from backtalk.artifacts import Artifacts
from backtalk.errors import BacktalkError
from backtalk.feedback.record import now
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask
from backtalk.learn.finetune.preflight import Preflight, preflight
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainable_model import TrainableModel, load_trainable_model
from backtalk.learn.finetune.trainer import Trainer, autocast_factory
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Lineage, Policy, read_policy
from backtalk.run import Run


@dataclass
class TrainingSetup:
    """State of a training run before its first step."""

    model: TrainableModel
    tasks: Sequence[TrainingTask]
    encoder: Encoder
    reference: ReferenceLogProbs | None
    """Log-probabilities of the reference; ``None`` if no objective needs them."""
    preflight: Preflight
    """Results of the checks before training."""


def prepare(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    build_tasks: BuildTasks,
    config: TrainingConfig,
) -> TrainingSetup:
    """Load the weights, tokenise the feedback, compute the reference and run the checks.

    Parameters
    ----------
    policy : Policy
        Policy to train.
    feedback : TrainingSet
        Feedback, with the artifacts of its store.
    run : Run
        Seed and progress reports.
    build_tasks : BuildTasks
        Function from an encoder to training tasks.
    config : TrainingConfig
        Training configuration.

    Raises
    ------
    BacktalkError
        If the policy has no trainable weights, or the feedback holds nothing to learn from.
    """
    artifacts = feedback.store.artifacts
    model = load_trainable_model(policy, artifacts, config, seed=run.seed)
    limits = (model.context_length, config.max_length)
    encoder = Encoder(
        model.initial.chat,
        max_length=min((limit for limit in limits if limit), default=None),
        prepare=policy.messages,
    )
    with run.task("reading feedback"):
        tasks = [task for task in build_tasks(encoder) if task.trees]
    if not tasks:
        reasons = ", ".join(
            f"{count} {reason}" for reason, count in (encoder.left_out + feedback.left_out).items()
        )
        _, mend = feedback.explain_left_out()
        raise BacktalkError(
            "There is no feedback that this method can learn from"
            + (f"; left out: {reasons}" if reasons else ""),
            (mend and f"{mend}. ")
            + "`backtalk methods` lists the kinds of feedback that each method learns from; "
            "max_length sets the maximum number of tokens",
        )
    logprobs = None
    reference = policy
    if config.reference is not None:
        reference = read_policy(feedback.store, config.reference)
    if any(task.objective.objective.reference for task in tasks):
        reference_model = model
        if reference.model != policy.model:
            without_adapter = config.model_copy(update={"adapter": "none"})
            reference_model = load_trainable_model(
                reference, artifacts, without_adapter, seed=run.seed
            )
        logprobs = _compute_reference(reference_model, tasks, artifacts, run, config)
    checks = preflight(
        model,
        tasks,
        config,
        reference=logprobs,
        reference_is_initial=reference.model == policy.model,
    )
    return TrainingSetup(model, tasks, encoder, logprobs, checks)


def _compute_reference(
    model: TrainableModel,
    tasks: Sequence[TrainingTask],
    artifacts: Artifacts,
    run: Run,
    config: TrainingConfig,
) -> ReferenceLogProbs:
    """Return the log-probabilities of the responses of all tasks that need a reference."""
    weights = f"{model.initial.identity} {config.dtype}"
    cache = ReferenceLogProbs(artifacts.root.with_suffix(".cache") / "reference.db", weights)
    trees = [tree for task in tasks if task.objective.objective.reference for tree in task.trees]
    with run.task("computing reference log-probabilities", len(trees)) as step:
        cache.compute(
            model.logprob_model,
            trees,
            batch_tokens=config.micro_batch_tokens(model.logprob_model.model.device.type),
            context=autocast_factory(model.logprob_model, config),
            report=step,
        )
    return cache


def finetune(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    build_tasks: BuildTasks,
    config: TrainingConfig,
    *,
    method: str,
    options: Mapping[str, JsonValue],
) -> Policy:
    """Return a policy with trained weights.

    Parameters
    ----------
    policy : Policy
        Policy to train.
    feedback : TrainingSet
        Feedback, with the artifacts of its store.
    run : Run
        Seed, folder of the resumable state, and progress reports.
    build_tasks : BuildTasks
        Function from an encoder to training tasks.
    config : TrainingConfig
        Training configuration.
    method : str
        Name of the method, for the lineage.
    options : Mapping[str, JsonValue]
        Options of the method, for the lineage.

    Raises
    ------
    PreflightFailed
        If a check before training fails.
    BacktalkError
        If the policy has no trainable weights, or the feedback holds nothing to learn from.
    """
    setup = prepare(policy, feedback, run, build_tasks, config)
    setup.preflight.raise_if_failed()
    trainer = Trainer(
        setup.model.logprob_model,
        setup.tasks,
        config,
        reference=setup.reference,
        seed=run.seed,
        folder=None if run.folder is None else run.folder / "training",
        weights=setup.model.initial.identity,
    )
    with run.task("training", trainer.steps) as step:
        trainer.train(lambda done, metrics: step(done, _progress_note(metrics)))
    artifacts = feedback.store.artifacts
    history = artifacts.put({"training.json": json.dumps(trainer.history).encode()})
    notes: dict[str, Any] = {
        "steps": trainer.steps,
        **{f"{task.name} prompts": len(task.trees) for task in setup.tasks},
        **{
            f"left out: {reason}": count
            for reason, count in (setup.encoder.left_out + feedback.left_out).items()
        },
        **_final_metrics(trainer.history),
        "history": history,
    }
    if setup.reference is not None:
        setup.reference.close()
    return policy.derive(
        model=setup.model.save(policy.model, artifacts),
        lineage=Lineage(
            method=method,
            parent=policy.id,
            options=dict(options),
            seed=run.seed,
            snapshot=feedback.snapshot,
            time=now(),
            notes=notes,
        ),
    )


def _progress_note(metrics: Mapping[str, float]) -> str:
    """Return the main metrics of a step, for a progress bar."""
    formats = {
        "loss": ".3f",
        "rewards/margins": ".2f",
        "rewards/accuracies": ".2f",
        "kl": ".3f",
        "completions/mean_length": ".0f",
    }
    notes = [f"{name} {metrics[name]:{form}}" for name, form in formats.items() if name in metrics]
    return ", ".join([*notes, f"{metrics['tokens_per_second']:,.0f} tokens/s"])


def _final_metrics(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean loss, accuracy and margin of the last tenth of the steps."""
    last = history[-max(len(history) // 10, 1) :]
    return {
        name: round(sum(step[name] for step in last) / len(last), 4)
        for name in ("loss", "rewards/accuracies", "rewards/margins")
        if all(name in step for step in last)
    }
