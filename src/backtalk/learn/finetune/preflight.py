"""Checks before training, of the loss, the log-probabilities and the tokens of the data."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.dropout import without_dropout
from backtalk.learn.finetune.objective import Batch, TrainingTask
from backtalk.learn.finetune.packing import pack, pad
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainable_model import TrainableModel
from backtalk.learn.finetune.trainer import autocast
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens
from backtalk.models import Sampling
from backtalk.models.local.sampler import SequenceState

TREES_PER_TASK = 4
"""Number of trees of each task that are checked."""
_COMPARED_TREES = 2
"""Number of trees of each task, the shortest of those, that are computed in two ways."""
_SAMPLE_TOKENS = 24


class PreflightFailed(BacktalkError):
    """A failed check before training."""


@dataclass(frozen=True)
class Check:
    """Result of one check."""

    name: str
    passed: bool
    measured: str
    """Measured value, in words."""


@dataclass(frozen=True)
class RenderedResponse:
    """Response as the trainer sees it."""

    task: str
    """Name of the training task."""
    prompt: str
    """Tokens of the prompt as text, special tokens included; the prompt has no loss."""
    tokens: tuple[tuple[str, float], ...]
    """Text and loss weight of each response token."""

    def __str__(self) -> str:
        text = "".join(token if weight else f"⟦{token}⟧" for token, weight in self.tokens)
        return f"⟦{self.prompt}⟧{text}"


Report = Callable[[Check | RenderedResponse], None]
"""Function that receives results as soon as they are known."""


def ignore_report(result: Check | RenderedResponse) -> None:
    """Discard a result."""


@dataclass(frozen=True)
class Preflight:
    """Results of all checks, and some rendered responses."""

    checks: tuple[Check, ...]
    responses: tuple[RenderedResponse, ...]

    @property
    def passed(self) -> bool:
        """True if all checks passed."""
        return all(check.passed for check in self.checks)

    def raise_if_failed(self) -> None:
        """Raise ``PreflightFailed`` with the failed checks, if there are any."""
        failed = [f"{check.name}: {check.measured}" for check in self.checks if not check.passed]
        if failed:
            raise PreflightFailed(
                "Training did not start: a check failed. " + "; ".join(failed),
                "Run `backtalk preflight` to see the responses as the trainer sees them",
            )


def preflight(
    model: TrainableModel,
    tasks: Sequence[TrainingTask],
    config: TrainingConfig,
    *,
    reference: ReferenceLogProbs | None = None,
    reference_is_initial: bool = True,
) -> Preflight:
    """Run all checks before training. Those that compute something do so for a few rows.

    Parameters
    ----------
    model : TrainableModel
        Model before training.
    tasks : sequence of TrainingTask
        Training data with objectives.
    config : TrainingConfig
        Training configuration; its number format sets the tolerance.
    reference : ReferenceLogProbs, optional
        Log-probabilities of the reference, if an objective needs them, at least of the trees of
        :func:`first_trees`.
    reference_is_initial : bool, default True
        If true, the reference is the model before training, and the first loss is known.
    """
    read = check_tokens(model, tasks)
    computed = check_logprobs(
        model, tasks, config, reference=reference, reference_is_initial=reference_is_initial
    )
    return replace(read, checks=(*read.checks, *computed))


def check_tokens(
    model: TrainableModel, tasks: Sequence[TrainingTask], report: Report = ignore_report
) -> Preflight:
    """Return rendered responses, and the checks that need no log-probabilities.

    Parameters
    ----------
    model : TrainableModel
        Model before training.
    tasks : sequence of TrainingTask
        Training data with objectives.
    report : Report, optional
        Function called with each result as soon as it is known.
    """
    responses = []
    for task in tasks:
        for tree in first_trees(task):
            for response in _render(model, task.name, tree):
                report(response)
                responses.append(response)
    return Preflight(tuple(_reported(count_tokens(model, tasks), report)), tuple(responses))


def check_logprobs(
    model: TrainableModel,
    tasks: Sequence[TrainingTask],
    config: TrainingConfig,
    *,
    reference: ReferenceLogProbs | None,
    reference_is_initial: bool,
    report: Report = ignore_report,
) -> tuple[Check, ...]:
    """Return the checks of losses and log-probabilities, on a few rows.

    Parameters
    ----------
    model : TrainableModel
        Model before training.
    tasks : sequence of TrainingTask
        Training data with objectives.
    config : TrainingConfig
        Training configuration.
    reference : ReferenceLogProbs or None
        Log-probabilities of the trees of :func:`first_trees`.
    reference_is_initial : bool
        If true, the reference is the model before training.
    report : Report, optional
        Function called with each check as soon as it is known.
    """
    model.logprob_model.eval()
    samples = [(task, first_trees(task)) for task in tasks if task.trees]
    shortest = [
        tree
        for _, trees in samples
        for tree in sorted(trees, key=lambda tree: tree.size)[:_COMPARED_TREES]
    ]

    tolerance = _tolerance(model, shortest, config)

    def checks() -> Iterator[Check]:
        for task, trees in samples:
            yield _check_first_loss(
                model,
                task,
                trees,
                config,
                reference=reference,
                reference_is_initial=reference_is_initial,
                tolerance=tolerance,
            )
        yield _check_packing(model, shortest, config, tolerance)
        yield _check_sampler(model, shortest[:TREES_PER_TASK], config, tolerance)

    return tuple(_reported(checks(), report))


def count_tokens(
    model: TrainableModel, tasks: Sequence[TrainingTask], *, rows: str = ""
) -> Iterator[Check]:
    """Yield the checks that count tokens, and compute no log-probability.

    Parameters
    ----------
    model : TrainableModel
        Model, for its end-of-sequence tokens.
    tasks : sequence of TrainingTask
        Training data.
    rows : str, default ""
        Description of the rows in the names of the checks.
    """
    for check in (_check_loss_weights(tasks), _check_end_of_sequence(model, tasks)):
        yield replace(check, name=f"{check.name}, {rows}") if rows else check


def _reported(checks: Iterable[Check], report: Report) -> Iterator[Check]:
    for check in checks:
        report(check)
        yield check


def first_trees(task: TrainingTask) -> Sequence[PromptTree]:
    """Return the first trees of a task with units of positive weight, or else the first trees."""
    weighted = (tree for tree in task.trees if task.objective.total_weight([tree]) > 0)
    return list(islice(weighted, TREES_PER_TASK)) or task.trees[:TREES_PER_TASK]


_FLOAT32_TOLERANCE = 1e-3
"""Difference in nats a token, or relative difference of a loss, that float32 may round away."""
_HALF_TOLERANCE = 0.1
"""The same in half precision, at least."""
_SPREADS = 4.0
"""Multiple of the measured rounding that a difference of two computations may reach."""


@torch.no_grad()
def _tolerance(model: TrainableModel, trees: Sequence[PromptTree], config: TrainingConfig) -> float:
    """Return the difference of a token's log-probability that is rounding, in nats.

    In half precision it is measured: the same rows are computed alone, padded together, and padded
    together in float32.
    """
    if config.dtype == "float32" or not trees:
        return _FLOAT32_TOLERANCE
    logprob_model = model.logprob_model
    device = logprob_model.model.device
    exact = logprob_model(pad(trees).to(device)).values
    with autocast(logprob_model, config):
        together = logprob_model(pad(trees).to(device)).values
        alone = torch.cat([logprob_model(pad([tree]).to(device)).values for tree in trees])
    rounding = max(float((together - other).abs().max()) for other in (alone, exact))
    return max(_HALF_TOLERANCE, _SPREADS * rounding)


@torch.no_grad()
def _check_first_loss(
    model: TrainableModel,
    task: TrainingTask,
    trees: Sequence[PromptTree],
    config: TrainingConfig,
    *,
    reference: ReferenceLogProbs | None,
    reference_is_initial: bool,
    tolerance: float,
) -> Check:
    """Check that the loss equals its known value where the policy is the reference.

    The policy is in training mode, as in the first step, so that noise such as dropout would show
    as a difference from the reference.
    """
    objective = task.objective.objective
    device = model.logprob_model.model.device
    dropout = without_dropout(model.logprob_model) if objective.reference else nullcontext()
    model.logprob_model.train(objective.reference)
    with autocast(model.logprob_model, config), dropout:
        logprobs = model.logprob_model.score(trees, objective.top_k)
    model.logprob_model.eval()
    reference_logprobs = (
        reference.lookup(trees, device) if objective.reference and reference else None
    )
    anchored = any(tree.kl_anchors for tree in trees)
    batch = Batch.from_trees(
        trees,
        logprobs.values,
        reference_logprobs,
        top_k=logprobs.top_k,
        anchor_log_ratio=torch.zeros((), device=device) if anchored else None,
    )
    output, weights = task.objective(batch), task.objective.unit_weights(batch)
    loss = float((output.losses * weights).sum() / weights.sum())
    name = f"first loss of {objective.name} on {task.name}"
    expected = task.objective.initial_loss if reference_is_initial else None
    if expected is None:
        return Check(name, bool(np.isfinite(loss)), f"{loss:.4f}")
    measured = f"{loss:.4f}, expected {expected:.4f}"
    passed = abs(loss - expected) <= tolerance * max(1.0, abs(expected))
    if reference_logprobs is not None:
        difference = float((logprobs.values - reference_logprobs).abs().max())
        passed = passed and difference <= tolerance
        measured += f"; differs from the reference by at most {difference:.2g} nats per token"
    return Check(name, passed, measured)


@torch.no_grad()
def _check_packing(
    model: TrainableModel, trees: Sequence[PromptTree], config: TrainingConfig, tolerance: float
) -> Check:
    """Check that packed trees and padded rows give the same log-probabilities.

    In float32, where a wrong mask or position is not hidden by rounding, and in the number format
    of the training.
    """
    logprob_model = model.logprob_model
    name = "shared prompts match separate rows"
    if not logprob_model.shares_prompts:
        return Check(name, True, "the model cannot share prompts; separate rows are used")
    device = logprob_model.model.device

    def difference() -> float:
        packed = logprob_model(pack(trees).to(device)).values
        rows = logprob_model(pad(trees).to(device)).values
        return float((packed - rows).abs().max())

    exact = difference()
    passed, measured = exact <= _FLOAT32_TOLERANCE, f"differ by at most {exact:.2g} nats per token"
    if config.dtype != "float32":
        with autocast(logprob_model, config):
            rounded = difference()
        passed = passed and rounded <= tolerance
        measured += (
            f", in {config.dtype} by {rounded:.2g} where rounding makes up to {tolerance:.2g}"
        )
    return Check(name, passed, measured)


def _check_loss_weights(tasks: Sequence[TrainingTask]) -> Check:
    """Check that some responses have tokens of positive weight."""
    responses = [r for task in tasks for tree in task.trees for r in tree.responses]
    masked = sum(1 for r in responses if r.weights is not None and not any(r.weights))
    total = len(responses)
    return Check(
        "responses with tokens to learn", masked < total, f"{total - masked:,} of {total:,}"
    )


def _check_end_of_sequence(model: TrainableModel, tasks: Sequence[TrainingTask]) -> Check:
    """Check that each response ends with an end-of-sequence token, and has no earlier one."""
    eos = model.engine.eos_token_ids
    responses = [r for task in tasks for tree in task.trees for r in tree.responses]
    weights = [r.weights or (1.0,) * len(r.tokens) for r in responses]
    repeated = sum(
        1
        for r, weight in zip(responses, weights, strict=True)
        if any(w and t in eos for t, w in zip(r.tokens[:-1], weight[:-1], strict=True))
    )
    missing = sum(1 for r in responses if r.tokens[-1] not in eos)
    learned = sum(1 for weight in weights if weight[-1])
    # Where every response has explicit weights, its end may be masked on purpose.
    explicit = all(r.weights is not None for r in responses)
    return Check(
        "one end-of-sequence token is learned per response",
        not repeated and not missing and (learned > 0 or explicit),
        f"learned in {learned:,} of {len(responses):,}; {missing} without, {repeated} with more",
    )


def _check_sampler(
    model: TrainableModel, trees: Sequence[PromptTree], config: TrainingConfig, tolerance: float
) -> Check:
    """Check that samples have the same log-probability in the sampler and in the trainer."""
    sequences = [
        SequenceState(tree.prompt, Sampling(max_tokens=_SAMPLE_TOKENS), _SAMPLE_TOKENS, seed)
        for seed, tree in enumerate(trees)
    ]
    model.engine.sample(
        sequences,
        batch_tokens=config.micro_batch_tokens(model.logprob_model.model),
        contains_stop=lambda _: False,
        cancelled=lambda: False,
    )
    samples = [
        PromptTree(sequence.prompt, (ResponseTokens(tuple(sequence.tokens)),))
        for sequence in sequences
    ]
    with torch.no_grad(), autocast(model.logprob_model, config):
        values = model.logprob_model.score(samples).values
    sums = Batch.from_trees(samples, values).sum(values).tolist()
    difference = max(
        abs(sequence.log_probability - value)
        for sequence, value in zip(sequences, sums, strict=True)
    )
    return Check(
        "trainer and sampler agree on log-probabilities",
        difference <= _SAMPLE_TOKENS * tolerance,
        f"differ by at most {difference:.2g} nats per response; sampled "
        f"{model.engine.decoding.name}, scored by {model.logprob_model.output_layer.description}",
    )


def _render(model: TrainableModel, task: str, tree: PromptTree) -> list[RenderedResponse]:
    decode = model.engine.tokenizer.decode
    return [
        RenderedResponse(
            task,
            decode(tree.prompt),
            tuple(
                (decode([token]), weight)
                for token, weight in zip(
                    response.tokens, response.weights or (1.0,) * len(response.tokens), strict=True
                )
            ),
        )
        for response in tree.responses
    ]
