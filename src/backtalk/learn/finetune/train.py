"""Fine-tuning of a policy on feedback: the steps that all methods that train weights share."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pydantic import JsonValue

from backtalk.errors import BacktalkError
from backtalk.feedback.record import now
from backtalk.learn.finetune.adapters import adapter_notes
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.encoding import Encoder
from backtalk.learn.finetune.finished_run import FinishedRun
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.objective import BuildTasks, TrainingTask
from backtalk.learn.finetune.preflight import (
    Preflight,
    Report,
    check_logprobs,
    check_tokens,
    first_trees,
    ignore_report,
)
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainable_model import (
    TrainableModel,
    check_trainable,
    load_trainable_model,
)
from backtalk.learn.finetune.trainer import Trainer, autocast_factory
from backtalk.learn.finetune.trees import PromptTree
from backtalk.learn.finetune.validation import Validation
from backtalk.learn.left_out_rows import NOTE as LEFT_OUT_NOTE
from backtalk.learn.left_out_rows import save_left_out
from backtalk.learn.training_set import TrainingSet
from backtalk.models import LocalSpec
from backtalk.policy import Lineage, Policy, read_policy
from backtalk.policy.training_history import read_history, save_history
from backtalk.run import Run
from backtalk.store import Store

__all__ = [
    "Reference",
    "TrainingSetup",
    "check_trainable",
    "encode",
    "finetune",
    "load_model",
    "prepare",
]


@dataclass
class TrainingSetup:
    """State of a training run before its first step."""

    model: TrainableModel
    tasks: Sequence[TrainingTask]
    encoder: Encoder
    reference: Reference | None
    """Reference; ``None`` if no objective needs one."""
    preflight: Preflight
    """Results of the checks before training."""

    @property
    def trees_with_reference(self) -> list[PromptTree]:
        """Trees of the objectives that need a reference."""
        tasks = [task for task in self.tasks if task.objective.objective.reference]
        return [tree for task in tasks for tree in task.trees]


@dataclass
class Reference:
    """Reference policy of a training run, and its log-probabilities."""

    logprobs: ReferenceLogProbs
    model: LogProbModel
    is_initial: bool
    """True if it is the policy before training."""

    def close(self) -> None:
        """Close the file of the log-probabilities."""
        self.logprobs.close()

    def compute(self, trees: Sequence[PromptTree], run: Run, config: TrainingConfig) -> None:
        """Compute the missing log-probabilities of trees, with a progress report in tokens.

        Parameters
        ----------
        trees : sequence of PromptTree
            Training data.
        run : Run
            Receiver of the progress report.
        config : TrainingConfig
            Training configuration, with the size of a micro-batch and the number format.
        """
        total = _num_tokens(trees)
        left = _num_tokens(self.logprobs.missing(trees))
        if not left:
            return
        begin, done = time.monotonic(), total - left
        note = f"{done:,} of {total:,} tokens are cached" if done > total / 20 else ""

        def report(tokens: int) -> None:
            rate = tokens / max(time.monotonic() - begin, 1e-9)
            step(done + tokens, f"{rate:,.0f} tokens/s")

        with run.task("reference log-probabilities", total, done=done, note=note) as step:
            self.logprobs.compute(
                self.model,
                trees,
                batch_tokens=config.micro_batch_tokens(self.model.model),
                context=autocast_factory(self.model, config),
                report=report,
            )


def prepare(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    build_tasks: BuildTasks,
    config: TrainingConfig,
    *,
    model: TrainableModel | None = None,
    report: Report = ignore_report,
) -> TrainingSetup:
    """Load the weights, tokenise the feedback and run the checks.

    The log-probabilities of the reference are computed for the rows that the checks need.

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
    model : TrainableModel, optional
        Model of the policy, from :func:`load_model`, if it is loaded already.
    report : Report, optional
        Function that receives the results of the checks as soon as they are known.

    Raises
    ------
    BacktalkError
        If the policy has no trainable weights, or the feedback holds nothing to learn from.
    """
    model = model or load_model(policy, feedback, run, config)
    encoder, tasks = encode(build_tasks, model, config, policy=policy, feedback=feedback, run=run)
    read = check_tokens(model, tasks, report)
    trees = [
        tree for task in tasks if task.objective.objective.reference for tree in first_trees(task)
    ]
    reference = None
    if trees:
        reference = _load_reference(policy, model, feedback.store, run, config)
        reference.compute(trees, run, config)
    computed = check_logprobs(
        model,
        tasks,
        config,
        reference=None if reference is None else reference.logprobs,
        reference_is_initial=reference is None or reference.is_initial,
        report=report,
    )
    checks = replace(read, checks=(*read.checks, *computed))
    return TrainingSetup(model, tasks, encoder, reference, checks)


def load_model(
    policy: Policy, feedback: TrainingSet, run: Run, config: TrainingConfig
) -> TrainableModel:
    """Load the weights of a policy.

    Parameters
    ----------
    policy : Policy
        Policy to train.
    feedback : TrainingSet
        Feedback, with the artifacts of its store.
    run : Run
        Seed and progress reports.
    config : TrainingConfig
        Training configuration, which selects the adapter.
    """
    with run.task("loading the model"):
        return load_trainable_model(policy, feedback.store.artifacts, config, seed=run.seed)


def encode(
    build_tasks: BuildTasks,
    model: TrainableModel,
    config: TrainingConfig,
    *,
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
) -> tuple[Encoder, Sequence[TrainingTask]]:
    """Return the tokenised feedback, with the encoder that counted what it left out.

    Parameters
    ----------
    build_tasks : BuildTasks
        Function from an encoder to training tasks.
    model : TrainableModel
        Model with the tokenizer.
    config : TrainingConfig
        Training configuration, with the maximum length.
    policy : Policy
        Policy with the system prompt.
    feedback : TrainingSet
        Feedback, for the error message.
    run : Run
        Progress reports.

    Raises
    ------
    TooManyLeftOut
        If the model has no tokens for a larger share of the rows than ``max_left_out``.
    BacktalkError
        If the feedback holds nothing to learn from.
    """
    limits = (model.context_length, config.max_length)
    with run.task("tokenising feedback") as step:
        encoder = Encoder(
            model.chat,
            max_length=min((limit for limit in limits if limit), default=None),
            prepare=policy.messages,
            report=step,
            reasoning=config.reasoning,
        )
        tasks = [task for task in build_tasks(encoder) if task.trees]
    encoder.refused.add_all(feedback.refused)
    encoder.refused.check(config.max_left_out, feedback.every_case())
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
    return encoder, tasks


def _load_reference(
    policy: Policy, model: TrainableModel, store: Store, run: Run, config: TrainingConfig
) -> Reference:
    """Return the reference policy's model with its cache, which is next to the store."""
    reference = policy if config.reference is None else read_policy(store, config.reference)
    is_initial = reference.model == policy.model
    if not is_initial:
        without_adapter = config.model_copy(update={"adapter": "none"})
        model = load_trainable_model(reference, store.artifacts, without_adapter, seed=run.seed)
    logprobs = ReferenceLogProbs(
        store.artifacts.folder_beside("cache") / "reference.db",
        f"{model.identity} {config.dtype}",
    )
    return Reference(logprobs, model.logprob_model, is_initial)


def _num_tokens(trees: Sequence[PromptTree]) -> int:
    return sum(tree.with_responses((*tree.responses, *tree.kl_anchors)).size for tree in trees)


def finetune(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    build_tasks: BuildTasks,
    config: TrainingConfig,
    *,
    method: str,
    options: Mapping[str, JsonValue],
    build_validation: BuildTasks | None = None,
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
    build_validation : BuildTasks, optional
        Function from an encoder to tasks of the feedback's validation set, on which the loss is
        measured during the training.

    Raises
    ------
    PreflightFailed
        If a check before training fails.
    BacktalkError
        If the policy has no trainable weights, or the feedback holds nothing to learn from.
    """
    setup = prepare(policy, feedback, run, build_tasks, config)
    setup.preflight.raise_if_failed()
    setup.model.round_frozen_weights(policy.model, config)
    reference = setup.reference
    if reference is not None:
        reference.compute(setup.trees_with_reference, run, config)
    folder = None if run.folder is None else run.folder / "training"
    validation = None
    if build_validation is not None and feedback.validation is not None:
        validation = _validation(
            setup, build_validation, config, policy=policy, held_out=feedback.validation, run=run
        )
    trainer = Trainer(
        setup.model.logprob_model,
        setup.tasks,
        config,
        reference=None if reference is None else reference.logprobs,
        seed=run.seed,
        folder=folder,
        weights=setup.model.identity,
        validation=validation,
        token_accuracy=run.monitor is not None,
    )
    artifacts = feedback.store.artifacts
    finished = FinishedRun.read(folder, trainer.fingerprint, artifacts)
    if finished is None:
        _train(trainer, run, lambda: setup.model.save(policy.model, artifacts))
        finished = FinishedRun(
            setup.model.save(policy.model, artifacts), save_history(trainer.history, artifacts)
        )
        if folder is not None:
            finished.write(folder, trainer.fingerprint)
    trainer.remove_state()
    metrics = read_history(finished.history, artifacts)
    notes: dict[str, Any] = {
        "steps": trainer.steps,
        **{f"{task.name} prompts": len(task.trees) for task in setup.tasks},
        **{
            f"left out: {reason}": count
            for reason, count in (setup.encoder.left_out + feedback.left_out).items()
        },
        **adapter_notes(setup.model.adapted),
        **_final_metrics(metrics),
        "history": finished.history,
    }
    if rows := setup.encoder.refused.find_records(feedback.every_case()):
        notes[LEFT_OUT_NOTE] = save_left_out(rows, artifacts)
    if reference is not None:
        reference.close()
    return policy.derive(
        model=finished.model,
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


def _validation(
    setup: TrainingSetup,
    build_tasks: BuildTasks,
    config: TrainingConfig,
    *,
    policy: Policy,
    held_out: TrainingSet,
    run: Run,
) -> Validation:
    """Return the tokenised held-out data, with the log-probabilities of the reference."""
    _, tasks = encode(build_tasks, setup.model, config, policy=policy, feedback=held_out, run=run)
    if setup.reference is not None:
        referenced = [task for task in tasks if task.objective.objective.reference]
        setup.reference.compute([tree for task in referenced for tree in task.trees], run, config)
    return Validation(
        setup.model.logprob_model,
        tasks,
        config,
        config.num_steps(sum(len(task.trees) for task in setup.tasks)),
        autocast_factory(setup.model.logprob_model, config),
        None if setup.reference is None else setup.reference.logprobs,
        run.seed,
    )


def _train(trainer: Trainer, run: Run, save: Callable[[], LocalSpec]) -> None:
    """Take the remaining steps of a run, with a progress report."""
    monitor = run.monitor
    if monitor is not None:
        monitor.begin(
            tokens=trainer.num_tokens(), steps=trainer.steps, epoch_ends=trainer.epoch_ends
        )
    done = trainer.resume()
    note = f"resumed at step {done:,} of {trainer.steps:,}" if done else ""

    def report(done: int, metrics: Mapping[str, float]) -> None:
        if monitor is not None:
            monitor.step(done, metrics, save)
        step(done, _progress_note(metrics))

    with run.task("training", trainer.steps, done=done, note=note) as step:
        trainer.train(report)


_SHOWN_METRICS = {
    "rewards/accuracies": "accuracy {:.2f}",
    "rewards/margins": "margin {:.2f}",
    "kl": "KL {:.3f}",
    "tokens_per_second": "{:,.0f} tokens/s",
    "completions/mean_length": "length {:.0f}",
}
"""Metrics of a progress bar after the loss, the most telling first."""


def _progress_note(metrics: Mapping[str, float]) -> str:
    """Return the loss and the two most telling metrics of a step, for a progress bar."""
    shown = [text.format(metrics[name]) for name, text in _SHOWN_METRICS.items() if name in metrics]
    return ", ".join([f"loss {metrics['loss']:.3f}", *shown[:2]])


def _final_metrics(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean loss, accuracy and margin of the last tenth of the steps."""
    last = history[-max(len(history) // 10, 1) :]
    return {
        name: round(sum(step[name] for step in last) / len(last), 4)
        for name in ("loss", "rewards/accuracies", "rewards/margins")
        if all(name in step for step in last)
    }
