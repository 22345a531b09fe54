"""Validation during training: the loss on held-out data, on a sample of it or on all of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.objective import Batch, TrainingTask
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trees import PromptTree, micro_batches

_SAMPLES = 10
"""Number of times in a training that the loss is measured on a sample."""

_Sums = dict[str, list[tuple[float, int]]]


def token_accuracy(batch: Batch) -> tuple[float, int]:
    """Return how many tokens of a batch are the most probable ones, and the number of all.

    Tokens with the weight 0 do not count.
    """
    assert batch.top_k is not None
    counted = batch.token_weight > 0
    correct = (batch.policy.detach() >= batch.top_k[:, 0].detach()) & counted
    return float(correct.sum()), int(counted.sum())


@dataclass(frozen=True)
class Validation:
    """Held-out data, and the measurements on it during a training."""

    model: LogProbModel
    tasks: Sequence[TrainingTask]
    config: TrainingConfig
    steps: int
    """Number of steps of the training."""
    context: Callable[[], AbstractContextManager[object]]
    """Function that returns the autocast context of a forward pass."""
    reference: ReferenceLogProbs | None = None
    """Log-probabilities of the reference, of all trees; needed by objectives with a reference."""
    seed: int = 0
    """Seed of the samples."""

    @torch.no_grad()
    def measure(self, step: int, *, full: bool) -> dict[str, float]:
        """Return the metrics after a step: none at most steps.

        Parameters
        ----------
        step : int
            Number of finished steps.
        full : bool
            If true, measure all data, as ``eval_loss`` and further metrics. Otherwise a tenth of
            the steps measure a sample of the size of a batch, as ``eval_sample_loss``.
        """
        if full:
            return self._metrics(self.tasks, "eval_")
        if step % max(self.steps // _SAMPLES, 1):
            return {}
        return self._metrics(self._sample(step), "eval_sample_")

    def _sample(self, step: int) -> list[TrainingTask]:
        rng = np.random.default_rng([self.seed, 13, step])
        positions = [(i, j) for i, task in enumerate(self.tasks) for j in range(len(task.trees))]
        size = min(self.config.batch_size, len(positions))
        drawn = [positions[k] for k in rng.choice(len(positions), size, replace=False)]
        return [
            TrainingTask(
                task.name,
                task.objective,
                [task.trees[j] for other, j in drawn if other == i],
                task.weight,
            )
            for i, task in enumerate(self.tasks)
        ]

    def _metrics(self, tasks: Sequence[TrainingTask], prefix: str) -> dict[str, float]:
        was_training = self.model.training
        self.model.eval()
        sums: _Sums = defaultdict(list)
        loss = 0.0
        total = sum(len(task.trees) for task in tasks)
        for task in tasks:
            units = task.objective.total_weight(task.trees)
            if task.trees and units > 0:
                share = task.weight * len(task.trees) / total
                loss += share * self._add_metrics(task, sums) / units
        self.model.train(was_training)
        means = {
            name: sum(value for value, _ in values) / count
            for name, values in sums.items()
            if (count := sum(number for _, number in values))
        }
        return {f"{prefix}{name}": value for name, value in {"loss": loss, **means}.items()}

    def _add_metrics(self, task: TrainingTask, sums: _Sums) -> float:
        """Add the metrics of a task to the sums, and return its summed weighted losses."""
        loss = 0.0
        anchor = self._anchor_log_ratio(task.trees)
        is_token_level = task.objective.objective.reduction == "token"
        for batch in self._batches(task, anchor):
            output = task.objective(batch)
            loss += float((output.losses * task.objective.unit_weights(batch)).sum())
            if is_token_level:
                sums["mean_token_accuracy"].append(token_accuracy(batch))
            for name, values in output.metrics.items():
                flat = values.double().flatten()
                flat = flat[torch.isfinite(flat)]
                sums[name].append((float(flat.sum()), len(flat)))
        return loss

    def _batches(self, task: TrainingTask, anchor: Tensor | None) -> Iterator[Batch]:
        objective = task.objective.objective
        top_k = max(objective.top_k, 1) if objective.reduction == "token" else objective.top_k
        for trees in self._groups(task.trees):
            with self.context():
                logprobs = self.model.score(trees, top_k)
            yield Batch.from_trees(
                trees,
                logprobs.values,
                self._lookup(trees) if objective.reference else None,
                top_k=logprobs.top_k,
                anchor_log_ratio=anchor,
                progress=0.0,
            )

    def _anchor_log_ratio(self, trees: Sequence[PromptTree]) -> Tensor | None:
        """Return the mean log-ratio of the KL anchors, ``None`` if there are none."""
        anchors = [tree.with_responses(tree.kl_anchors) for tree in trees if tree.kl_anchors]
        if not anchors or self.reference is None:
            return None
        ratios = []
        for group in self._groups(anchors):
            with self.context():
                values = self.model.score(group).values
            ratios.append(Batch.from_trees(group, values, self._lookup(group)))
        log_ratio = sum(batch.log_ratio.double().sum() for batch in ratios)
        count = sum(len(batch.tree_index) for batch in ratios)
        return torch.as_tensor(log_ratio / count).float()

    def _groups(self, trees: Sequence[PromptTree]) -> list[list[PromptTree]]:
        budget = self.config.micro_batch_tokens(self.model.model)
        return micro_batches(trees, budget, shared=self.model.shares_prompts)

    def _lookup(self, trees: Sequence[PromptTree]) -> Tensor | None:
        device = self.model.model.device
        return None if self.reference is None else self.reference.lookup(trees, device)
