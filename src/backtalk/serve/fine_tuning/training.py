"""Execution of a job: train, save the policy under its name, write the result file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from backtalk.learn.availability import require_lesson
from backtalk.learn.background.cancellable import CancellableTask
from backtalk.learn.method import Method, get_method
from backtalk.learn.training_set import TrainingSet
from backtalk.models import LocalSpec
from backtalk.policy import Lineage, Policy, read_policy, save_policy
from backtalk.policy.storage import name_policy
from backtalk.policy.training_history import read_history
from backtalk.run import Run
from backtalk.serve.files.file_store import RESULTS, FileStore
from backtalk.serve.fine_tuning.events import append_event
from backtalk.serve.fine_tuning.hyperparameters import (
    learns_reasoning,
    method_options,
    without_auto,
)
from backtalk.serve.fine_tuning.job import JobProgress, JobSpec
from backtalk.serve.fine_tuning.metrics import openai_metrics, result_csv
from backtalk.serve.fine_tuning.monitor import JobMonitor, new_checkpoint
from backtalk.serve.fine_tuning.names import checkpoint_name
from backtalk.serve.fine_tuning.training_data import TrainingData, with_prompts
from backtalk.store import Store

_RESULT_NAME = "step_metrics.csv"
_SAVE_EVERY_SECONDS = 20.0
"""Time between two checkpoints from which a job resumes after its process was killed."""


@dataclass(frozen=True)
class JobRun:
    """Attempt at a job.

    Parameters
    ----------
    store : Store
        Store of the job's project.
    files : FileStore
        Uploaded files.
    job_id : str
        Job.
    spec : JobSpec
        Its specification.
    folder : Path
        Folder of the run, which later attempts find again.
    options : Mapping[str, JsonValue]
        Options of this machine, for methods that have them.
    save_progress : Callable[[JobProgress], None]
        Function that records the progress.
    """

    store: Store
    files: FileStore
    job_id: str
    spec: JobSpec
    folder: Path
    options: Mapping[str, JsonValue]
    save_progress: Callable[[JobProgress], None]

    def run(self, progress: JobProgress, task: CancellableTask) -> JobProgress:
        """Train, and return the final progress.

        Parameters
        ----------
        progress : JobProgress
            Progress of earlier attempts.
        task : CancellableTask
            Runner of the work, by which it can be stopped.

        Raises
        ------
        Cancelled
            If the work was stopped. Its state is in the folder.
        BacktalkError
            If the job cannot succeed.
        """
        method = get_method(self.spec.method)
        base = read_policy(self.store, self.spec.base)
        training = TrainingData(
            self.spec,
            self.store,
            self.files,
            self.folder,
            reasoning=learns_reasoning(self.spec, self.options),
        ).load()
        machine = self._machine_options(method)
        resolved = without_auto(self.spec, method, sum(1 for _ in training.cases()), machine)
        options = method_options(self.spec, method, resolved, machine)
        progress = progress.changed(hyperparameters=resolved)
        self.save_progress(progress)
        require_lesson(method, training, base)
        monitor = JobMonitor(
            self.store,
            self.job_id,
            self.spec,
            progress,
            save_progress=self.save_progress,
            make_policy=lambda model, step, name: self._save(
                self._checkpoint_policy(base, training, model, step), name, training
            ),
        )
        with Run(
            self.folder,
            seed=self.spec.seed,
            budget=self.spec.budget,
            progress=task.progress,
            monitor=monitor,
        ) as run:
            learned = task.run(method.learn(base, training, run, **options))
        return self._finish(learned, training, monitor)

    def _machine_options(self, method: Method) -> dict[str, Any]:
        chosen = {name: value for name, value in self.options.items() if name in method.options}
        if "checkpoint_every_seconds" in method.options:
            chosen.setdefault("checkpoint_every_seconds", _SAVE_EVERY_SECONDS)
        return chosen

    def _checkpoint_policy(
        self, base: Policy, training: TrainingSet, model: LocalSpec, step: int
    ) -> Policy:
        lineage = Lineage(
            method=self.spec.method,
            parent=base.id,
            seed=self.spec.seed,
            snapshot=training.snapshot,
            notes={"steps": step, "job": self.job_id},
        )
        return base.derive(model=model, lineage=lineage)

    def _save(self, policy: Policy, name: str, training: TrainingSet) -> Policy:
        """Save a policy under a name, and return it."""
        saved = with_prompts(policy, training, self.spec).named(name)
        save_policy(self.store, saved)
        name_policy(self.store, name, saved)
        return saved

    def _finish(self, learned: Policy, training: TrainingSet, monitor: JobMonitor) -> JobProgress:
        model = self.spec.fine_tuned_model(self.store.project)
        policy = self._save(learned, model, training)
        history = read_history(learned, self.store.artifacts)
        progress = monitor.progress.changed(
            status="succeeded",
            policy=policy.id,
            fine_tuned_model=model,
            step=len(history),
            steps=len(history) or None,
            seconds=monitor.seconds(),
            estimated_finish=None,
            trained_tokens=round(sum(step.get("num_tokens", 0.0) for step in history)),
        )
        if history:
            last = len(history)
            name = checkpoint_name(model, last)
            name_policy(self.store, name, policy)
            checkpoint = new_checkpoint(name, last, openai_metrics(history[-1]))
            result = self.files.add_text(
                self.store.project, result_csv(history), filename=_RESULT_NAME, purpose=RESULTS
            )
            others = tuple(one for one in progress.checkpoints if one.step != last)
            progress = progress.changed(
                checkpoints=(*others, checkpoint), result_files=(result.id,)
            )
            append_event(self.store, self.job_id, f"Checkpoint created at step {last}")
        append_event(self.store, self.job_id, f"New fine-tuned model created: {model}")
        return progress
