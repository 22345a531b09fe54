"""Checks before the first step: most bugs of training show there, and none of them later."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
import torch

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.objective import Batch, TrainingTask
from backtalk.learn.finetune.packing import pack, pad
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trainable_model import TrainableModel
from backtalk.learn.finetune.trainer import autocast
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens
from backtalk.models import Sampling
from backtalk.models.local.sampler import Row

FEW = 4
"""How many trees of each part are looked at."""
_SAMPLED = 24


class PreflightFailed(BacktalkError):
    """A check before training that did not pass."""


@dataclass(frozen=True)
class Check:
    """One thing that has to be so before training."""

    name: str
    passed: bool
    found: str
    """What was measured, in words."""


@dataclass(frozen=True)
class Shown:
    """A response as the trainer sees it."""

    part: str
    prompt: str
    """The prompt's tokens as text, control tokens and all. Nothing of it is learned."""
    pieces: tuple[tuple[str, float], ...]
    """The response's tokens as text, each with its weight."""

    def __str__(self) -> str:
        learned = "".join(piece if weight else f"⟦{piece}⟧" for piece, weight in self.pieces)
        return f"⟦{self.prompt}⟧{learned}"


@dataclass(frozen=True)
class Preflight:
    """What the checks found."""

    checks: tuple[Check, ...]
    shown: tuple[Shown, ...]

    @property
    def passed(self) -> bool:
        """Whether training may begin."""
        return all(check.passed for check in self.checks)

    def raise_if_failed(self) -> None:
        """Raise ``PreflightFailed`` with what did not pass."""
        failed = [f"{check.name}: {check.found}" for check in self.checks if not check.passed]
        if failed:
            raise PreflightFailed(
                "Training was not begun. " + "; ".join(failed),
                "Run `backtalk preflight` to see the rows as the trainer sees them",
            )


def preflight(
    student: TrainableModel,
    parts: Sequence[TrainingTask],
    settings: TrainingConfig,
    *,
    reference: ReferenceLogProbs | None = None,
    same: bool = True,
) -> Preflight:
    """Check what a training is about to learn from.

    Parameters
    ----------
    student : TrainableModel
        The weights at the start.
    parts : sequence of TrainingTask
        What is learned from.
    settings : TrainingConfig
        The precision decides how close is equal.
    reference : ReferenceLogProbs, optional
        What the reference says, where an objective needs it.
    same : bool, default True
        Whether the reference is the student at the start, so that the first loss is known.
    """
    student.scorer.eval()
    few = [(part, _some(part)) for part in parts if part.trees]
    trees = [tree for _, own in few for tree in own]
    checks = [
        *(_first_loss(student, part, settings, reference=reference, same=same) for part, _ in few),
        _packed_as_padded(student, trees, settings),
        _labelled(parts),
        _ended(student, parts),
        _as_sampled(student, trees, settings),
    ]
    shown = [_show(student, part.name, tree) for part, own in few for tree in own]
    return Preflight(tuple(checks), tuple(one for rows in shown for one in rows))


def _some(part: TrainingTask) -> Sequence[PromptTree]:
    """Return the first trees of a part that hold anything to learn, else the first ones."""
    full = (tree for tree in part.trees if part.objective.units([tree]) > 0)
    return list(islice(full, FEW)) or part.trees[:FEW]


def _close(settings: TrainingConfig) -> float:
    return 1e-3 if settings.dtype == "float32" else 0.1


@torch.no_grad()
def _first_loss(
    student: TrainableModel,
    part: TrainingTask,
    settings: TrainingConfig,
    *,
    reference: ReferenceLogProbs | None,
    same: bool,
) -> Check:
    """The loss where the policy is the reference is the one that the formula has there."""
    trees = _some(part)
    objective = part.objective.objective
    device = student.scorer.model.device
    with autocast(student.scorer, settings):
        scored = student.scorer.score(trees, objective.top_k)
    said = reference.lookup(trees, device) if objective.reference and reference else None
    pooled = torch.zeros((), device=device) if any(tree.kl_anchors for tree in trees) else None
    batch = Batch.of(trees, scored.values, said, top_k=scored.rivals, anchor_log_ratio=pooled)
    term, weights = part.objective(batch), part.objective.unit_weights(batch)
    loss = float((term.losses * weights).sum() / weights.sum())
    name = f"first loss of {objective.name} on {part.name}"
    known = part.objective.initial_loss if same else None
    if known is None:
        return Check(name, bool(np.isfinite(loss)), f"{loss:.4f}")
    passed = abs(loss - known) <= _close(settings) * max(1.0, abs(known))
    return Check(name, passed, f"{loss:.4f}, and {known:.4f} is known")


@torch.no_grad()
def _packed_as_padded(
    student: TrainableModel, trees: Sequence[PromptTree], settings: TrainingConfig
) -> Check:
    """A packed row of trees gives what a padded row for each response gives."""
    scorer = student.scorer
    name = "prompts shared as in rows of their own"
    if not scorer.shares:
        return Check(name, True, "rows of their own are used: the model cannot share prompts")
    with autocast(scorer, settings):
        packed = scorer(pack(trees).to(scorer.model.device)).values
        rows = scorer(pad(trees).to(scorer.model.device)).values
    away = float((packed - rows).abs().max())
    return Check(name, away <= _close(settings), f"differ by at most {away:.2g} nats a token")


def _labelled(parts: Sequence[TrainingTask]) -> Check:
    """Every part has units of positive weight, and every response has tokens that count."""
    empty = sum(
        1
        for part in parts
        for tree in part.trees
        for branch in tree.branches
        if branch.weights is not None and not any(branch.weights)
    )
    total = sum(len(tree.branches) for part in parts for tree in part.trees)
    return Check("responses with tokens to learn", empty < total, f"{total - empty:,} of {total:,}")


def _ended(student: TrainableModel, parts: Sequence[TrainingTask]) -> Check:
    """The token that ends a response is at its end, learned there, and learned nowhere else."""
    end = student.engine.eos_token_ids
    branches = [b for part in parts for tree in part.trees for b in tree.branches]
    weights = [b.weights or (1.0,) * len(b.tokens) for b in branches]
    twice = sum(
        1
        for b, weight in zip(branches, weights, strict=True)
        if any(w and t in end for t, w in zip(b.tokens[:-1], weight[:-1], strict=True))
    )
    lacking = sum(1 for b in branches if b.tokens[-1] not in end)
    learned = sum(1 for weight in weights if weight[-1])
    # Where every response is weighted by hand, its end may be masked on purpose.
    masked = all(b.weights is not None for b in branches)
    return Check(
        "the end of a response is learned, once",
        not twice and not lacking and (learned > 0 or masked),
        f"learned in {learned:,} of {len(branches):,}; {lacking} without, {twice} with more",
    )


def _as_sampled(
    student: TrainableModel, trees: Sequence[PromptTree], settings: TrainingConfig
) -> Check:
    """Samples have the log-probability in the trainer that they were drawn with."""
    rows = [
        Row(tree.prompt, Sampling(max_tokens=_SAMPLED), _SAMPLED, seed)
        for seed, tree in enumerate(trees[:FEW])
    ]
    student.engine.draw(
        rows,
        batch_tokens=settings.at_once(student.scorer.model.device.type),
        complete=lambda _: False,
        cancelled=lambda: False,
    )
    drawn = [PromptTree(row.prompt, (ResponseTokens(tuple(row.tokens)),)) for row in rows]
    with torch.no_grad(), autocast(student.scorer, settings):
        values = student.scorer.score(drawn).values
    trained = Batch.of(drawn, values).sum(values).tolist()
    away = max(abs(row.log_probability - one) for row, one in zip(rows, trained, strict=True))
    return Check(
        "samples as probable to the trainer as to the sampler",
        away <= _SAMPLED * _close(settings),
        f"differ by at most {away:.2g} nats a response",
    )


def _show(student: TrainableModel, part: str, tree: PromptTree) -> list[Shown]:
    decode = student.engine.tokenizer.decode
    return [
        Shown(
            part,
            decode(tree.prompt),
            tuple(
                (decode([token]), weight)
                for token, weight in zip(
                    branch.tokens, branch.weights or (1.0,) * len(branch.tokens), strict=True
                )
            ),
        )
        for branch in tree.branches
    ]
