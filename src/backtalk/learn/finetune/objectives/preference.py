"""Pairwise preference objectives with a reference: DPO and its relatives."""

from __future__ import annotations

import math

from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import (
    cross_entropy,
    implicit_reward_margin,
    log_sigmoid,
    reward_margin,
)
from backtalk.learn.finetune.option_types import FlipRate, NonNegative, Positive, Smoothing
from backtalk.learn.lazy_modules import torch
from backtalk.learn.method import Paper

DPO = Paper(
    "Direct preference optimization: your language model is secretly a reward model",
    "Rafailov et al.",
    2023,
    "https://arxiv.org/abs/2305.18290",
)
STEP_DPO = Paper(
    "Step-DPO: step-wise preference optimization for long-chain reasoning of LLMs",
    "Lai et al.",
    2024,
    "https://arxiv.org/abs/2406.18629",
)
IPO = Paper(
    "A general theoretical paradigm to understand learning from human preferences",
    "Azar et al.",
    2023,
    "https://arxiv.org/abs/2310.12036",
)
HINGE = Paper(
    "Statistical rejection sampling improves preference optimization",
    "Liu et al.",
    2023,
    "https://arxiv.org/abs/2309.06657",
)
CDPO = Paper(
    "A note on DPO with noisy preferences & relationship to IPO",
    "Mitchell",
    2023,
    "https://ericmitchell.ai/cdpo.pdf",
)
RDPO = Paper(
    "Provably robust DPO: aligning language models with noisy feedback",
    "Ray Chowdhury et al.",
    2024,
    "https://arxiv.org/abs/2403.00409",
)
OSP = Paper(
    "Online self-preferring language models",
    "Zhai et al.",
    2024,
    "https://arxiv.org/abs/2405.14103",
)
EXO = Paper(
    "Towards efficient exact optimization of language model alignment",
    "Ji et al.",
    2024,
    "https://arxiv.org/abs/2402.00856",
)
DESIDERATA = Paper(
    "New desiderata for direct preference optimization",
    "Hu et al.",
    2024,
    "https://arxiv.org/abs/2407.09072",
)


@objective("dpo", paper=DPO, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2))
def dpo(batch: Batch, *, beta: Positive = 0.1) -> LossOutput:
    """Direct preference optimisation: logistic loss on the margin of the implicit rewards.

    Loss of a pair::

        -log sigmoid(beta (log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)))

    Rafailov et al. (2023), equation 7.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Strength of the KL penalty: a larger beta keeps the policy closer to the reference.
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    return LossOutput(-log_sigmoid(margin), metrics)


@objective(
    "step-dpo",
    paper=STEP_DPO,
    reduction="pair",
    reference=True,
    initial_loss=lambda **_: math.log(2),
)
def step_dpo(batch: Batch, *, beta: Positive = 0.4) -> LossOutput:
    """Step-DPO: direct preference optimisation of the first wrong step.

    Loss of a pair::

        -log sigmoid(beta (log pi(s_w | x, s_<k)/pi_ref - log pi(s_l | x, s_<k)/pi_ref))

    with ``s_<k`` the correct steps that both responses share; Lai et al. (2024). The prompt of a
    tree holds the question and the shared steps, and each response is one step. Equivalently,
    responses are whole, and tokens after step k have weight 0: the shared steps cancel.

    Parameters
    ----------
    batch : Batch
        Trees with pairs of steps.
    beta : float, default 0.4
        Strength of the KL penalty, as in DPO.
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    return LossOutput(-log_sigmoid(margin), metrics)


@objective(
    "ipo",
    paper=IPO,
    reduction="pair",
    reference=True,
    initial_loss=lambda beta: 1 / (4 * beta**2),
)
def ipo(batch: Batch, *, beta: Positive = 0.1) -> LossOutput:
    """Identity preference optimisation: squared distance of the log-ratio margin from a target.

    Loss of a pair::

        (log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l) - 1/(2 beta))^2

    with log-probabilities summed over tokens; Azar et al. (2023), equation 17, where beta is tau.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Strength of the KL penalty: the target margin is ``1 / (2 beta)`` nats.
    """
    margin, _ = reward_margin(batch, batch.log_ratio)
    _, metrics = implicit_reward_margin(batch, beta)
    return LossOutput((margin - 1 / (2 * beta)) ** 2, metrics)


@objective("hinge", paper=HINGE, reduction="pair", reference=True, initial_loss=lambda **_: 1.0)
def hinge(batch: Batch, *, beta: Positive = 0.1) -> LossOutput:
    """Hinge loss on the margin of the implicit rewards: SLiC on normalised likelihoods.

    Loss of a pair::

        max(0, 1 - beta (log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)))

    Liu et al. (2023), hinge-norm.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Scale of the implicit reward: the loss is 0 from a log-ratio margin of ``1 / beta`` nats.
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    return LossOutput(torch.relu(1 - margin), metrics)


@objective(
    "cdpo", paper=CDPO, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2)
)
def cdpo(batch: Batch, *, beta: Positive = 0.1, label_smoothing: FlipRate = 0.1) -> LossOutput:
    """Conservative DPO: DPO with smoothed labels.

    Loss of a pair, with m the margin of DPO::

        -(1 - label_smoothing) log sigmoid(m) - label_smoothing log sigmoid(-m)

    Mitchell (2023), equation 3.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    label_smoothing : float, default 0.1
        Assumed probability that a label is wrong, in [0, 0.5).
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    return LossOutput(cross_entropy(margin, 1 - label_smoothing), metrics)


@objective(
    "rdpo", paper=RDPO, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2)
)
def rdpo(batch: Batch, *, beta: Positive = 0.1, flip_rate: FlipRate = 0.1) -> LossOutput:
    """Robust DPO: unbiased estimate of the DPO loss on clean labels from randomly flipped ones.

    Loss of a pair, with m the margin of DPO::

        (-(1 - flip_rate) log sigmoid(m) + flip_rate log sigmoid(-m)) / (1 - 2 flip_rate)

    Ray Chowdhury et al. (2024).

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    flip_rate : float, default 0.1
        Known share of flipped labels, in [0, 0.5).
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    loss = -(1 - flip_rate) * log_sigmoid(margin) + flip_rate * log_sigmoid(-margin)
    return LossOutput(loss / (1 - 2 * flip_rate), metrics)


@objective(
    "osp",
    paper=OSP,
    reduction="pair",
    reference=True,
    initial_loss=lambda **_: math.log(2),
    optional={"pair.probability": 1.0},
)
def osp(batch: Batch, *, beta: Positive = 0.1) -> LossOutput:
    """Soft-preference DPO: cross-entropy with the probability that the chosen response is better.

    Loss of a pair, with m the margin of DPO and p the pair's ``probability``, 1 if it has none::

        -p log sigmoid(m) - (1 - p) log sigmoid(-m)

    Zhai et al. (2024).

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    return LossOutput(cross_entropy(margin, batch.column("pair.probability")), metrics)


@objective(
    "exo",
    paper=EXO,
    reduction="pair",
    reference=True,
    initial_loss=lambda label_smoothing, **_: (
        -math.log(2) - 0.5 * (math.log(label_smoothing) + math.log1p(-label_smoothing))
    ),
)
def exo(batch: Batch, *, beta: Positive = 0.1, label_smoothing: Smoothing = 1e-3) -> LossOutput:
    """Exact optimisation: reverse KL divergence between the policy's preference and the label's.

    Loss of a pair, with m the margin of DPO::

        KL(q || p), q = (sigmoid(m), sigmoid(-m)), p = (1 - label_smoothing, label_smoothing)

    Ji et al. (2024), equation 16.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    beta : float, default 0.1
        Strength of the KL penalty, as in DPO.
    label_smoothing : float, default 0.001
        Probability that the label gives to the rejected response, in (0, 0.5).
    """
    margin, metrics = implicit_reward_margin(batch, beta)
    chosen, rejected = log_sigmoid(margin), log_sigmoid(-margin)
    loss = chosen.exp() * (chosen - math.log1p(-label_smoothing)) + rejected.exp() * (
        rejected - math.log(label_smoothing)
    )
    return LossOutput(loss, metrics)


@objective("dpo-desiderata", paper=DESIDERATA, reduction="pair", reference=True)
def dpo_desiderata(batch: Batch, *, regulariser: NonNegative = 0.1) -> LossOutput:
    """Sum of two divergences, to the preferences and to the reference, without implicit rewards.

    Loss of a pair::

        -log(pi(y_w) / (pi(y_w) + pi(y_l))) + regulariser KL(pi_ref || pi)

    after the supervised and unsupervised terms of Hu et al. (2024). The divergence is estimated as
    the mean of ``log pi_ref(y)/pi(y)`` over the two responses, as if the reference had sampled
    them. A reference that is the Bradley-Terry optimum of a prompt minimises both terms, whatever
    the regulariser. Elsewhere the optimum moves from the preferences', at 0, to the reference.

    Parameters
    ----------
    batch : Batch
        Trees with pairs.
    regulariser : float, default 0.1
        Weight of the divergence to the reference.
    """
    margin, metrics = reward_margin(batch, batch.sum(batch.policy))
    chosen, rejected = batch.pairs(batch.log_ratio)
    divergence = -(chosen + rejected) / 2
    return LossOutput(
        -log_sigmoid(margin) + regulariser * divergence, {**metrics, "divergence": divergence}
    )
