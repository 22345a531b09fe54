"""Pairwise preference objectives with token-level credit."""

from __future__ import annotations

import math

from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import implicit_reward_margin, log_sigmoid
from backtalk.learn.finetune.option_types import NonNegative, Positive
from backtalk.learn.lazy_modules import torch
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
    "t-reg",
    paper=T_REG,
    reduction="pair",
    reference=True,
    initial_loss=lambda **_: math.log(2),
    needs=("token.reward",),
)
def t_reg(batch: Batch, *, beta: Positive = 0.1, alpha: NonNegative = 0.25) -> LossOutput:
    """Token-level regularisation: DPO whose implicit token rewards should agree with given ones.

    Loss of a pair, with m the margin of DPO and r_t the token rewards::

        -log sigmoid(m) + alpha w (R(y_w) + R(y_l))
        w = sigmoid(-m), without a gradient
        R(y) = -sum_t r_t beta log pi(y_t)/pi_ref(y_t)

    Zhou et al. (2024). The paper's token rewards are
    ``sigmoid(log pi_ref(y_t | better)/pi_ref(y_t | worse)) - 1/2``, for prompts that ask for a
    better and for a worse response. The paper omits ``pi_ref`` in R, where it has no gradient.

    Parameters
    ----------
    batch : Batch
        Trees with pairs and token rewards.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    alpha : float, default 0.25
        Weight of the regularisation.
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    token_rewards = batch.column("token.reward")
    agreement = batch.sum(token_rewards * beta * (batch.policy - batch.reference_or_error))
    chosen, rejected = batch.pairs(agreement)
    weight = torch.sigmoid(-margin.detach())
    pair_agreement = chosen + rejected
    return LossOutput(
        -log_sigmoid(margin) - alpha * weight * pair_agreement,
        {**metrics, "token_agreement": pair_agreement},
    )


@objective("rise", paper=RISE, reduction="pair", reference=True)
def rise(batch: Batch, *, beta: Positive = 0.1, nll: NonNegative = 0.1) -> LossOutput:
    """RISE: DPO on pairs that differ in an injected error, plus imitation of the correct response.

    Loss of a pair, with m the margin of DPO::

        -log sigmoid(m) - nll/|y_w| log pi(y_w)

    Xu et al. (2024). The prompt of a tree holds the question and the correct steps before the
    edited one, as in Step-DPO. Token weights select the edited tokens. Pairs of whole responses,
    correct and wrong, are trained on together with these.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    nll : float, default 0.1
        Weight of the negative log-likelihood of the chosen response.
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    chosen = batch.mean(batch.policy)[batch.chosen]
    return LossOutput(-log_sigmoid(margin) - nll * chosen, {**metrics, "logps/chosen": chosen})
