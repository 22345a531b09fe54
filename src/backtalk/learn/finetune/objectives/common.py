"""Functions that several objectives share: margins, soft labels, means over samples, divergence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.objective import Batch
from backtalk.learn.lazy_modules import torch

if TYPE_CHECKING:
    from torch import Tensor

_LINEAR_ABOVE = 20.0
"""Log-ratio in nats above which :func:`token_divergence` continues as a line."""


def log_sigmoid(x: Tensor) -> Tensor:
    """Return ``log sigmoid(x)``."""
    return torch.nn.functional.logsigmoid(x)


def cross_entropy(margin: Tensor, probability: Tensor | float) -> Tensor:
    """Return the cross-entropy of ``sigmoid(margin)`` with a label that is true with probability.

    Parameters
    ----------
    margin : Tensor
        Logit, shape ``(P,)``.
    probability : Tensor or float
        Probability that the chosen response is the better one, shape ``(P,)`` or a number.
    """
    return -probability * log_sigmoid(margin) - (1 - probability) * log_sigmoid(-margin)


def reward_margin(batch: Batch, rewards: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the chosen reward minus the rejected one, ``(P,)``, and the metrics of rewards.

    Parameters
    ----------
    batch : Batch
        Batch with P pairs.
    rewards : Tensor
        Reward of each response, shape ``(B,)``.
    """
    chosen, rejected = batch.pairs(rewards)
    margin = chosen - rejected
    return margin, {
        "rewards/margins": margin,
        "rewards/accuracies": (margin > 0).float(),
        "rewards/chosen": chosen,
        "rewards/rejected": rejected,
    }


def implicit_reward_margin(batch: Batch, beta: float) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the margin of the rewards ``beta log pi(y)/pi_ref(y)``, ``(P,)``, and its metrics."""
    return reward_margin(batch, beta * batch.log_ratio)


def pair_tree_index(batch: Batch) -> Tensor:
    """Return the index of the tree of each pair, shape ``(P,)``."""
    return batch.tree_index[batch.chosen]


def tree_count(batch: Batch, mask: Tensor) -> Tensor:
    """Return the number of responses of each tree in a mask of shape ``(B,)``; ``(T,)``."""
    zeros = torch.zeros_like(batch.tree_weight)
    return zeros.index_add(0, batch.tree_index, mask.to(zeros.dtype))


def tree_mean(batch: Batch, values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean of values over the masked responses of each tree, 0 without any.

    Parameters
    ----------
    batch : Batch
        Batch with B responses and T trees.
    values : Tensor
        Value of each response, shape ``(B,)``.
    mask : Tensor
        Responses to average over, booleans of shape ``(B,)``.

    Returns
    -------
    Tensor
        Shape ``(T,)``.
    """
    zeros = torch.zeros_like(batch.tree_weight)
    total = zeros.index_add(0, batch.tree_index, torch.where(mask, values, 0.0))
    return total / tree_count(batch, mask).clamp(min=1)


def pair_sample_mean(batch: Batch, values: Tensor, source: str) -> Tensor:
    """Return for each pair the mean of values over the samples in its tree, shape ``(P,)``.

    Samples are the responses with a true ``is_sample``.

    Parameters
    ----------
    batch : Batch
        Batch with the column ``is_sample``.
    values : Tensor
        Value of each response, shape ``(B,)``.
    source : str
        Name of what the samples come from, for the error message.

    Raises
    ------
    BacktalkError
        If the tree of a pair has no sample.
    """
    samples = batch.mask("is_sample")
    trees = pair_tree_index(batch)
    if not bool((tree_count(batch, samples)[trees] > 0).all()):
        raise BacktalkError(
            f"A tree with a pair has no sample of {source}",
            "Add a sample to its responses and set is_sample to true there, to false elsewhere",
        )
    return tree_mean(batch, values, samples)[trees]


def token_divergence(batch: Batch) -> Tensor:
    """Return a one-sample estimate of ``KL(pi_ref || pi)`` at each token, shape ``(N,)``.

    ``rho - 1 - log rho`` with ``rho = pi(y_t) / pi_ref(y_t)``, which is never negative. For tokens
    sampled from the reference its mean is the divergence, and its gradient that of the divergence.
    For tokens that feedback has selected it keeps the policy near the reference on these tokens.
    """
    log_ratio = batch.policy - batch.reference_or_error
    # A tangent above the bound, where the exponential would overflow.
    bounded = log_ratio.clamp(max=_LINEAR_ABOVE)
    return torch.expm1(bounded) + bounded.exp() * (log_ratio - bounded) - log_ratio
