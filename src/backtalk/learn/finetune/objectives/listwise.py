"""Objectives over lists of responses of any length, each with a score."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.preference import DPO
from backtalk.learn.finetune.objectives.supervised import tree_mean
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

Beta = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=0)]

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
    """Return where response i of a list has a higher value than response j, ``(T, K, K)``."""
    values = batch.lists(batch.value, 0.0)
    both = batch.present[:, :, None] & batch.present[:, None, :]
    return both & (values[:, :, None] > values[:, None, :])


def _report(batch: Batch, reward: Tensor) -> dict[str, Tensor]:
    """Return what to report of rewards of shape ``(B,)``."""
    values = batch.lists(batch.value, -math.inf)
    best = batch.value == values.amax(dim=1)[batch.tree]
    worst = batch.value == batch.lists(batch.value, math.inf).amin(dim=1)[batch.tree]
    rows = batch.lists(reward, 0.0)
    right = (rows[:, :, None] > rows[:, None, :])[_better(batch)]
    return {
        "reward best": reward[best],
        "reward worst": reward[worst],
        "accuracy": right.float(),
    }


@objective("lipo", paper=LIPO, reference=True)
def lipo(batch: Batch, *, beta: Beta = 0.05) -> LossOutput:
    """LiPO-lambda: pairs of a list, each weighted by what swapping the two would gain.

    ``sum over v_i > v_j of |2^v_i - 2^v_j| |1/log(1 + tau_i) - 1/log(1 + tau_j)| log(1 + exp(s_j -
    s_i))``, with v the values, from 0 to 1, ``s = beta log pi(y)/pi_ref(y)`` and tau the rank by s,
    from 1 on; Liu et al. (2024), equation 8. No gradient flows through the ranks. Responses of the
    same s, as all are before the first step, rank in the order in which they stand in the tree.
    """
    score = beta * batch.log_ratio
    rows = batch.lists(score, -math.inf)
    gain = torch.exp2(batch.lists(batch.value, 0.0))
    order = rows.detach().argsort(dim=1, descending=True, stable=True)
    rank = 1 + order.argsort(dim=1).to(gain.dtype)
    discount = 1 / torch.log1p(rank)
    weight = (_apart(gain) * _apart(discount)).abs()
    margin = _apart(batch.lists(score, 0.0))
    losses = weight * torch.nn.functional.softplus(-margin)
    return LossOutput(
        torch.where(_better(batch), losses, 0.0).sum(dim=(1, 2)), _report(batch, score.detach())
    )


def _apart(rows: Tensor) -> Tensor:
    """Return the difference of each two of a list, shape ``(T, K, K)``."""
    return rows[:, :, None] - rows[:, None, :]


@objective("rank-softmax", paper=LIPO, reference=True)
def rank_softmax(batch: Batch, *, beta: Beta = 0.05) -> LossOutput:
    """Softmax ranking: the implicit rewards of a list as a distribution, its values as the target.

    ``-sum_i v_i / sum(v) log softmax(s)_i`` with ``s = beta log pi(y)/pi_ref(y)``; Liu et al.
    (2024), equation 11. Values are 0 or more; a list of zeros has no loss. Where the policy is the
    reference the loss is log K.

    Raises
    ------
    BacktalkError
        For a value below 0.
    """
    if bool((batch.value < 0).any()):
        raise BacktalkError(
            "rank-softmax was given a value below 0",
            "Use lipo or plackett-luce-dpo, or values from 0 to 1",
        )
    score = beta * batch.log_ratio
    shares = torch.log_softmax(batch.lists(score, -math.inf), dim=1)
    values = batch.lists(batch.value, 0.0)
    targets = values / values.sum(dim=1, keepdim=True).clamp(min=1e-9)
    losses = -(targets * torch.where(batch.present, shares, 0.0)).sum(dim=1)
    return LossOutput(losses, _report(batch, score.detach()))


@objective("plackett-luce-dpo", paper=DPO, reference=True)
def plackett_luce_dpo(batch: Batch, *, beta: Beta = 0.1) -> LossOutput:
    """DPO for rankings: the likelihood of the order of a list, by the implicit rewards.

    ``-sum_k (s_k - log sum_{j >= k} exp(s_j))`` over the responses from best to worst, with
    ``s = beta log pi(y)/pi_ref(y)``; Rafailov et al. (2023), equation 20. Of d responses with the
    same value, each order is as good; all orders are too many, so it has Efron's (1977)
    approximation, in which the l-th of them, from 0 on, counts all d with the weight ``1 - l/d``.
    It draws them together. Where the policy is the reference the loss is ``log K!``. With two
    responses, one better, it is ``dpo``.
    """
    score = beta * batch.log_ratio
    rows = batch.lists(score, 0.0)
    values = batch.lists(batch.value, 0.0)
    both = batch.present[:, :, None] & batch.present[:, None, :]
    tied = (both & (values[:, :, None] == values[:, None, :])).to(rows.dtype)
    done = tied.tril(diagonal=-1).sum(dim=2) / tied.sum(dim=2).clamp(min=1)
    left = _better(batch).to(rows.dtype) + tied * (1 - done)[:, :, None]
    # A place without a response would have no finite entry, and a gradient that is not a number.
    left = torch.where(batch.present[:, :, None], left, torch.ones_like(left))
    total = (rows[:, None, :] + left.log()).logsumexp(dim=2)
    losses = torch.where(batch.present, total - rows, 0.0).sum(dim=1)
    return LossOutput(losses, _report(batch, score.detach()))


@objective("pro", paper=PRO)
def pro(batch: Batch, *, beta: Factor = 0.05, temperature: bool = True) -> LossOutput:
    """Preference ranking optimisation: each response of a list against all that are worse.

    ``-sum_k log(exp(s_k / T_kk) / (exp(s_k / T_kk) + sum_{i > k} exp(s_i / T_ki)))`` over the
    responses from best to worst, with ``s = log pi(y) / |y|``; Song et al. (2023). The
    temperatures are ``1 / T_ki = v_k - v_i`` for the values v, and ``1 / T_kk`` the largest of
    them. To it comes ``beta (K - 1)^2`` times the negative log-likelihood of the best response,
    so that imitation keeps its share as lists grow. Responses of the same value are not set against
    each other, and share the part of the best.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : Factor, default 0.05
        The weight of imitating the best response.
    temperature : bool, default True
        Whether gaps between the values count; where not, all temperatures are 1.
    """
    score = batch.mean(batch.policy)
    rows = batch.lists(score, 0.0)
    better = _better(batch)
    gaps = _apart(batch.lists(batch.value, 0.0)) if temperature else torch.ones_like(better) * 1.0
    gaps = torch.where(better, gaps, torch.zeros_like(gaps))
    own = gaps.amax(dim=2) * rows
    # Beside its own entry a response has one for each that is worse, and none for itself.
    against = torch.where(better, gaps * rows[:, None, :], -math.inf)
    ranking = torch.cat([own[:, :, None], against], dim=2).logsumexp(dim=2) - own
    best = batch.value == batch.lists(batch.value, -math.inf).amax(dim=1)[batch.tree]
    imitation = tree_mean(batch, -batch.sum(batch.policy), best)
    others = batch.present.sum(dim=1) - 1
    return LossOutput(
        ranking.sum(dim=1) + beta * others**2 * imitation,
        _report(batch, score.detach()) | {"ranking loss": ranking.sum(dim=1)},
    )
