"""Objectives over pairs that need no reference."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import (
    Beta,
    Weight,
    difference,
    log_sigmoid,
    marked_mean,
    pair_tree,
)
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

Discount = Annotated[float, Field(gt=0, le=1)]

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


@objective("slic-hf", paper=SLIC_HF, reduction="pair")
def slic_hf(batch: Batch, *, delta: Weight = 1.0, regulariser: Weight = 0.1) -> LossOutput:
    """Sequence likelihood calibration: a margin between log-likelihoods, and a pull to a target.

    ``max(0, delta - log pi(y_w) + log pi(y_l)) - regulariser log pi(y_ref)``; Zhao et al.
    (2023). The target ``y_ref`` is what the responses of a tree with a value above 0 are, or
    the chosen response where none is; of several, the mean is taken.
    """
    likelihood = batch.sum(batch.policy)
    margin, metrics = difference(batch, likelihood)
    target, count = marked_mean(batch, likelihood)
    trees = pair_tree(batch)
    pull = torch.where(count[trees] > 0, target[trees], likelihood[batch.chosen])
    return LossOutput(torch.relu(delta - margin) - regulariser * pull, metrics)


@objective("orpo", paper=ORPO, reduction="pair")
def orpo(batch: Batch, *, ratio: Weight = 0.1) -> LossOutput:
    """Odds ratio preference optimisation: imitate the chosen one, and prefer it by its odds.

    ``-log P(y_w) - ratio log sigmoid(log odds(y_w) - log odds(y_l))``, with log P the mean
    log-probability of a token and ``odds = P / (1 - P)``; Hong et al. (2024), equations 6 and 7,
    where ratio is lambda.
    """
    return _odds_ratio(batch, ratio)


@objective("i-orpo", paper=SURI, reduction="pair")
def i_orpo(batch: Batch, *, ratio: Weight = 0.4) -> LossOutput:
    """Instructional ORPO: one response is preferred under its instruction to a corrupted one.

    ``-log P(y | x_w) - ratio log sigmoid(log odds(y | x_w) - log odds(y | x_l))``, with P and odds
    as in ORPO; Pham et al. (2024). A tree's prompt is what the two conversations share
    at their beginning; a branch holds the rest of one instruction, of weight 0, and the response.
    """
    return _odds_ratio(batch, ratio)


def _odds_ratio(batch: Batch, ratio: float) -> LossOutput:
    likelihood = batch.mean(batch.policy)
    # At a probability of 1 the odds are infinite.
    bounded = likelihood.clamp(max=-1e-6)
    margin, metrics = difference(batch, bounded - _log_complement(bounded))
    return LossOutput(-likelihood[batch.chosen] - ratio * log_sigmoid(margin), metrics)


def _log_complement(x: Tensor) -> Tensor:
    # Either form loses all digits where the other one is exact.
    near = torch.log(-torch.expm1(x.clamp(min=-1)))
    return torch.where(x > -math.log(2), near, torch.log1p(-torch.exp(x.clamp(max=-0.5))))


@objective("simpo", paper=SIMPO, reduction="pair")
def simpo(batch: Batch, *, beta: Beta = 2.0, gamma: Weight = 1.0) -> LossOutput:
    """Simple preference optimisation: a logistic loss on mean log-probabilities, with a margin.

    ``-log sigmoid(beta/|y_w| log pi(y_w) - beta/|y_l| log pi(y_l) - gamma)``; Meng et al. (2024),
    equation 6.
    """
    margin, metrics = difference(batch, beta * batch.mean(batch.policy))
    return LossOutput(-log_sigmoid(margin - gamma), metrics)


@objective("cpo", paper=CPO, reduction="pair")
def cpo(batch: Batch, *, beta: Beta = 0.1, nll: Weight = 1.0) -> LossOutput:
    """Contrastive preference optimisation: DPO with a uniform reference, and imitation.

    ``-log sigmoid(beta log pi(y_w) - beta log pi(y_l)) - nll log pi(y_w)``, summed over tokens;
    Xu et al. (2024), equation 3 and the likelihood term that follows it.
    """
    likelihood = batch.sum(batch.policy)
    margin, metrics = difference(batch, beta * likelihood)
    return LossOutput(-log_sigmoid(margin) - nll * likelihood[batch.chosen], metrics)


@objective("cpl", paper=CPL, reduction="pair")
def cpl(
    batch: Batch, *, alpha: Beta = 0.1, discount: Discount = 1.0, bias: Discount = 0.5
) -> LossOutput:
    """Contrastive preference learning: a logistic loss on discounted sums of log-probabilities.

    ``-log(exp S(y_w) / (exp S(y_w) + exp(bias S(y_l))))``, with
    ``S(y) = sum over t of discount^t alpha log pi(y_t)``; Hejna et al. (2023), the conservative
    form, where bias is lambda. A step t is a token that is learned from: what a
    segment observes and does not do has weight 0 and takes no time.
    """
    scores = batch.sum(discount ** _steps(batch) * alpha * batch.policy)
    _, metrics = difference(batch, scores)
    chosen, rejected = batch.pairs(scores)
    return LossOutput(-log_sigmoid(chosen - bias * rejected), metrics)


def _steps(batch: Batch) -> Tensor:
    """Return how many tokens of its response are learned from before each, shape ``(N,)``."""
    learned = (batch.weight > 0).to(batch.policy.dtype)
    before = learned.cumsum(0) - learned
    counts = learned.new_zeros(len(batch.tree)).index_add(0, batch.branch, learned)
    return before - (counts.cumsum(0) - counts)[batch.branch]


@objective("pairwise-cringe", paper=CRINGE, reduction="pair", top_k=5)
def pairwise_cringe(
    batch: Batch, *, alpha: Weight = 1.0, margin: float = 0.0, temperature: Beta = 1.0
) -> LossOutput:
    """Pairwise Cringe: imitate the chosen one, contrast the rejected one's tokens, until apart.

    ``sigmoid((margin - M) / temperature) (-log pi(y_w) + alpha C(y_l))``, with
    ``M = log pi(y_w) - log pi(y_l)`` and C the sum over tokens of
    ``-log(exp s* / (exp s* + exp s))``, s the token's logit and s* that of one of the five most
    probable others; Xu et al. (2023). The paper draws s* by its softmax among the
    five; this is the mean over the draws.
    """
    if batch.top_k is None:
        raise BacktalkError(
            "Pairwise Cringe needs the log-probabilities of other tokens",
            "Give the batch its rivals, as Objective.rivals says",
        )
    likelihood = batch.sum(batch.policy)
    apart, metrics = difference(batch, likelihood)
    # What is drawn does not depend on the weights: only the contrast has a gradient.
    drawn = batch.top_k.detach().softmax(dim=1)
    contrast = -(drawn * log_sigmoid(batch.top_k - batch.policy[:, None])).sum(dim=1)
    binary = -likelihood[batch.chosen] + alpha * batch.sum(contrast)[batch.rejected]
    gate = torch.sigmoid((margin - apart) / temperature)
    return LossOutput(gate * binary, {**metrics, "gate": gate})
