"""From feedback to a policy with other weights: what all methods that train have in common."""

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
from backtalk.learn.finetune.trainer import Trainer, precision_context
from backtalk.learn.training_set import TrainingSet
from backtalk.policy import Lineage, Policy, read_policy
from backtalk.run import Run


@dataclass
class Prepared:
    """Everything that is ready before the first step."""

    student: TrainableModel
    parts: Sequence[TrainingTask]
    encoder: Encoder
    reference: ReferenceLogProbs | None
    checked: Preflight


def prepare(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    make_parts: BuildTasks,
    settings: TrainingConfig,
) -> Prepared:
    """Load the weights, make trees, compute the reference and check all of it.

    Parameters
    ----------
    policy : Policy
        Whose weights learn.
    feedback : TrainingSet
        Where artifacts are kept.
    run : Run
        Gives the seed, and is told how far the work is.
    make_parts : BuildTasks
        Makes what is learned from.
    settings : TrainingConfig
        How it is trained.

    Raises
    ------
    BacktalkError
        If the policy has no weights that can be trained, or nothing can be learned from.
    """
    artifacts = feedback.store.artifacts
    student = load_trainable_model(policy, artifacts, settings, seed=run.seed)
    encoder = Encoder(
        student.model.chat,
        longest=min((size for size in (student.window, settings.max_length) if size), default=None),
        prepare=policy.messages,
    )
    with run.task("reading feedback"):
        parts = [part for part in make_parts(encoder) if part.trees]
    if not parts:
        reasons = ", ".join(f"{count} {reason}" for reason, count in encoder.left_out.items())
        raise BacktalkError(
            "There is no feedback that this method can learn from"
            + (f"; left out: {reasons}" if reasons else ""),
            "`backtalk methods` names the kinds that can drive it; max_length says what is too "
            "long",
        )
    said = None
    reference = policy
    if settings.reference is not None:
        reference = read_policy(feedback.store, settings.reference)
    if any(part.objective.objective.reference for part in parts):
        teacher = student
        if reference.model != policy.model:
            whole = settings.model_copy(update={"adapter": "none"})
            teacher = load_trainable_model(reference, artifacts, whole, seed=run.seed)
        said = _reference(teacher, parts, artifacts, run, settings)
    checked = preflight(
        student, parts, settings, reference=said, same=reference.model == policy.model
    )
    return Prepared(student, parts, encoder, said, checked)


def _reference(
    teacher: TrainableModel,
    parts: Sequence[TrainingTask],
    artifacts: Artifacts,
    run: Run,
    settings: TrainingConfig,
) -> ReferenceLogProbs:
    weights = f"{teacher.model.identity} {settings.dtype}"
    cache = ReferenceLogProbs(artifacts.root.with_suffix(".cache") / "reference.db", weights)
    trees = [tree for part in parts if part.objective.objective.reference for tree in part.trees]
    with run.task("asking the reference", len(trees)) as step:
        cache.compute(
            teacher.scorer,
            trees,
            batch_tokens=settings.at_once(teacher.scorer.model.device.type),
            context=precision_context(teacher.scorer, settings),
            report=step,
        )
    return cache


def finetune(
    policy: Policy,
    feedback: TrainingSet,
    run: Run,
    make_parts: BuildTasks,
    settings: TrainingConfig,
    *,
    method: str,
    options: Mapping[str, JsonValue],
) -> Policy:
    """Return a policy whose weights have learned.

    Parameters
    ----------
    policy, feedback, run, make_parts, settings
        As for :func:`prepare`.
    method, options
        What the lineage says of how it was made.

    Raises
    ------
    PreflightFailed
        If a check before training does not pass.
    """
    ready = prepare(policy, feedback, run, make_parts, settings)
    ready.checked.raise_if_failed()
    trainer = Trainer(
        ready.student.scorer,
        ready.parts,
        settings,
        reference=ready.reference,
        seed=run.seed,
        folder=None if run.folder is None else run.folder / "training",
        weights=ready.student.model.identity,
    )
    with run.task("training", trainer.steps) as step:
        trainer.train(lambda done, measured: step(done, _in_words(measured)))
    artifacts = feedback.store.artifacts
    history = artifacts.put({"training.json": json.dumps(trainer.history).encode()})
    notes: dict[str, Any] = {
        "steps": trainer.steps,
        **{f"{part.name} prompts": len(part.trees) for part in ready.parts},
        **{f"left out: {reason}": count for reason, count in ready.encoder.left_out.items()},
        **_last(trainer.history),
        "history": history,
    }
    if ready.reference is not None:
        ready.reference.close()
    return policy.derive(
        model=ready.student.save(policy.model, artifacts),
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


def _in_words(measured: Mapping[str, float]) -> str:
    """Return what a step measured, short enough for a progress bar."""
    shown = {"loss": ".3f", "reward margin": ".2f", "accuracy": ".2f", "kl": ".3f", "length": ".0f"}
    words = [f"{name} {measured[name]:{form}}" for name, form in shown.items() if name in measured]
    return ", ".join([*words, f"{measured['tokens/s']:,.0f} tokens/s"])


def _last(history: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Return the mean loss and accuracy of the last tenth of the steps."""
    last = history[-max(len(history) // 10, 1) :]
    return {
        key: round(sum(step[key] for step in last) / len(last), 4)
        for key in ("loss", "accuracy", "reward margin")
        if all(key in step for step in last)
    }
