"""Objectives over pairs that hold the policy against a reference."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import (
    Beta,
    Flip,
    Weight,
    cross_entropy,
    difference,
    implicit_margin,
    log_sigmoid,
)
from backtalk.learn.method import Paper

Smoothing = Annotated[float, Field(gt=0, lt=0.5)]

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
def dpo(batch: Batch, *, beta: Beta = 0.1) -> LossOutput:
    """Direct preference optimisation: a logistic loss on the margin of the implicit rewards.

    ``-log sigmoid(beta (log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)))``; Rafailov et al.
    (2023), equation 7.
    """
    margin, metrics = implicit_margin(batch, beta)
    return LossOutput(-log_sigmoid(margin), metrics)


@objective(
    "step-dpo",
    paper=STEP_DPO,
    reduction="pair",
    reference=True,
    initial_loss=lambda **_: math.log(2),
)
def step_dpo(batch: Batch, *, beta: Beta = 0.4) -> LossOutput:
    """Step-DPO: direct preference optimisation of the first step that went wrong.

    ``-log sigmoid(beta (log pi(s_w | x, s_<k)/pi_ref - log pi(s_l | x, s_<k)/pi_ref))``, with
    ``s_<k`` the right steps that both responses share; Lai et al. (2024). A tree's
    prompt holds the question and the shared steps, its branches one step each; or the branches
    hold whole responses and the tokens after step k have weight 0, for what the two share cancels.
    """
    margin, metrics = implicit_margin(batch, beta)
    return LossOutput(-log_sigmoid(margin), metrics)


@objective(
    "ipo",
    paper=IPO,
    reduction="pair",
    reference=True,
    initial_loss=lambda beta: 1 / (4 * beta**2),
)
def ipo(batch: Batch, *, beta: Beta = 0.1) -> LossOutput:
    """Identity preference optimisation: the difference of the log-ratios is drawn to a target.

    ``(log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l) - 1/(2 beta))^2``, summed over tokens;
    Azar et al. (2023), equation 17, where beta is tau.
    """
    gap, _ = difference(batch, batch.log_ratio)
    _, metrics = implicit_margin(batch, beta)
    return LossOutput((gap - 1 / (2 * beta)) ** 2, metrics)


@objective("hinge", paper=HINGE, reduction="pair", reference=True, initial_loss=lambda **_: 1.0)
def hinge(batch: Batch, *, beta: Beta = 0.1) -> LossOutput:
    """Hinge loss on the margin of the implicit rewards: SLiC on normalised likelihoods.

    ``max(0, 1 - beta (log pi(y_w)/pi_ref(y_w) - log pi(y_l)/pi_ref(y_l)))``; Liu et al. (2023),
    hinge-norm.
    """
    margin, metrics = implicit_margin(batch, beta)
    return LossOutput(torch.relu(1 - margin), metrics)


@objective(
    "cdpo", paper=CDPO, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2)
)
def cdpo(batch: Batch, *, beta: Beta = 0.1, flip: Flip = 0.1) -> LossOutput:
    """Conservative DPO: labels are believed with a probability of one less the flip rate.

    ``-(1 - flip) log sigmoid(m) - flip log sigmoid(-m)``, with m the margin of DPO; Mitchell
    (2023), equation 3.
    """
    margin, metrics = implicit_margin(batch, beta)
    return LossOutput(cross_entropy(margin, 1 - flip), metrics)


@objective(
    "rdpo", paper=RDPO, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2)
)
def rdpo(batch: Batch, *, beta: Beta = 0.1, flip: Flip = 0.1) -> LossOutput:
    """Robust DPO: unbiased for DPO on clean labels, where a known share of them is flipped.

    ``(-(1 - flip) log sigmoid(m) + flip log sigmoid(-m)) / (1 - 2 flip)``, with m the margin of
    DPO; Ray Chowdhury et al. (2024).
    """
    margin, metrics = implicit_margin(batch, beta)
    loss = -(1 - flip) * log_sigmoid(margin) + flip * log_sigmoid(-margin)
    return LossOutput(loss / (1 - 2 * flip), metrics)


@objective("osp", paper=OSP, reduction="pair", reference=True, initial_loss=lambda **_: math.log(2))
def osp(batch: Batch, *, beta: Beta = 0.1) -> LossOutput:
    """Soft-preference cross-entropy: DPO on how probable it is that the chosen one is better.

    ``-p log sigmoid(m) - (1 - p) log sigmoid(-m)``, with m the margin of DPO and p the strength
    of the preference, the pair's fact ``probability`` (1 where it is left out); Zhai et al.
    (2024).
    """
    margin, metrics = implicit_margin(batch, beta)
    return LossOutput(cross_entropy(margin, batch.pair_fact("probability", 1.0)), metrics)


@objective(
    "exo",
    paper=EXO,
    reduction="pair",
    reference=True,
    initial_loss=lambda smoothing, **_: (
        -math.log(2) - 0.5 * (math.log(smoothing) + math.log1p(-smoothing))
    ),
)
def exo(batch: Batch, *, beta: Beta = 0.1, smoothing: Smoothing = 1e-3) -> LossOutput:
    """Exact optimisation: reverse KL divergence from the policy's preference to the label's.

    ``KL(q || p)``, with q the preference ``(sigmoid(m), sigmoid(-m))`` of the margin m of DPO and
    p the label ``(1 - smoothing, smoothing)``; Ji et al. (2024), equation 16.
    """
    margin, metrics = implicit_margin(batch, beta)
    chosen, rejected = log_sigmoid(margin), log_sigmoid(-margin)
    loss = chosen.exp() * (chosen - math.log1p(-smoothing)) + rejected.exp() * (
        rejected - math.log(smoothing)
    )
    return LossOutput(loss, metrics)


@objective("dpo-desiderata", paper=DESIDERATA, reduction="pair", reference=True)
def dpo_desiderata(batch: Batch, *, regulariser: Weight = 0.1) -> LossOutput:
    """Two divergences, one to the preferences and one to the reference, with no implicit reward.

    ``-log(pi(y_w) / (pi(y_w) + pi(y_l))) + regulariser KL(pi_ref || pi)``, after the supervised
    and unsupervised terms of Hu et al. (2024). The divergence is estimated from the responses of
    the pair, taken to be the reference's: ``mean of log pi_ref(y)/pi(y)``. Where the reference
    is the Bradley-Terry optimum of a prompt it minimises both terms and is kept, whatever the
    regulariser; elsewhere the optimum moves from the preferences' at 0 to the reference.
    """
    margin, metrics = difference(batch, batch.sum(batch.policy))
    chosen, rejected = batch.pairs(batch.log_ratio)
    divergence = -(chosen + rejected) / 2
    return LossOutput(
        -log_sigmoid(margin) + regulariser * divergence, {**metrics, "divergence": divergence}
    )
