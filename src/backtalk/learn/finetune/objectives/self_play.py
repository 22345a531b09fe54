"""Objectives of a policy that plays against itself: the reference is the policy of this round."""

from __future__ import annotations

import math

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import (
    Beta,
    Weight,
    cross_entropy,
    difference,
    implicit_margin,
    log_sigmoid,
    of_samples,
)
from backtalk.learn.method import Paper

SPPO = Paper(
    "Self-play preference optimization for language model alignment",
    "Wu et al.",
    2024,
    "https://arxiv.org/abs/2405.00675",
)
INPO = Paper(
    "Iterative Nash policy optimization: aligning LLMs with general preferences via no-regret "
    "learning",
    "Zhang et al.",
    2024,
    "https://arxiv.org/abs/2407.00617",
)
DNO = Paper(
    "Direct Nash optimization: teaching language models to self-improve with general preferences",
    "Rosset et al.",
    2024,
    "https://arxiv.org/abs/2404.03715",
)
SPAC = Paper(
    "Self-play with adversarial critic: provable and scalable offline alignment for language "
    "models",
    "Ji et al.",
    2024,
    "https://arxiv.org/abs/2406.04274",
)
XPO = Paper(
    "Exploratory preference optimization: harnessing implicit Q*-approximation for "
    "sample-efficient RLHF",
    "Xie et al.",
    2024,
    "https://arxiv.org/abs/2405.21046",
)


@objective("sppo", paper=SPPO, reduction="branch", reference=True)
def sppo(batch: Batch, *, beta: Beta = 1e-3) -> LossOutput:
    """Self-play preference optimisation: each log-ratio is drawn to how often the response wins.

    ``(log pi(y)/pi_t(y) - (P(y > pi_t) - 1/2) / beta)^2``; Wu et al. (2024), equation 4.7, where
    1/beta is eta. The value of a response is its probability to win against the policy of this
    round; 1 for the better and 0 for the worse one of a pair of which no more is known.
    """
    target = (batch.value - 0.5) / beta
    agree = (batch.log_ratio * target > 0).float()
    return LossOutput(
        (batch.log_ratio - target) ** 2, {"log-ratio": batch.log_ratio, "accuracy": agree}
    )


@objective("inpo", paper=INPO, reduction="pair", reference=True)
def inpo(batch: Batch, *, eta: Beta = 0.0075, tau: Weight = 0.0025) -> LossOutput:
    """Iterative Nash policy optimisation: IPO between the policy of this round and the base.

    ``(D(pi) - tau/eta D(pi_ref) - (1 - tau/eta) D(pi_t) - 1/(2 eta))^2``, with
    ``D(pi) = log pi(y_w) - log pi(y_l)``; Zhang et al. (2024), Algorithm 1. The reference is the
    policy of this round, ``pi_t``; what the base says of a pair, ``D(pi_ref)``, is its fact
    ``base_margin``. In the first round, where it is left out, the two are the same.
    """
    if tau > eta:
        raise BacktalkError(
            f"INPO has tau {tau:g} above eta {eta:g}", "Give a tau of at most eta; a third is usual"
        )
    gap, metrics = difference(batch, batch.log_ratio)
    current, _ = difference(batch, batch.sum(batch.reference_or_error))
    base = batch.pair_fact("base_margin", math.nan)
    drift = torch.where(base.isnan(), torch.zeros_like(current), current - base)
    return LossOutput((gap + tau / eta * drift - 1 / (2 * eta)) ** 2, metrics)


@objective("dno", paper=DNO, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2))
def dno(batch: Batch, *, eta: Beta = 0.1) -> LossOutput:
    """Direct Nash optimisation: a logistic loss on the log-ratios to the policy of this round.

    ``-p log sigmoid(m) - (1 - p) log sigmoid(-m)``, with
    ``m = eta (log pi(y_w)/pi_t(y_w) - log pi(y_l)/pi_t(y_l))``; Rosset et al. (2024). In the
    practical form, their Algorithm 2, p is 1 for pairs whose win rates are far enough apart; in
    Algorithm 1 it is ``sigmoid(r(y_w) - r(y_l))``, with r the win rate against the policy of this
    round, and is given as the pair's fact ``probability``.
    """
    margin, metrics = implicit_margin(batch, eta)
    return LossOutput(cross_entropy(margin, batch.pair_fact("probability", 1.0)), metrics)


@objective(
    "spac",
    paper=SPAC,
    reduction="pair",
    reference=True,
    initial_loss=lambda fit, **_: fit * math.log(2),
)
def spac(batch: Batch, *, beta: Beta = 0.1, fit: Weight = 1.0) -> LossOutput:
    """Self-play with an adversarial critic: a reward that fits the labels and thinks ill of itself.

    ``f(y) - f(y_w) - fit log sigmoid(f(y_w) - f(y_l))``, with ``f = beta log pi/pi_t`` the critic
    and y a response of the policy of this round; after Ji et al. (2024), whose steps of critic
    and policy this takes at once; beta is 1/eta and fit is lambda. The responses of that policy
    are those of a tree with a value above 0.
    """
    critic = beta * batch.log_ratio
    margin, metrics = difference(batch, critic)
    own = of_samples(batch, critic, "the policy of this round")
    return LossOutput(
        own - critic[batch.chosen] - fit * log_sigmoid(margin), {**metrics, "reward own": own}
    )


@objective("xpo", paper=XPO, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2))
def xpo(batch: Batch, *, beta: Beta = 0.1, alpha: Weight = 1e-5) -> LossOutput:
    """Exploratory preference optimisation: DPO with a bonus for leaving what the reference says.

    ``-log sigmoid(m) + alpha log pi(y)/pi_ref(y)``, with m the margin of DPO and y a response of
    the reference; Xie et al. (2024), Algorithm 1, which leaves out ``pi_ref`` in the second term,
    where it has no gradient. The reference's responses are those of a tree with a value above 0;
    they may be in a pair.
    """
    margin, metrics = implicit_margin(batch, beta)
    reach = of_samples(batch, batch.log_ratio, "the reference")
    return LossOutput(
        -log_sigmoid(margin) + alpha * reach, {**metrics, "log-ratio of reference": reach}
    )
