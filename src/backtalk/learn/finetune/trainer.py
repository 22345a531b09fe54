"""Trainer: optimiser steps on trees with one or several objectives, with resumable state."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.config import TrainingConfig, default_learning_rate
from backtalk.learn.finetune.distributed import Distributed
from backtalk.learn.finetune.dropout import needs_reference, without_dropout
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.objective import Batch, LossOutput, TrainingTask
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trees import PromptTree, micro_batches
from backtalk.learn.finetune.validation import Validation, token_accuracy

_GRAD_SHARE_EVERY = 10
"""Number of steps between measurements of each task's share of the gradient."""
_EMA_DECAY = 0.9
"""Decay of the exponential moving averages, per step."""

_Aggregation = Literal["sum", "mean", "ema"]
_Sums = dict[tuple[_Aggregation, str], list[tuple[float, int]]]
"""Measurements of a step by aggregation and metric: sums and the number of values in each."""

Report = Callable[[int, Mapping[str, float]], None]
"""Callback after each step, with the number of finished steps and the step's metrics."""


@dataclass(frozen=True)
class _MicroBatch:
    """Trees of one task that fit into one forward pass."""

    task: int
    """Index of the task."""
    trees: Sequence[PromptTree]
    factor: float
    """Factor of the summed weighted losses; 0 for a micro-batch that only keeps step."""
    share: float = 1.0
    """Weight of the task's mean loss in the step."""


class Trainer:
    """Trainer of a model's weights.

    The gradient of a step is that of the mean loss over its trees, independent of the number of
    micro-batches and of processes: the losses of a task are divided by the number of its units
    (trees, pairs, responses or tokens, by the reduction of its objective) in the whole step.

    Parameters
    ----------
    model : LogProbModel
        Model; its parameters with ``requires_grad`` are trained.
    tasks : sequence of TrainingTask
        Training data with objectives.
    config : TrainingConfig
        Training configuration.
    reference : ReferenceLogProbs, optional
        Log-probabilities of all responses under the reference; required by objectives with a
        reference.
    seed : int, default 0
        Seed of the order of the trees and of dropout.
    folder : Path, optional
        Folder of the state of an interrupted run; no state is saved by default.
    weights : str, default ""
        Identifier of the initial weights; a state with other initial weights is ignored.
    validation : Validation, optional
        Held-out data, on which the loss is measured during the training.
    token_accuracy : bool, default False
        If true, also measure how often the most probable token is the right one, by an objective
        with a loss of each token.

    Raises
    ------
    BacktalkError
        If there is nothing to train on, or an objective lacks its reference.
    """

    def __init__(
        self,
        model: LogProbModel,
        tasks: Sequence[TrainingTask],
        config: TrainingConfig,
        *,
        reference: ReferenceLogProbs | None = None,
        seed: int = 0,
        folder: Path | None = None,
        weights: str = "",
        validation: Validation | None = None,
        token_accuracy: bool = False,
    ) -> None:
        _check(tasks, reference)
        self.model = model
        self._tasks = tasks
        self._config = config
        self._reference = reference
        self._seed = seed
        self._folder = folder
        self._weights = weights
        self._validation = validation
        self._token_accuracy = token_accuracy
        self._trees = [(i, j) for i, task in enumerate(tasks) for j in range(len(task.trees))]
        self.steps = config.num_steps(len(self._trees))
        """Number of optimiser steps."""
        self.history: list[dict[str, float]] = []
        """Metrics of each finished step."""
        self._resumed = False
        self._is_consistent = True
        """True if weights and optimiser are in the state of the last finished step."""
        self._ema: list[dict[str, float]] = [{} for _ in tasks]
        self._parameters = [p for p in model.parameters() if p.requires_grad]
        size = sum(p.numel() for p in model.parameters())
        peak = config.learning_rate or default_learning_rate(size, adapter=config.adapter != "none")
        self._learning_rate = peak * config.learning_rate_multiplier
        self._optimiser = torch.optim.AdamW(
            self._parameters,
            lr=self._learning_rate,
            weight_decay=config.weight_decay,
            fused=model.model.device.type in {"cpu", "cuda"},
        )
        self._processes = Distributed(model.model.device)
        self._forward = self._processes.prepare(model)
        self._order: tuple[int, np.ndarray[Any, np.dtype[np.int64]]] | None = None

    def train(self, report: Report | None = None) -> None:
        """Take the remaining steps, after those of :meth:`resume`.

        Ctrl-C, or any other end that is not an error, saves the state of the last finished step.
        """
        self.resume()
        self.model.train()
        if self._config.gradient_checkpointing:
            _set_gradient_checkpointing(self.model.model, enabled=True)
        dropout = without_dropout(self.model) if needs_reference(self._tasks) else nullcontext()
        try:
            with torch.random.fork_rng(self._devices()), dropout:
                self._take_steps(report)
        except BaseException as end:
            if not isinstance(end, Exception) and self._is_consistent and self.history:
                self._save()
            raise
        self._save()
        if self._config.gradient_checkpointing:
            _set_gradient_checkpointing(self.model.model, enabled=False)
        self.model.eval()

    def _take_steps(self, report: Report | None) -> None:
        saved = time.monotonic()
        for step in range(len(self.history), self.steps):
            metrics = self._step(step)
            if self._validation is not None:
                metrics |= self._validation.measure(step + 1, full=step + 1 in self.epoch_ends)
            self.history.append(metrics)
            self._is_consistent = True
            if report is not None and self._processes.is_main:
                report(step + 1, metrics)
            if time.monotonic() - saved > self._config.checkpoint_every_seconds:
                self._save()
                saved = time.monotonic()

    @cached_property
    def epoch_ends(self) -> list[int]:
        """Number of finished steps at the end of each epoch."""
        return self._config.epoch_ends(len(self._trees))

    def num_tokens(self) -> int:
        """Return the number of tokens of all steps."""
        return sum(tree.size for step in range(self.steps) for _, tree in self.batch(step))

    def batch(self, step: int) -> list[tuple[int, PromptTree]]:
        """Return the trees of a step, each with the index of its task."""
        size, total = self._config.batch_size, len(self._trees)
        results = []
        for position in range(step * size, (step + 1) * size):
            epoch, index = divmod(position, total)
            if position >= math.ceil(self._config.epochs * total - 1e-9):
                break
            if self._order is None or self._order[0] != epoch:
                rng = np.random.default_rng([self._seed, epoch])
                self._order = epoch, rng.permutation(total)
            task, tree = self._trees[self._order[1][index]]
            results.append((task, self._tasks[task].trees[tree]))
        return results

    def _step(self, step: int) -> dict[str, float]:
        """Take one optimiser step and return its metrics."""
        begin = time.perf_counter()
        torch.manual_seed(self._seed * 1_000_003 + step)
        learning_rate = self._learning_rate * self._config.lr_factor(step, self.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate
        trees = self.batch(step)
        budget = self._config.micro_batch_tokens(self.model.model)
        plans = [
            self._micro_batches(trees, rank=rank, budget=budget)
            for rank in range(self._processes.world_size)
        ]
        micro_batches = self._even_out(plans, trees)
        anchor_log_ratios = self._anchor_log_ratios(micro_batches)
        sums: _Sums = defaultdict(list)
        measure_shares = len(self._tasks) > 1 and step % _GRAD_SHARE_EVERY == 0
        squared_norms: dict[int, float] = defaultdict(float)
        for index, micro_batch in enumerate(micro_batches):
            before = self._gradient() if measure_shares else None
            last = index == len(micro_batches) - 1
            with self._processes.accumulate(self._forward, last=last):
                loss, batch, output = self._loss(micro_batch, anchor_log_ratios)
                (loss * self._processes.world_size).backward()  # type: ignore[no-untyped-call]
            if before is not None and micro_batch.factor:
                squared_norms[micro_batch.task] += _distance(before, self._gradient()) ** 2
            self._add_metrics(micro_batch, loss, batch, output, sums)
        norm = torch.nn.utils.clip_grad_norm_(self._parameters, self._config.max_grad_norm)
        if not torch.isfinite(norm):
            raise BacktalkError(
                f"The gradient of step {step + 1} is not a number",
                "Lower learning_rate, or set dtype=float32",
            )
        self._is_consistent = False
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        metrics = self._reduce(sums)
        total = sum(math.sqrt(value) for value in squared_norms.values())
        for task, value in squared_norms.items() if total else ():
            metrics[f"{self._tasks[task].name}/grad_share"] = math.sqrt(value) / total
        seconds = time.perf_counter() - begin
        num_tokens = sum(tree.size for _, tree in trees)
        return metrics | {
            "grad_norm": float(norm),
            "learning_rate": learning_rate,
            "num_tokens": float(num_tokens),
            "tokens_per_second": num_tokens / seconds,
        }

    def _micro_batches(
        self, trees: Sequence[tuple[int, PromptTree]], *, budget: int, rank: int
    ) -> list[_MicroBatch]:
        """Return the micro-batches of one process in a step."""
        results = []
        for index, task in enumerate(self._tasks):
            task_trees = [tree for other, tree in trees if other == index]
            units = task.objective.total_weight(task_trees)
            if not task_trees or not units:
                continue
            share = task.weight * len(task_trees) / len(trees)
            rank_trees = task_trees[rank :: self._processes.world_size]
            results += [
                _MicroBatch(index, group, share / units, share)
                for group in micro_batches(rank_trees, budget, shared=self.model.shares_prompts)
            ]
        return results

    def _even_out(
        self,
        plans: Sequence[Sequence[_MicroBatch]],
        trees: Sequence[tuple[int, PromptTree]],
    ) -> list[_MicroBatch]:
        """Return this process's micro-batches, padded so that all processes have as many."""
        count = max(len(plan) for plan in plans)
        task, tree = trees[0]
        idle = _MicroBatch(task, [tree], 0.0)
        own_plan = list(plans[self._processes.rank])
        return [*[idle] * (count - len(own_plan)), *own_plan]

    def _loss(
        self, micro_batch: _MicroBatch, anchor_log_ratios: Mapping[int, Tensor]
    ) -> tuple[Tensor, Batch, LossOutput]:
        objective = self._tasks[micro_batch.task].objective
        batch = self._batch(micro_batch, anchor_log_ratios.get(micro_batch.task))
        output = objective(batch)
        weights = objective.unit_weights(batch)
        return (output.losses * weights).sum() * micro_batch.factor, batch, output

    def _batch(self, micro_batch: _MicroBatch, anchor_log_ratio: Tensor | None) -> Batch:
        objective = self._tasks[micro_batch.task].objective.objective
        device = self.model.model.device
        top_k = objective.top_k
        if self._token_accuracy and objective.reduction == "token":
            top_k = max(top_k, 1)
        with self._autocast():
            logprobs = self._forward(self.model.collate(micro_batch.trees), top_k=top_k)
        reference = None
        if objective.reference and self._reference is not None:
            reference = self._reference.lookup(micro_batch.trees, device)
        return Batch.from_trees(
            micro_batch.trees,
            logprobs.values,
            reference,
            top_k=logprobs.top_k,
            anchor_log_ratio=anchor_log_ratio,
            ema=self._ema[micro_batch.task],
            progress=len(self.history) / self.steps,
        )

    @torch.no_grad()
    def _anchor_log_ratios(self, micro_batches: Sequence[_MicroBatch]) -> dict[int, Tensor]:
        """Return the mean log-ratio of the KL anchors of each task that has some."""
        device = self.model.model.device
        sums = torch.zeros((len(self._tasks), 2), dtype=torch.float64, device=device)
        for micro_batch in micro_batches:
            anchors = [
                tree.with_responses(tree.kl_anchors)
                for tree in micro_batch.trees
                if tree.kl_anchors
            ]
            if not anchors or not micro_batch.factor or self._reference is None:
                continue
            with self._autocast():
                values = self.model.score(anchors).values
            batch = Batch.from_trees(anchors, values, self._reference.lookup(anchors, device))
            sums[micro_batch.task, 0] += batch.log_ratio.double().sum()
            sums[micro_batch.task, 1] += len(batch.tree_index)
        total = self._processes.sum(sums)
        return {
            task: (value / count).float() for task, (value, count) in enumerate(total) if count > 0
        }

    def _add_metrics(
        self,
        micro_batch: _MicroBatch,
        loss: Tensor,
        batch: Batch,
        output: LossOutput,
        sums: _Sums,
    ) -> None:
        """Add the metrics of a micro-batch to the sums of its step.

        ``kl`` is the divergence from the reference per token of the responses: the estimator k2 of
        Schulman (2020), "Approximating KL divergence".
        """
        if not micro_batch.factor:
            return
        task = self._tasks[micro_batch.task]
        several = len(self._tasks) > 1
        sums["sum", "loss"].append((float(loss.detach()), 1))
        if several:
            task_loss = float(loss.detach()) / micro_batch.share
            sums["sum", f"{task.name}/loss"].append((task_loss, 1))
        if self._token_accuracy and batch.top_k is not None:
            sums["mean", "mean_token_accuracy"].append(token_accuracy(batch))
        lengths = float(len(batch.policy)), len(batch.tree_index)
        sums["mean", "completions/mean_length"].append(lengths)
        if batch.reference is not None:
            squares = 0.5 * (batch.policy.detach() - batch.reference).double().pow(2)
            sums["mean", "kl"].append((float(squares.sum()), len(squares)))
        for name, values in output.metrics.items():
            flat = values.detach().double().flatten()
            flat = flat[torch.isfinite(flat)]
            total = float(flat.sum()), len(flat)
            sums["mean", name].append(total)
            if several:
                sums["mean", f"{task.name}/{name}"].append(total)
        for name, values in output.ema.items():
            flat = values.detach().double().flatten()
            sums["ema", f"{micro_batch.task}/{name}"].append((float(flat.sum()), len(flat)))

    def _reduce(self, sums: _Sums) -> dict[str, float]:
        """Return the metrics of a step over all processes, and update the moving averages."""
        metrics: dict[str, float] = {}
        gathered: _Sums = defaultdict(list)
        for process_sums in self._processes.all_gather_object(dict(sums)):
            for key, values in process_sums.items():
                gathered[key] += values
        for (aggregation, name), values in gathered.items():
            total, count = math.fsum(v for v, _ in values), sum(n for _, n in values)
            if not count:
                continue
            if aggregation == "ema":
                self._update_ema(name, total / count)
            else:
                metrics[name] = total if aggregation == "sum" else total / count
        return metrics

    def _update_ema(self, name: str, mean: float) -> None:
        task, metric = name.split("/", 1)
        ema = self._ema[int(task)]
        ema[metric] = _EMA_DECAY * ema[metric] + (1 - _EMA_DECAY) * mean if metric in ema else mean

    def _gradient(self) -> list[Tensor]:
        return [
            torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()
            for p in self._parameters
        ]

    def _autocast(self) -> torch.autocast:
        return autocast(self.model, self._config)

    def _devices(self) -> list[int]:
        device = self.model.model.device
        return [device.index or 0] if device.type == "cuda" else []

    @property
    def _state_file(self) -> Path | None:
        return None if self._folder is None else self._folder / "state.pt"

    @cached_property
    def _fingerprint(self) -> str:
        """Return a digest of the data, the objectives, the options and the initial weights."""
        digest = blake2b(self._weights.encode(), digest_size=16)
        tasks = [
            (task.name, task.objective.objective.name, dict(task.objective.options), task.weight)
            for task in self._tasks
        ]
        config = self._config.model_dump(exclude={"checkpoint_every_seconds"})
        digest.update(json.dumps([tasks, config, self._seed], default=str).encode())
        for task in self._tasks:
            for tree in task.trees:
                labels = (tree.weight, sorted(tree.features.items()), tree.pairs)
                digest.update(repr(labels).encode())
                for response in (*tree.responses, *tree.kl_anchors):
                    digest.update(tree.key(response))
                    values = (response.columns(), response.weights, response.token_rewards)
                    digest.update(repr(values).encode())
        return digest.hexdigest()

    def _save(self) -> None:
        if self._state_file is None or not self._processes.is_main:
            return
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        new = self._state_file.with_suffix(".new")
        torch.save(
            {
                "fingerprint": self._fingerprint,
                "weights": [p.detach() for p in self._parameters],
                "optimiser": self._optimiser.state_dict(),
                "history": self.history,
                "ema": self._ema,
            },
            new,
        )
        new.rename(self._state_file)

    @property
    def fingerprint(self) -> str:
        """Digest of the data, the objectives, the options and the initial weights."""
        return self._fingerprint

    def remove_state(self) -> None:
        """Delete the checkpoint, once the trained weights are stored."""
        if self._state_file is not None and self._processes.is_main:
            self._state_file.unlink(missing_ok=True)

    def resume(self) -> int:
        """Load the state of an interrupted run, and return the number of its finished steps.

        A state of other data, options or initial weights is ignored.
        """
        if self._resumed or self._state_file is None or not self._state_file.exists():
            return len(self.history)
        self._resumed = True
        state = torch.load(
            self._state_file, map_location=self.model.model.device, weights_only=True
        )
        if state["fingerprint"] != self._fingerprint:
            return 0
        with torch.no_grad():
            for parameter, saved in zip(self._parameters, state["weights"], strict=True):
                parameter.copy_(saved)
        self._optimiser.load_state_dict(state["optimiser"])
        self.history = state["history"]
        self._ema = state["ema"]
        return len(self.history)


def _set_gradient_checkpointing(model: Any, *, enabled: bool) -> None:
    """Turn gradient checkpointing on or off; transformers 5 renamed the methods."""
    name = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if enabled:
        getattr(model, f"{name}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{name}_checkpointing_disable")()


def autocast(model: LogProbModel, config: TrainingConfig) -> torch.autocast:
    """Return the autocast context for the number format of the configuration."""
    return torch.autocast(
        model.model.device.type,
        dtype=torch.bfloat16,
        enabled=config.dtype == "bfloat16",
    )


def autocast_factory(model: LogProbModel, config: TrainingConfig) -> Callable[[], torch.autocast]:
    """Return a function that returns a new :func:`autocast` context."""
    return partial(autocast, model, config)


def _check(tasks: Sequence[TrainingTask], reference: ReferenceLogProbs | None) -> None:
    """Raise ``BacktalkError`` if the tasks cannot be trained on."""
    if not any(task.trees for task in tasks):
        raise BacktalkError(
            "There is nothing to train on",
            "Collect feedback that the method can learn from; `backtalk methods` lists it",
        )
    for task in tasks:
        objective = task.objective.objective
        if objective.reference and reference is None:
            raise BacktalkError(
                f"The objective {objective.name} needs log-probabilities of a reference",
                "Pass ReferenceLogProbs that were computed for the responses",
            )
        if task.objective.total_weight(task.trees) <= 0:
            raise BacktalkError(
                f"The objective {objective.name} has nothing to learn from: the "
                f"{len(task.trees)} trees have no {objective.reduction} of positive weight",
                f"Give it trees with at least one {objective.reduction} of positive weight",
            )


def _distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """Return the Euclidean distance of two gradients."""
    return math.sqrt(sum(float((x - y).double().pow(2).sum()) for x, y in zip(a, b, strict=True)))
