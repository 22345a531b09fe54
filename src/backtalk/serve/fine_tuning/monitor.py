"""Observer of a job's training: events, checkpoints, progress and the budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence

from backtalk.models import LocalSpec
from backtalk.policy import Policy
from backtalk.serve.files.file_store import random_id
from backtalk.serve.fine_tuning.budget import JobBudgetExceeded
from backtalk.serve.fine_tuning.events import append_event, last_step
from backtalk.serve.fine_tuning.job import Checkpoint, JobProgress, JobSpec
from backtalk.serve.fine_tuning.metrics import describe_step, openai_metrics
from backtalk.serve.fine_tuning.names import checkpoint_name
from backtalk.store import Store

_CHECKPOINTS = 3
"""Number of epochs, the last ones, whose models stay."""
_MAX_EVENTS = 1_000
"""Number of events of steps above which not every step has one."""
_SAVE_SECONDS = 1.0
"""Minimum time between two records of the progress."""

MakePolicy = Callable[[LocalSpec, int, str], Policy]
"""Function that saves a policy with the weights of a step under a name."""


class JobMonitor:
    """Observer of the training of a job.

    Parameters
    ----------
    store : Store
        Store of the job's project.
    job_id : str
        Job.
    spec : JobSpec
        Its specification.
    progress : JobProgress
        Progress so far.
    save_progress : Callable[[JobProgress], None]
        Function that records the progress.
    make_policy : MakePolicy
        Function that saves a policy of a checkpoint.
    """

    def __init__(
        self,
        store: Store,
        job_id: str,
        spec: JobSpec,
        progress: JobProgress,
        *,
        save_progress: Callable[[JobProgress], None],
        make_policy: MakePolicy,
    ) -> None:
        self._store = store
        self._job_id = job_id
        self._spec = spec
        self.progress = progress
        self._save_progress = save_progress
        self._make_policy = make_policy
        self._reported = last_step(store, job_id)
        self._checkpoint_steps: set[int] = set()
        self._every = 1
        self._started = self._saved = time.monotonic()
        self._seconds_before = progress.seconds
        self._first_step: int | None = None

    def begin(self, *, tokens: int, steps: int, epoch_ends: Sequence[int]) -> None:
        """Receive the size of the training before its first step.

        Parameters
        ----------
        tokens : int
            Number of tokens of all steps.
        steps : int
            Number of optimiser steps.
        epoch_ends : sequence of int
            Number of finished steps at the end of each epoch.

        Raises
        ------
        JobBudgetExceeded
            If the budget has fewer tokens.
        """
        limit = self._spec.budget.tokens
        if limit is not None and tokens > limit:
            raise JobBudgetExceeded(
                f"The job would train on {tokens:,} tokens, and its budget is {limit:,}",
                "Give fewer examples or epochs, or a larger budget",
            )
        self._checkpoint_steps = {end for end in epoch_ends[-_CHECKPOINTS:] if end < steps}
        self._every = math.ceil(steps / _MAX_EVENTS)
        self._update(steps=steps)

    def step(self, done: int, metrics: Mapping[str, float], save: Callable[[], LocalSpec]) -> None:
        """Receive the metrics of a step.

        Parameters
        ----------
        done : int
            Number of finished steps.
        metrics : Mapping[str, float]
            Metrics of the last one.
        save : Callable[[], LocalSpec]
            Function that saves the weights of this step.

        Raises
        ------
        JobBudgetExceeded
            If the time of the budget is over.
        """
        if self._first_step is None:
            self._first_step = done
        steps = self.progress.steps or done
        named = openai_metrics(metrics)
        is_shown = done % self._every == 0 or done in {1, steps} or "full_valid_loss" in named
        if done > self._reported and is_shown:
            append_event(
                self._store,
                self._job_id,
                describe_step(done, steps, named),
                metrics={"step": done, "total_steps": steps, **named},
            )
            self._reported = done
        if done in self._checkpoint_steps and not self._has_checkpoint(done):
            self._add_checkpoint(done, named, save())
        elif time.monotonic() - self._saved >= _SAVE_SECONDS:
            self._update(step=done, estimated_finish=self._estimate(done, steps))
        self._check_time()

    def seconds(self) -> float:
        """Return the time that the training took, over all attempts."""
        return self._seconds_before + time.monotonic() - self._started

    def _check_time(self) -> None:
        limit = self._spec.budget.seconds
        if limit is not None and self.seconds() > limit:
            raise JobBudgetExceeded(
                f"The training took longer than its budget of {limit:g} seconds",
                "Give fewer examples or epochs, or a larger budget",
            )

    def _has_checkpoint(self, step: int) -> bool:
        return any(checkpoint.step == step for checkpoint in self.progress.checkpoints)

    def _add_checkpoint(self, step: int, metrics: dict[str, float], model: LocalSpec) -> None:
        name = checkpoint_name(self._spec.fine_tuned_model(self._store.project), step)
        self._make_policy(model, step, name)
        checkpoint = new_checkpoint(name, step, metrics)
        self._update(step=step, checkpoints=(*self.progress.checkpoints, checkpoint))
        append_event(self._store, self._job_id, f"Checkpoint created at step {step}")

    def _estimate(self, done: int, steps: int) -> float:
        first = self._first_step or done
        rate = (time.monotonic() - self._started) / max(done - first + 1, 1)
        return time.time() + rate * (steps - done)

    def _update(self, **changes: object) -> None:
        self.progress = self.progress.changed(seconds=self.seconds(), **changes)
        self._save_progress(self.progress)
        self._saved = time.monotonic()


def new_checkpoint(model: str, step: int, metrics: Mapping[str, float]) -> Checkpoint:
    """Return the record of a checkpoint.

    Parameters
    ----------
    model : str
        Name of the model.
    step : int
        Number of finished steps.
    metrics : Mapping[str, float]
        Metrics of the last one, from :func:`~.metrics.openai_metrics`.
    """
    return Checkpoint(
        id=random_id("ftckpt_", 22),
        step=step,
        model=model,
        created_at=time.time(),
        metrics=dict(metrics),
    )
