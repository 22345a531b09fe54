"""Listwise objectives: any number of scored responses to each prompt."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import tree_mean
from backtalk.learn.finetune.objectives.preference import DPO
from backtalk.learn.finetune.option_types import NonNegative, Positive
from backtalk.learn.lazy_modules import torch
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

LIPO = Paper(
    "LiPO: listwise preference optimization through learning-to-rank",
    "Liu et al.",
    2024,
    "https://arxiv.org/abs/2402.01878",
)

PRO = Paper(
    "Preference ranking optimization for human alignment",
    "Song et al.",
    2023,
    "https://arxiv.org/abs/2306.17492",
)


def _better(batch: Batch) -> Tensor:
    """Return a mask of pairs (i, j) of a list in which i has the higher score, ``(T, K, K)``."""
    scores = batch.by_tree(batch.column("score"), 0.0)
    both = batch.tree_mask[:, :, None] & batch.tree_mask[:, None, :]
    return both & (scores[:, :, None] > scores[:, None, :])


def _best(batch: Batch) -> Tensor:
    """Return a mask of the responses with the highest score of their list, shape ``(B,)``."""
    scores = batch.column("score")
    return scores == batch.by_tree(scores, -math.inf).amax(dim=1)[batch.tree_index]


def _list_metrics(batch: Batch, reward: Tensor) -> dict[str, Tensor]:
    """Return the metrics of rewards of shape ``(B,)``."""
    scores = batch.column("score")
    worst = scores == batch.by_tree(scores, math.inf).amin(dim=1)[batch.tree_index]
    rows = batch.by_tree(reward, 0.0)
    correct = (rows[:, :, None] > rows[:, None, :])[_better(batch)]
    return {
        "rewards/best": reward[_best(batch)],
        "rewards/worst": reward[worst],
        "rewards/accuracies": correct.float(),
    }


@objective("lipo", paper=LIPO, reference=True, needs=("score",))
def lipo(batch: Batch, *, beta: Positive = 0.05) -> LossOutput:
    """LiPO-lambda: pairs of a list, each weighted by the gain of swapping the two.

    Loss of a list, with v the scores, ``s = beta log pi(y)/pi_ref(y)`` and tau the rank by s, from
    1 on::

        sum over v_i > v_j of |2^v_i - 2^v_j| |1/log(1 + tau_i) - 1/log(1 + tau_j)|
            log(1 + exp(s_j - s_i))

    Liu et al. (2024), equation 8. Scores are in [0, 1]. No gradient flows through the ranks. Equal
    s, as of all responses before the first step, rank in the order of the responses in the tree.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : float, default 0.05
        Scale of the implicit rewards.
    """
    reward = beta * batch.log_ratio
    rows = batch.by_tree(reward, -math.inf)
    gain = torch.exp2(batch.by_tree(batch.column("score"), 0.0))
    order = rows.detach().argsort(dim=1, descending=True, stable=True)
    rank = 1 + order.argsort(dim=1).to(gain.dtype)
    discount = 1 / torch.log1p(rank)
    weight = (_differences(gain) * _differences(discount)).abs()
    margin = _differences(batch.by_tree(reward, 0.0))
    losses = weight * torch.nn.functional.softplus(-margin)
    return LossOutput(
        torch.where(_better(batch), losses, 0.0).sum(dim=(1, 2)),
        _list_metrics(batch, reward.detach()),
    )


def _differences(rows: Tensor) -> Tensor:
    """Return the difference of every two entries of each row, ``(T, K)``; ``(T, K, K)``."""
    return rows[:, :, None] - rows[:, None, :]


@objective("rank-softmax", paper=LIPO, reference=True, needs=("score",))
def rank_softmax(batch: Batch, *, beta: Positive = 0.05) -> LossOutput:
    """Softmax ranking: cross-entropy of the softmax of implicit rewards with normalised scores.

    Loss of a list, with v the scores and ``s = beta log pi(y)/pi_ref(y)``::

        -sum_i v_i / sum(v) log softmax(s)_i

    Liu et al. (2024), equation 11. Scores are at least 0; a list of zeros has no loss. Where the
    policy equals the reference the loss is log K.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : float, default 0.05
        Scale of the implicit rewards.

    Raises
    ------
    BacktalkError
        If a score is negative.
    """
    scores = batch.column("score")
    if bool((scores < 0).any()):
        raise BacktalkError(
            "rank-softmax was given a negative score",
            "Use lipo or plackett-luce-dpo, or scores from 0 to 1",
        )
    reward = beta * batch.log_ratio
    log_shares = torch.log_softmax(batch.by_tree(reward, -math.inf), dim=1)
    rows = batch.by_tree(scores, 0.0)
    targets = rows / rows.sum(dim=1, keepdim=True).clamp(min=1e-9)
    losses = -(targets * torch.where(batch.tree_mask, log_shares, 0.0)).sum(dim=1)
    return LossOutput(losses, _list_metrics(batch, reward.detach()))


@objective("plackett-luce-dpo", paper=DPO, reference=True, needs=("score",))
def plackett_luce_dpo(batch: Batch, *, beta: Positive = 0.1) -> LossOutput:
    """DPO for rankings: Plackett-Luce likelihood of the order of a list under implicit rewards.

    Loss of a list, from best to worst, with ``s = beta log pi(y)/pi_ref(y)``::

        -sum_k (s_k - log sum_{j >= k} exp(s_j))

    Rafailov et al. (2023), equation 20. Tied responses use Efron's (1977) approximation: the l-th
    of d ties, from 0 on, counts all d with the weight ``1 - l/d``. It draws ties together. Where
    the policy equals the reference the loss is ``log K!``. For two responses, one better, it is
    ``dpo``.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    """
    reward = beta * batch.log_ratio
    rows = batch.by_tree(reward, 0.0)
    scores = batch.by_tree(batch.column("score"), 0.0)
    both = batch.tree_mask[:, :, None] & batch.tree_mask[:, None, :]
    tied = (both & (scores[:, :, None] == scores[:, None, :])).to(rows.dtype)
    done = tied.tril(diagonal=-1).sum(dim=2) / tied.sum(dim=2).clamp(min=1)
    risk_set = _better(batch).to(rows.dtype) + tied * (1 - done)[:, :, None]
    # A padded entry would have no finite term, and a gradient that is not a number.
    risk_set = torch.where(batch.tree_mask[:, :, None], risk_set, torch.ones_like(risk_set))
    total = (rows[:, None, :] + risk_set.log()).logsumexp(dim=2)
    losses = torch.where(batch.tree_mask, total - rows, 0.0).sum(dim=1)
    return LossOutput(losses, _list_metrics(batch, reward.detach()))


@objective("pro", paper=PRO, needs=("score",))
def pro(batch: Batch, *, beta: NonNegative = 0.05, temperature: bool = True) -> LossOutput:
    """Preference ranking optimisation: each response of a list against all worse ones.

    Loss of a list, from best to worst, with ``s = log pi(y) / |y|``::

        -sum_k log(exp(s_k / T_kk) / (exp(s_k / T_kk) + sum_{i > k} exp(s_i / T_ki)))
            + beta (K - 1)^2 (-log pi(y_1))

    Song et al. (2023). The temperatures are ``1 / T_ki = v_k - v_i`` for the scores v, and
    ``1 / T_kk`` is the largest of them. The factor of the imitation term keeps its share as lists
    grow. Tied responses are not contrasted; ties for the best share the imitation term.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : float, default 0.05
        Weight of the negative log-likelihood of the best response.
    temperature : bool, default True
        If true, temperatures follow from score differences; otherwise all are 1.
    """
    likelihood = batch.mean(batch.policy)
    rows = batch.by_tree(likelihood, 0.0)
    better = _better(batch)
    scores = batch.by_tree(batch.column("score"), 0.0)
    gaps = _differences(scores) if temperature else torch.ones_like(better) * 1.0
    gaps = torch.where(better, gaps, torch.zeros_like(gaps))
    positive = gaps.amax(dim=2) * rows
    negatives = torch.where(better, gaps * rows[:, None, :], -math.inf)
    ranking = torch.cat([positive[:, :, None], negatives], dim=2).logsumexp(dim=2) - positive
    imitation = tree_mean(batch, -batch.sum(batch.policy), _best(batch))
    others = batch.tree_mask.sum(dim=1) - 1
    return LossOutput(
        ranking.sum(dim=1) + beta * others**2 * imitation,
        _list_metrics(batch, likelihood.detach()) | {"ranking_loss": ranking.sum(dim=1)},
    )
