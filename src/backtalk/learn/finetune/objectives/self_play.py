"""Self-play objectives: the reference is the policy of the current round."""

from __future__ import annotations

import math

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import (
    cross_entropy,
    implicit_reward_margin,
    log_sigmoid,
    pair_sample_mean,
    reward_margin,
)
from backtalk.learn.finetune.option_types import NonNegative, Positive
from backtalk.learn.lazy_modules import torch
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


@objective("sppo", paper=SPPO, reduction="response", reference=True, needs=("win_rate",))
def sppo(batch: Batch, *, beta: Positive = 1e-3) -> LossOutput:
    """Self-play preference optimisation: squared distance of a log-ratio from the win rate.

    Loss of a response, with w its ``win_rate`` against the policy of the round::

        (log pi(y)/pi_t(y) - (w - 1/2) / beta)^2

    Wu et al. (2024), equation 4.7, where 1/beta is eta. Of a single pair, the win rates are 1 for
    the better and 0 for the worse response.

    Parameters
    ----------
    batch : Batch
        Trees of responses with win rates.
    beta : float, default 0.001
        Inverse of eta: the log-ratio of a response that always wins should be ``1 / (2 beta)``.
    """
    target = (batch.column("win_rate") - 0.5) / beta
    agreement = (batch.log_ratio * target > 0).float()
    return LossOutput(
        (batch.log_ratio - target) ** 2,
        {"log_ratio": batch.log_ratio, "rewards/accuracies": agreement},
    )


@objective(
    "inpo",
    paper=INPO,
    reduction="pair",
    reference=True,
    optional={"pair.base_margin": math.nan},
)
def inpo(batch: Batch, *, eta: Positive = 0.0075, tau: NonNegative = 0.0025) -> LossOutput:
    """Iterative Nash policy optimisation: IPO with the policy of the round and the base policy.

    Loss of a pair, with ``D(pi) = log pi(y_w) - log pi(y_l)``::

        (D(pi) - tau/eta D(pi_base) - (1 - tau/eta) D(pi_t) - 1/(2 eta))^2

    Zhang et al. (2024), Algorithm 1. The reference is the policy of the round, ``pi_t``. The pair's
    ``base_margin`` is ``D(pi_base)``; if it has none, the base policy is the reference, as in the
    first round.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    eta : float, default 0.0075
        Strength of the penalty to both policies together.
    tau : float, default 0.0025
        Strength of the penalty to the base policy, at most eta.

    Raises
    ------
    BacktalkError
        If tau exceeds eta.
    """
    if tau > eta:
        raise BacktalkError(
            f"INPO has tau {tau:g} above eta {eta:g}", "Set tau to at most eta, such as a third"
        )
    margin, metrics = reward_margin(batch, batch.log_ratio)
    current, _ = reward_margin(batch, batch.sum(batch.reference_or_error))
    base = batch.column("pair.base_margin")
    drift = torch.where(base.isnan(), torch.zeros_like(current), current - base)
    return LossOutput((margin + tau / eta * drift - 1 / (2 * eta)) ** 2, metrics)


@objective(
    "dno",
    paper=DNO,
    reduction="pair",
    reference=True,
    initial_loss=lambda **_: math.log(2),
    optional={"pair.probability": 1.0},
)
def dno(batch: Batch, *, eta: Positive = 0.1) -> LossOutput:
    """Direct Nash optimisation: logistic loss on log-ratios to the policy of the round.

    Loss of a pair, with p the pair's ``probability``, 1 if it has none::

        -p log sigmoid(m) - (1 - p) log sigmoid(-m)
        m = eta (log pi(y_w)/pi_t(y_w) - log pi(y_l)/pi_t(y_l))

    Rosset et al. (2024). In the practical Algorithm 2, p is 1 for pairs whose win rates differ
    enough. In Algorithm 1, p is ``sigmoid(r(y_w) - r(y_l))``, with r the win rate against the
    policy of the round.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    eta : float, default 0.1
        Strength of the penalty to the policy of the round.
    """
    margin, metrics = implicit_reward_margin(batch, eta)
    return LossOutput(cross_entropy(margin, batch.column("pair.probability")), metrics)


@objective(
    "spac",
    paper=SPAC,
    reduction="pair",
    reference=True,
    initial_loss=lambda fit, **_: fit * math.log(2),
    needs=("is_sample",),
)
def spac(batch: Batch, *, beta: Positive = 0.1, fit: NonNegative = 1.0) -> LossOutput:
    """Self-play with an adversarial critic: a reward that fits the labels and rates samples low.

    Loss of a pair, with ``f = beta log pi/pi_t`` the critic and y a sample of the policy of the
    round::

        f(y) - f(y_w) - fit log sigmoid(f(y_w) - f(y_l))

    After Ji et al. (2024), whose steps of critic and policy are merged here; beta is 1/eta and fit
    is lambda. The samples are the responses of the tree with a true ``is_sample``.

    Parameters
    ----------
    batch : Batch
        Trees with pairs and samples.
    beta : float, default 0.1
        Strength of the penalty to the policy of the round.
    fit : float, default 1.0
        Weight of the labels against the pessimism about samples.
    """
    critic = beta * batch.log_ratio
    margin, metrics = reward_margin(batch, critic)
    samples = pair_sample_mean(batch, critic, "the policy of the current round")
    return LossOutput(
        samples - critic[batch.chosen] - fit * log_sigmoid(margin),
        {**metrics, "rewards/samples": samples},
    )


@objective(
    "xpo",
    paper=XPO,
    reduction="pair",
    reference=True,
    initial_loss=lambda **_: math.log(2),
    needs=("is_sample",),
)
def xpo(batch: Batch, *, beta: Positive = 0.1, alpha: NonNegative = 1e-5) -> LossOutput:
    """Exploratory preference optimisation: DPO with a bonus for moving away from the reference.

    Loss of a pair, with m the margin of DPO and y a sample of the reference::

        -log sigmoid(m) + alpha log pi(y)/pi_ref(y)

    Xie et al. (2024), Algorithm 1, which omits ``pi_ref`` in the second term, where it has no
    gradient. The samples are the responses of the tree with a true ``is_sample``; they may be in a
    pair.

    Parameters
    ----------
    batch : Batch
        Trees with pairs and samples.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    alpha : float, default 1e-05
        Weight of the exploration bonus.
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    samples = pair_sample_mean(batch, batch.log_ratio, "the reference")
    return LossOutput(
        -log_sigmoid(margin) + alpha * samples, {**metrics, "log_ratio/samples": samples}
    )
