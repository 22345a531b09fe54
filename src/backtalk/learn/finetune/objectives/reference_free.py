"""Pairwise preference objectives without a reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import (
    log_sigmoid,
    pair_tree_index,
    reward_margin,
    tree_count,
    tree_mean,
)
from backtalk.learn.finetune.option_types import NonNegative, Positive, PositiveFraction
from backtalk.learn.lazy_modules import torch
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

SLIC_HF = Paper(
    "SLiC-HF: sequence likelihood calibration with human feedback",
    "Zhao et al.",
    2023,
    "https://arxiv.org/abs/2305.10425",
)

ORPO = Paper(
    "ORPO: monolithic preference optimization without reference model",
    "Hong et al.",
    2024,
    "https://arxiv.org/abs/2403.07691",
)

SURI = Paper(
    "Suri: multi-constraint instruction following for long-form text generation",
    "Pham et al.",
    2024,
    "https://arxiv.org/abs/2406.19371",
)

SIMPO = Paper(
    "SimPO: simple preference optimization with a reference-free reward",
    "Meng et al.",
    2024,
    "https://arxiv.org/abs/2405.14734",
)

CPO = Paper(
    "Contrastive preference optimization: pushing the boundaries of LLM performance in machine "
    "translation",
    "Xu et al.",
    2024,
    "https://arxiv.org/abs/2401.08417",
)

CPL = Paper(
    "Contrastive preference learning: learning from human feedback without RL",
    "Hejna et al.",
    2023,
    "https://arxiv.org/abs/2310.13639",
)

CRINGE = Paper(
    "Some things are more CRINGE than others: preference optimization with the Pairwise Cringe "
    "Loss",
    "Xu et al.",
    2023,
    "https://arxiv.org/abs/2312.16682",
)


@objective("slic-hf", paper=SLIC_HF, reduction="pair", optional={"is_demonstration": 0.0})
def slic_hf(
    batch: Batch, *, delta: NonNegative = 1.0, regulariser: NonNegative = 0.1
) -> LossOutput:
    """Sequence likelihood calibration: margin between log-likelihoods, and imitation of a target.

    Loss of a pair::

        max(0, delta - log pi(y_w) + log pi(y_l)) - regulariser log pi(y_ref)

    Zhao et al. (2023). The target ``y_ref`` is a response of the tree with a true
    ``is_demonstration``, the mean over several, and the chosen response if there is none.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    delta : float, default 1.0
        Margin, in nats.
    regulariser : float, default 0.1
        Weight of the log-likelihood of the target.
    """
    likelihood = batch.sum(batch.policy)
    margin, metrics = reward_margin(batch, likelihood)
    targets = batch.mask("is_demonstration")
    trees = pair_tree_index(batch)
    target = torch.where(
        tree_count(batch, targets)[trees] > 0,
        tree_mean(batch, likelihood, targets)[trees],
        likelihood[batch.chosen],
    )
    return LossOutput(torch.relu(delta - margin) - regulariser * target, metrics)


@objective("orpo", paper=ORPO, reduction="pair")
def orpo(batch: Batch, *, ratio: NonNegative = 0.1) -> LossOutput:
    """Odds ratio preference optimisation: imitation of the chosen response, and its odds ratio.

    Loss of a pair, with log P the mean log-probability of a token::

        -log P(y_w) - ratio log sigmoid(log odds(y_w) - log odds(y_l)), odds = P / (1 - P)

    Hong et al. (2024), equations 6 and 7, where ratio is lambda.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    ratio : float, default 0.1
        Weight of the odds ratio against imitation.
    """
    return _odds_ratio_loss(batch, ratio)


@objective("i-orpo", paper=SURI, reduction="pair")
def i_orpo(batch: Batch, *, ratio: NonNegative = 0.4) -> LossOutput:
    """Instructional ORPO: a response is preferred under its instruction to a corrupted one.

    Loss of a pair, with P and odds as in ORPO::

        -log P(y | x_w) - ratio log sigmoid(log odds(y | x_w) - log odds(y | x_l))

    Pham et al. (2024). The prompt of a tree is the common beginning of the two conversations. Each
    response holds the rest of one instruction, with weight 0, and the answer.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    ratio : float, default 0.4
        Weight of the odds ratio against imitation.
    """
    return _odds_ratio_loss(batch, ratio)


def _odds_ratio_loss(batch: Batch, ratio: float) -> LossOutput:
    likelihood = batch.mean(batch.policy)
    # At a probability of 1 the odds are infinite.
    bounded = likelihood.clamp(max=-1e-6)
    margin, metrics = reward_margin(batch, bounded - _log_complement(bounded))
    return LossOutput(-likelihood[batch.chosen] - ratio * log_sigmoid(margin), metrics)


def _log_complement(x: Tensor) -> Tensor:
    """Return ``log(1 - exp(x))`` for x below 0."""
    # Either form loses all digits where the other one is exact.
    near = torch.log(-torch.expm1(x.clamp(min=-1)))
    return torch.where(x > -math.log(2), near, torch.log1p(-torch.exp(x.clamp(max=-0.5))))


@objective("simpo", paper=SIMPO, reduction="pair")
def simpo(batch: Batch, *, beta: Positive = 2.0, gamma: NonNegative = 1.0) -> LossOutput:
    """Simple preference optimisation: logistic loss on mean log-probabilities, with a margin.

    Loss of a pair::

        -log sigmoid(beta/|y_w| log pi(y_w) - beta/|y_l| log pi(y_l) - gamma)

    Meng et al. (2024), equation 6.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 2.0
        Scale of the rewards.
    gamma : float, default 1.0
        Target margin of the rewards.
    """
    margin, metrics = reward_margin(batch, beta * batch.mean(batch.policy))
    return LossOutput(-log_sigmoid(margin - gamma), metrics)


@objective("cpo", paper=CPO, reduction="pair")
def cpo(batch: Batch, *, beta: Positive = 0.1, nll: NonNegative = 1.0) -> LossOutput:
    """Contrastive preference optimisation: DPO with a uniform reference, plus imitation.

    Loss of a pair, with log-probabilities summed over tokens::

        -log sigmoid(beta log pi(y_w) - beta log pi(y_l)) - nll log pi(y_w)

    Xu et al. (2024), equation 3 and the likelihood term that follows it.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Scale of the rewards.
    nll : float, default 1.0
        Weight of the negative log-likelihood of the chosen response.
    """
    likelihood = batch.sum(batch.policy)
    margin, metrics = reward_margin(batch, beta * likelihood)
    return LossOutput(-log_sigmoid(margin) - nll * likelihood[batch.chosen], metrics)


@objective("cpl", paper=CPL, reduction="pair")
def cpl(
    batch: Batch,
    *,
    alpha: Positive = 0.1,
    discount: PositiveFraction = 1.0,
    bias: PositiveFraction = 0.5,
) -> LossOutput:
    """Contrastive preference learning: logistic loss on discounted sums of log-probabilities.

    Loss of a pair::

        -log(exp S(y_w) / (exp S(y_w) + exp(bias S(y_l))))
        S(y) = sum_t discount^t alpha log pi(y_t)

    Hejna et al. (2023), the conservative form, where bias is lambda. A step t is a token of
    positive weight: observations of a segment have weight 0 and take no time.

    Parameters
    ----------
    batch : Batch
        Trees with pairs of segments.
    alpha : float, default 0.1
        Temperature: scale of the log-probabilities as advantages.
    discount : float, default 1.0
        Discount of each step, in (0, 1].
    bias : float, default 0.5
        Scale of the rejected segment, in (0, 1]; below 1 the chosen one gains probability.
    """
    scores = batch.sum(discount ** _step_index(batch) * alpha * batch.policy)
    _, metrics = reward_margin(batch, scores)
    chosen, rejected = batch.pairs(scores)
    return LossOutput(-log_sigmoid(chosen - bias * rejected), metrics)


def _step_index(batch: Batch) -> Tensor:
    """Return the number of earlier tokens of positive weight in the response, shape ``(N,)``."""
    learned = (batch.token_weight > 0).to(batch.policy.dtype)
    before = learned.cumsum(0) - learned
    counts = learned.new_zeros(len(batch.tree_index)).index_add(0, batch.response_index, learned)
    return before - (counts.cumsum(0) - counts)[batch.response_index]


@objective("pairwise-cringe", paper=CRINGE, reduction="pair", top_k=5)
def pairwise_cringe(
    batch: Batch, *, alpha: NonNegative = 1.0, margin: float = 0.0, temperature: Positive = 1.0
) -> LossOutput:
    """Pairwise Cringe: imitation of the chosen, contrast of the rejected tokens, gated by a margin.

    Loss of a pair::

        sigmoid((margin - M) / temperature) (-log pi(y_w) + alpha C(y_l))
        M = log pi(y_w) - log pi(y_l)
        C(y) = sum_t -log(exp s* / (exp s* + exp s_t))

    with s_t the token's logit and s* that of one of the five most probable other tokens; Xu et al.
    (2023). The paper samples s* by its softmax among the five. This is the mean over the samples.

    Parameters
    ----------
    batch : Batch
        Trees with pairs, and the five most probable other tokens.
    alpha : float, default 1.0
        Weight of the contrast.
    margin : float, default 0.0
        Margin of the log-likelihoods, in nats, at which the gate is half open.
    temperature : float, default 1.0
        Width of the gate, in nats.

    Raises
    ------
    BacktalkError
        If the batch has no log-probabilities of other tokens.
    """
    if batch.top_k is None:
        raise BacktalkError(
            "pairwise-cringe needs log-probabilities of the most probable other tokens",
            "Give the batch top_k, of shape (N, 5)",
        )
    likelihood = batch.sum(batch.policy)
    lead, metrics = reward_margin(batch, likelihood)
    # The sampling distribution does not depend on the weights: only the contrast has a gradient.
    probabilities = batch.top_k.detach().softmax(dim=1)
    contrast = -(probabilities * log_sigmoid(batch.top_k - batch.policy[:, None])).sum(dim=1)
    binary = -likelihood[batch.chosen] + alpha * batch.sum(contrast)[batch.rejected]
    gate = torch.sigmoid((margin - lead) / temperature)
    return LossOutput(gate * binary, {**metrics, "gate": gate})
