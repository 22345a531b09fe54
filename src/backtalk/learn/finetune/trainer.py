"""The trainer: steps through trees, by one or several objectives, and can be interrupted."""

from __future__ import annotations

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.config import TrainingConfig, usual_rate
from backtalk.learn.finetune.distributed import Distributed
from backtalk.learn.finetune.logprobs import LogProbModel
from backtalk.learn.finetune.objective import Batch, LossOutput, TrainingTask
from backtalk.learn.finetune.reference_logprobs import ReferenceLogProbs
from backtalk.learn.finetune.trees import PromptTree, micro_batches

_SHARES_EVERY = 10
"""In how many steps the gradient's shares are measured once, where objectives are mixed."""
_MEMORY = 0.9
"""How much of a running mean stays after a step."""

_Kind = Literal["sum", "mean", "remember"]
_Seen = dict[tuple[_Kind, str], list[tuple[float, int]]]
"""What a step measured: sums, with how many values they are of."""

Report = Callable[[int, Mapping[str, float]], None]
"""Told after each step how many there were, and what it measured."""


@dataclass(frozen=True)
class _Piece:
    """What is worked on at once: trees of one part, and what their summed losses are times."""

    part: int
    trees: Sequence[PromptTree]
    factor: float
    share: float = 1.0
    """How much the part's mean loss counts in the step."""


class Trainer:
    """Trains a model's weights.

    The gradient of a step is that of the mean over its trees of their losses, however many parts
    it is accumulated from and however many processes share them: a part's losses are divided by
    the number of its units (trees, responses or tokens, as its objective says) in the whole step.

    Parameters
    ----------
    scorer : LogProbModel
        The model. What has ``requires_grad`` learns.
    parts : sequence of TrainingTask
        What it learns from.
    settings : TrainingConfig
        How.
    reference : ReferenceLogProbs, optional
        What the reference says of all responses; needed if an objective needs it.
    seed : int, default 0
        Decides the order of the trees, and what drops out.
    folder : Path, optional
        Where the state is kept, to go on from after an interruption; not kept where left out.
    weights : str, default ""
        What tells the weights at the start from others, so that no other run's state is taken up.
    """

    def __init__(
        self,
        scorer: LogProbModel,
        parts: Sequence[TrainingTask],
        settings: TrainingConfig,
        *,
        reference: ReferenceLogProbs | None = None,
        seed: int = 0,
        folder: Path | None = None,
        weights: str = "",
    ) -> None:
        _check(parts, reference)
        self.scorer = scorer
        self._parts = parts
        self._settings = settings
        self._reference = reference
        self._seed = seed
        self._folder = folder
        self._weights = weights
        self._all = [(p, t) for p, part in enumerate(parts) for t in range(len(part.trees))]
        self.steps = settings.steps(len(self._all))
        self.history: list[dict[str, float]] = []
        """What each step measured."""
        self._memory: list[dict[str, float]] = [{} for _ in parts]
        self._learning = [p for p in scorer.parameters() if p.requires_grad]
        parameters = sum(p.numel() for p in scorer.parameters())
        self._rate = settings.learning_rate or usual_rate(
            parameters, adapter=settings.adapter != "none"
        )
        self._optimiser = torch.optim.AdamW(
            self._learning,
            lr=self._rate,
            weight_decay=settings.weight_decay,
            fused=scorer.model.device.type in {"cpu", "cuda"},
        )
        self._processes = Distributed(scorer.model.device)
        self._forward = self._processes.prepare(scorer)
        self._order: tuple[int, np.ndarray[Any, np.dtype[np.int64]]] | None = None

    def train(self, report: Report | None = None) -> None:
        """Take all steps that are left, from where an interrupted run of the same kind ended."""
        self._resume()
        self.scorer.train()
        if self._settings.gradient_checkpointing:
            _recompute(self.scorer.model, on=True)
        saved = time.monotonic()
        with torch.random.fork_rng(self._devices()):
            for step in range(len(self.history), self.steps):
                self.history.append(self._step(step))
                if report is not None and self._processes.is_main:
                    report(step + 1, self.history[-1])
                if time.monotonic() - saved > self._settings.checkpoint_every_seconds:
                    self._save()
                    saved = time.monotonic()
        self._save()
        if self._settings.gradient_checkpointing:
            _recompute(self.scorer.model, on=False)
        self.scorer.eval()

    def batch(self, step: int) -> list[tuple[int, PromptTree]]:
        """Return the trees of a step, with the number of their part."""
        size, total = self._settings.batch_size, len(self._all)
        results = []
        for place in range(step * size, (step + 1) * size):
            epoch, nth = divmod(place, total)
            if place >= math.ceil(self._settings.epochs * total - 1e-9):
                break
            if self._order is None or self._order[0] != epoch:
                rng = np.random.default_rng([self._seed, epoch])
                self._order = epoch, rng.permutation(total)
            part, tree = self._all[self._order[1][nth]]
            results.append((part, self._parts[part].trees[tree]))
        return results

    def _step(self, step: int) -> dict[str, float]:
        begin = time.perf_counter()
        torch.manual_seed(self._seed * 1_000_003 + step)
        rate = self._rate * self._settings.pace(step, self.steps)
        for group in self._optimiser.param_groups:
            group["lr"] = rate
        trees = self.batch(step)
        at_once = self._settings.at_once(self.scorer.model.device.type)
        plans = [
            self._pieces(trees, rank=rank, budget=at_once) for rank in range(self._processes.count)
        ]
        pieces = self._evened(plans, trees)
        pooled = self._pooled(pieces)
        seen: _Seen = defaultdict(list)
        shares = len(self._parts) > 1 and step % _SHARES_EVERY == 0
        norms: dict[int, float] = defaultdict(float)
        for index, piece in enumerate(pieces):
            before = self._gradient() if shares else None
            with self._processes.accumulate(self._forward, last=index == len(pieces) - 1):
                loss, batch, term = self._piece_loss(piece, pooled)
                (loss * self._processes.count).backward()  # type: ignore[no-untyped-call]
            if before is not None and piece.factor:
                norms[piece.part] += _distance(before, self._gradient()) ** 2
            self._note(piece, loss, batch, term, seen)
        norm = torch.nn.utils.clip_grad_norm_(self._learning, self._settings.max_grad_norm)
        if not torch.isfinite(norm):
            raise BacktalkError(
                f"The gradient of step {step + 1} is not a number",
                "Lower the learning_rate, or use precision=float32",
            )
        self._optimiser.step()
        self._optimiser.zero_grad(set_to_none=True)
        measured = self._measured(seen)
        total = sum(math.sqrt(value) for value in norms.values())
        for part, value in norms.items() if total else ():
            measured[f"{self._parts[part].name}/gradient share"] = math.sqrt(value) / total
        seconds = time.perf_counter() - begin
        tokens = sum(tree.size for _, tree in trees)
        return measured | {
            "gradient norm": float(norm),
            "learning rate": rate,
            "tokens": float(tokens),
            "tokens/s": tokens / seconds,
        }

    def _pieces(
        self, trees: Sequence[tuple[int, PromptTree]], *, budget: int, rank: int
    ) -> list[_Piece]:
        """Return what one process works on in a step."""
        pieces = []
        for part, spec in enumerate(self._parts):
            own = [tree for other, tree in trees if other == part]
            units = spec.objective.units(own)
            if not own or not units:
                continue
            share = spec.weight * len(own) / len(trees)
            mine = own[rank :: self._processes.count]
            pieces += [
                _Piece(part, few, share / units, share)
                for few in micro_batches(mine, budget, shared=self.scorer.shares)
            ]
        return pieces

    def _evened(
        self, plans: Sequence[Sequence[_Piece]], trees: Sequence[tuple[int, PromptTree]]
    ) -> list[_Piece]:
        """Return this process's pieces, filled up so that all processes have as many."""
        most = max(len(plan) for plan in plans)
        part, tree = trees[0]
        idle = _Piece(part, [tree], 0.0)
        mine = list(plans[self._processes.rank])
        return [*[idle] * (most - len(mine)), *mine]

    def _piece_loss(
        self, piece: _Piece, pooled: Mapping[int, Tensor]
    ) -> tuple[Tensor, Batch, LossOutput]:
        part = self._parts[piece.part]
        batch = self._batch(piece, pooled.get(piece.part))
        term = part.objective(batch)
        weights = part.objective.unit_weights(batch)
        return (term.losses * weights).sum() * piece.factor, batch, term

    def _batch(self, piece: _Piece, pooled: Tensor | None) -> Batch:
        part = self._parts[piece.part]
        needs = part.objective.objective
        device = self.scorer.model.device
        with self._autocast():
            scored = self._forward(self.scorer.laid_out(piece.trees), rivals=needs.top_k)
        reference = None
        if needs.reference and self._reference is not None:
            reference = self._reference.lookup(piece.trees, device)
        return Batch.of(
            piece.trees,
            scored.values,
            reference,
            top_k=scored.rivals,
            anchor_log_ratio=pooled,
            ema=self._memory[piece.part],
            progress=len(self.history) / self.steps,
        )

    @torch.no_grad()
    def _pooled(self, pieces: Sequence[_Piece]) -> dict[int, Tensor]:
        """Return the mean log-ratio of the anchors of each part that has some."""
        device = self.scorer.model.device
        sums = torch.zeros((len(self._parts), 2), dtype=torch.float64, device=device)
        for piece in pieces:
            anchored = [tree.only(tree.kl_anchors) for tree in piece.trees if tree.kl_anchors]
            if not anchored or not piece.factor or self._reference is None:
                continue
            with self._autocast():
                result = self.scorer.score(anchored).values
            batch = Batch.of(anchored, result, self._reference.lookup(anchored, device))
            sums[piece.part, 0] += batch.log_ratio.double().sum()
            sums[piece.part, 1] += len(batch.tree)
        total = self._processes.sum(sums)
        return {
            part: (value / count).float() for part, (value, count) in enumerate(total) if count > 0
        }

    def _note(
        self, piece: _Piece, loss: Tensor, batch: Batch, term: LossOutput, seen: _Seen
    ) -> None:
        """Keep what a piece measured, as sums and counts.

        The divergence from the reference is that on the responses learned from, a token: the
        estimate k2 of Schulman (2020), "Approximating KL divergence".
        """
        if not piece.factor:
            return
        part = self._parts[piece.part]
        several = len(self._parts) > 1
        seen["sum", "loss"].append((float(loss.detach()), 1))
        if several:
            own = float(loss.detach()) / piece.share
            seen["sum", f"{part.name}/loss"].append((own, 1))
        seen["mean", "length"].append((float(len(batch.policy)), len(batch.tree)))
        if batch.reference is not None:
            away = 0.5 * (batch.policy.detach() - batch.reference).double().pow(2)
            seen["mean", "kl"].append((float(away.sum()), len(away)))
        for key, values in term.metrics.items():
            flat = values.detach().double().flatten()
            flat = flat[torch.isfinite(flat)]
            results = float(flat.sum()), len(flat)
            seen["mean", key].append(results)
            if several:
                seen["mean", f"{part.name}/{key}"].append(results)
        for key, values in term.ema.items():
            flat = values.detach().double().flatten()
            seen["remember", f"{piece.part}/{key}"].append((float(flat.sum()), len(flat)))

    def _measured(self, seen: _Seen) -> dict[str, float]:
        """Return sums and means over all processes; what nothing was seen of is left out."""
        measured: dict[str, float] = {}
        together: _Seen = defaultdict(list)
        for result in self._processes.all_gather_object(dict(seen)):
            for place, values in result.items():
                together[place] += values
        for (kind, key), values in together.items():
            total, count = math.fsum(v for v, _ in values), sum(n for _, n in values)
            if not count:
                continue
            if kind == "remember":
                self._remember(key, total / count)
            else:
                measured[key] = total if kind == "sum" else total / count
        return measured

    def _remember(self, key: str, mean: float) -> None:
        part, name = key.split("/", 1)
        known = self._memory[int(part)]
        known[name] = _MEMORY * known[name] + (1 - _MEMORY) * mean if name in known else mean

    def _gradient(self) -> list[Tensor]:
        return [
            torch.zeros_like(p) if p.grad is None else p.grad.detach().clone()
            for p in self._learning
        ]

    def _autocast(self) -> torch.autocast:
        return autocast(self.scorer, self._settings)

    def _devices(self) -> list[int]:
        device = self.scorer.model.device
        return [device.index or 0] if device.type == "cuda" else []

    @property
    def _state_file(self) -> Path | None:
        return None if self._folder is None else self._folder / "state.pt"

    def _fingerprint(self) -> str:
        """Return what the data, the objectives, the settings and the first weights determine."""
        digest = blake2b(self._weights.encode(), digest_size=16)
        described = [
            (part.name, part.objective.objective.name, dict(part.objective.options), part.weight)
            for part in self._parts
        ]
        settings = self._settings.model_dump(exclude={"save_every"})
        digest.update(json.dumps([described, settings, self._seed], default=str).encode())
        for part in self._parts:
            for tree in part.trees:
                facts = (tree.weight, sorted(tree.facts.items()), tree.pairs)
                digest.update(repr(facts).encode())
                for branch in (*tree.branches, *tree.kl_anchors):
                    digest.update(tree.key(branch))
                    digest.update(repr((branch.value, branch.weights, branch.credit)).encode())
        return digest.hexdigest()

    def _save(self) -> None:
        if self._state_file is None or not self._processes.is_main:
            return
        self._state_file.parent.mkdir(parents=True, exist_ok=True)
        new = self._state_file.with_suffix(".new")
        torch.save(
            {
                "fingerprint": self._fingerprint(),
                "weights": [p.detach() for p in self._learning],
                "optimiser": self._optimiser.state_dict(),
                "history": self.history,
                "memory": self._memory,
            },
            new,
        )
        new.rename(self._state_file)

    def _resume(self) -> None:
        if self._state_file is None or not self._state_file.exists():
            return
        state = torch.load(
            self._state_file, map_location=self.scorer.model.device, weights_only=True
        )
        if state["fingerprint"] != self._fingerprint():
            return
        with torch.no_grad():
            for mine, kept in zip(self._learning, state["weights"], strict=True):
                mine.copy_(kept)
        self._optimiser.load_state_dict(state["optimiser"])
        self.history = state["history"]
        self._memory = state["memory"]


def _recompute(model: Any, *, on: bool) -> None:
    """Let a model keep no activations, or keep them; it was renamed in transformers 5."""
    new = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if on:
        getattr(model, f"{new}_checkpointing_enable")({"use_reentrant": False})
    else:
        getattr(model, f"{new}_checkpointing_disable")()


def autocast(scorer: LogProbModel, settings: TrainingConfig) -> torch.autocast:
    """Return the context in which products have the precision that the settings ask for."""
    return torch.autocast(
        scorer.model.device.type,
        dtype=torch.bfloat16,
        enabled=settings.dtype == "bfloat16",
    )


def precision_context(
    scorer: LogProbModel, settings: TrainingConfig
) -> Callable[[], torch.autocast]:
    """Return what makes such a context."""
    return partial(autocast, scorer, settings)


def _check(parts: Sequence[TrainingTask], reference: ReferenceLogProbs | None) -> None:
    if not any(part.trees for part in parts):
        raise BacktalkError(
            "There is nothing to train on",
            "Collect feedback that the method can learn from; `backtalk methods` lists it",
        )
    for part in parts:
        if part.objective.objective.reference and reference is None:
            raise BacktalkError(
                f"The objective {part.objective.objective.name} needs a reference",
                "Give the ReferenceCache that holds what it says of the responses",
            )
        if part.objective.units(part.trees) <= 0:
            raise BacktalkError(
                f"The objective {part.objective.objective.name} has nothing to learn from: there "
                f"are {len(part.trees)} prompts and no {part.objective.objective.reduction} that counts",
                "Give it trees with what it is a mean over, of positive weight",
            )


def _distance(one: Sequence[Tensor], other: Sequence[Tensor]) -> float:
    return math.sqrt(
        sum(float((a - b).double().pow(2).sum()) for a, b in zip(one, other, strict=True))
    )
