"""What the objectives over pairs share: margins, soft labels, and what to report of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch

if TYPE_CHECKING:
    from torch import Tensor

Beta = Annotated[float, Field(gt=0)]
Flip = Annotated[float, Field(ge=0, lt=0.5)]
Weight = Annotated[float, Field(ge=0)]


def log_sigmoid(x: Tensor) -> Tensor:
    """Return ``log sigmoid(x)``."""
    return torch.nn.functional.logsigmoid(x)


def cross_entropy(margin: Tensor, probability: Tensor | float) -> Tensor:
    """Return the cross-entropy of ``sigmoid(margin)`` from the probability of the chosen one."""
    return -probability * log_sigmoid(margin) - (1 - probability) * log_sigmoid(-margin)


def difference(batch: Batch, rewards: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return by how much the chosen one's reward is greater, ``(P,)``, and what to report."""
    chosen, rejected = batch.pairs(rewards)
    margin = chosen - rejected
    return margin, {
        "reward margin": margin,
        "accuracy": (margin > 0).float(),
        "reward chosen": chosen,
        "reward rejected": rejected,
    }


def implicit_margin(batch: Batch, beta: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return beta times the difference of the log-ratios of a pair, and what to report of it."""
    return difference(batch, beta * batch.log_ratio)


def pair_tree(batch: Batch) -> Tensor:
    """Return the tree that each pair belongs to, shape ``(P,)``."""
    return batch.tree[batch.chosen]


def marked_mean(batch: Batch, values: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean over a tree's marked responses, and how many there are, ``(T,)`` each.

    A response is marked by a :attr:`ResponseTokens.value` above 0. Where none is, the mean is 0.
    """
    marked = (batch.value > 0).to(values.dtype)
    nothing = torch.zeros_like(batch.tree_weight)
    count = nothing.index_add(0, batch.tree, marked)
    return nothing.index_add(0, batch.tree, marked * values) / count.clamp(min=1), count


def of_samples(batch: Batch, values: Tensor, whose: str) -> Tensor:
    """Return for each pair the mean over the marked responses of its tree, ``(P,)``.

    Raises
    ------
    BacktalkError
        For a pair whose tree has no marked response.
    """
    mean, count = marked_mean(batch, values)
    trees = pair_tree(batch)
    if not bool((count[trees] > 0).all()):
        raise BacktalkError(
            f"A tree with a comparison has no response that {whose} gave",
            "Add it to the tree's branches, or find it there, and give it a value of 1; the "
            "other branches have 0",
        )
    return mean[trees]
