"""Objectives over pairs that know which tokens a preference is about."""

from __future__ import annotations

import math

from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import Beta, Weight, implicit_margin, log_sigmoid
from backtalk.learn.method import Paper

T_REG = Paper(
    "T-REG: preference optimization with token-level reward regularization",
    "Zhou et al.",
    2024,
    "https://arxiv.org/abs/2412.02685",
)
RISE = Paper(
    "Subtle errors matter: preference learning via error-injected self-editing",
    "Xu et al.",
    2024,
    "https://arxiv.org/abs/2410.06638",
)


@objective(
    "t-reg", paper=T_REG, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2)
)
def t_reg(batch: Batch, *, beta: Beta = 0.1, alpha: Weight = 0.25) -> LossOutput:
    """DPO, with the implicit reward of each token drawn to one that is known of it.

    ``-log sigmoid(m) + alpha w (R(y_w) + R(y_l))``, with m the margin of DPO, ``w = sigmoid(-m)``
    without a gradient, and ``R(y) = -sum over t of r_t beta log pi(y_t)/pi_ref(y_t)``; Zhou et
    al. (2024). The token rewards r are the credit of a branch; the paper's are
    ``sigmoid(log pi_ref(y_t | better)/pi_ref(y_t | worse)) - 1/2``, of prompts that ask for a
    better and for a worse response. The paper leaves out ``pi_ref`` in R, which has no gradient.
    """
    margin, metrics = implicit_margin(batch, beta)
    rewards = batch.sum(batch.token_rewards * beta * (batch.policy - batch.reference_or_error))
    chosen, rejected = batch.pairs(rewards)
    weight = torch.sigmoid(-margin.detach())
    agreement = chosen + rejected
    return LossOutput(
        -log_sigmoid(margin) - alpha * weight * agreement,
        {**metrics, "token agreement": agreement},
    )


@objective("rise", paper=RISE, reduction="pair", reference=True)
def rise(batch: Batch, *, beta: Beta = 0.1, nll: Weight = 0.1) -> LossOutput:
    """DPO on pairs that differ in an injected error, with the likelihood of the right one kept.

    ``-log sigmoid(m) - nll/|y_w| log pi(y_w)``, with m the margin of DPO; Xu et al.
    (2024). A tree's prompt holds the question and the right steps before the edited one, as
    in Step-DPO; the weights of a branch's tokens lead to those that were edited. Pairs of whole
    responses, right and wrong, are learned from together with these.
    """
    margin, metrics = implicit_margin(batch, beta)
    chosen = batch.mean(batch.policy)[batch.chosen]
    return LossOutput(
        -log_sigmoid(margin) - nll * chosen, {**metrics, "log-probability chosen": chosen}
    )
