"""Objectives that imitate: the log-likelihood of responses, weighted."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

Factor = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]
Rate = Annotated[float, Field(gt=0, le=1)]
Temperature = Annotated[float, Field(gt=0)]

SFT = Paper(
    "Training language models to follow instructions with human feedback",
    "Ouyang et al.",
    2022,
    "https://arxiv.org/abs/2203.02155",
)
DFT = Paper(
    "Discriminative finetuning of generative large language models without reward models and human "
    "preference data",
    "Guo et al.",
    2025,
    "https://arxiv.org/abs/2502.18679",
)
WEAK_TO_STRONG = Paper(
    "Weak-to-strong generalization: eliciting strong capabilities with weak supervision",
    "Burns et al.",
    2023,
    "https://arxiv.org/abs/2312.09390",
)
SUPERHF = Paper(
    "SuperHF: supervised iterative learning from human feedback",
    "Mukobi et al.",
    2023,
    "https://arxiv.org/abs/2310.16763",
)
UNLIKELIHOOD = Paper(
    "Neural text generation with unlikelihood training",
    "Welleck et al.",
    2020,
    "https://arxiv.org/abs/1908.04319",
)


SELF_SAMPLED = Paper(
    "Learning math reasoning from self-sampled correct and partially-correct solutions",
    "Ni et al.",
    2023,
    "https://arxiv.org/abs/2205.14318",
)


@objective("sft", paper=SFT, reduction="token")
def sft(batch: Batch) -> LossOutput:
    """Supervised fine-tuning: the negative log-likelihood of each response token.

    Ouyang et al. (2022), section 3.5, step 1.
    """
    return LossOutput(-batch.policy, {"log-probability": batch.policy})


@objective("superhf", paper=SUPERHF, reduction="token", reference=True)
def superhf(batch: Batch, *, beta: Factor = 0.3) -> LossOutput:
    """SuperHF: the likelihood of samples that a reward has filtered, with a prior on the policy.

    ``-log pi(y_t) + beta KL(pi_ref || pi)`` for each token; Mukobi et al. (2023). The responses of
    the batch are those that the filter kept. The divergence is estimated on their tokens, see
    :func:`divergence`.
    """
    prior = divergence(batch)
    return LossOutput(
        beta * prior - batch.policy,
        {"log-probability": batch.policy, "divergence": prior},
    )


@objective("weak-to-strong", paper=WEAK_TO_STRONG, reduction="token", top_k=1)
def weak_to_strong(batch: Batch, *, alpha: Fraction = 0.5) -> LossOutput:
    """Weak-to-strong confidence loss: a weak supervisor's label, and the model's own prediction.

    ``(1 - alpha) CE(pi, y_t) + alpha CE(pi, best)``, with ``y_t`` the weak supervisor's token and
    ``best`` the token that the policy itself finds most probable, which is taken as a fixed label;
    Burns et al. (2023), the auxiliary confidence loss. The paper raises ``alpha`` from 0 in the
    first steps of the training.
    """
    if batch.top_k is None:
        raise BacktalkError(
            "weak-to-strong was given no rival tokens", "Give the batch one rival a token"
        )
    rival = batch.top_k[:, 0]
    agrees = batch.policy >= rival
    own = torch.where(agrees, batch.policy, rival)
    losses = -(1 - alpha) * batch.policy - alpha * own
    return LossOutput(losses, {"log-probability": batch.policy, "agreement": agrees.float()})


@objective("unlikelihood", paper=UNLIKELIHOOD, reduction="token")
def unlikelihood(batch: Batch, *, alpha: Factor = 1.0) -> LossOutput:
    """Unlikelihood: good responses become more probable, the tokens of bad ones less.

    ``-log pi(y_t)`` for a token of a good response, of value 1, and ``-alpha log(1 - pi(y_t))`` for
    one of a bad response, of value 0; Welleck et al. (2020), with the tokens of the bad
    response as negative candidates.
    """
    good = (batch.value > 0.5)[batch.branch]
    # The loss of a probability that rounds to 1 would be infinite, and so would its gradient.
    unlikely = -torch.log(-torch.expm1(batch.policy.clamp(max=-1e-6)))
    return LossOutput(
        torch.where(good, -batch.policy, alpha * unlikely),
        {
            "log-probability good": batch.policy[good],
            "log-probability bad": batch.policy[~good],
        },
    )


@objective("dft", paper=DFT, reference=True)
def dft(batch: Batch, *, temperature: Temperature = 1.0, rate: Rate = 1.0) -> LossOutput:
    """Discriminative fine-tuning: a demonstration against all that the model would say instead.

    ``-s(y) + tau log (1/m) sum_k exp(s(y_k) / tau) / pi_ref(y_k)`` with ``s = log pi``, for a
    demonstration y, of value 1, and m samples of the reference, of value 0; Guo et al. (2025),
    section 4. See :func:`discriminative` for ``rate``.

    Parameters
    ----------
    batch : Batch
        Trees of demonstrations and samples.
    temperature : Temperature, default 1.0
        tau.
    rate : Rate, default 1.0
        How much the samples of this step count in the moving average of the normaliser.
    """
    score = batch.sum(batch.policy)
    surprise = batch.sum(batch.reference_or_error)
    return discriminative(batch, score, surprise, temperature=temperature, rate=rate)


@objective("dft2", paper=DFT)
def dft2(batch: Batch, *, temperature: Temperature = 0.3, rate: Rate = 1.0) -> LossOutput:
    """Discriminative fine-tuning without a reference, by the log-likelihood a token.

    As ``dft``, with ``s = log pi(y) / |y|`` and all samples counted the same; Guo et al. (2025),
    section 5.
    """
    score = batch.mean(batch.policy)
    return discriminative(batch, score, torch.zeros_like(score), temperature=temperature, rate=rate)


def discriminative(
    batch: Batch, score: Tensor, proposal: Tensor, *, temperature: float, rate: float
) -> LossOutput:
    """Return ``-s(y) + tau log Z`` of each tree, with Z estimated on its samples.

    The fact ``log normaliser`` of a tree, where there is one, says what log Z was in earlier steps;
    the moving average of both divides the gradient, ``(1 - rate) Z_before + rate Z_now``, so that
    few samples do not bias it. The value is the tangent of the logarithm there, which bounds it
    from above, and log Z itself where nothing is known. A tree without samples has only the first
    half, one without demonstrations only the second.

    Parameters
    ----------
    batch : Batch
        Demonstrations have the value 1, samples the value 0.
    score : Tensor
        s of each response, shape ``(B,)``.
    proposal : Tensor
        The log-probability that each response was drawn with, shape ``(B,)``.
    temperature : float
        tau.
    rate : float
        The weight of the current samples in the moving average.
    """
    shown = batch.value > 0.5
    demonstrated = tree_mean(batch, score, shown)
    result = batch.lists(score / temperature - proposal, -math.inf)
    sampled = batch.present & (batch.lists(batch.value, 1.0) <= 0.5)
    count = sampled.sum(dim=1)
    # A row without any finite entry would have a gradient that is not a number.
    fill = torch.where(count > 0, -math.inf, 0.0)[:, None]
    now = torch.where(sampled, result, fill).logsumexp(dim=1) - count.clamp(min=1).log()
    average, before = now, batch.fact("log normaliser", math.nan)
    if rate < 1:
        moving = torch.logaddexp(before + math.log1p(-rate), now + math.log(rate))
        average = torch.where(before.isnan(), now, moving)
    average = average.detach()
    normaliser = temperature * (average + torch.exp(now - average) - 1)
    return LossOutput(
        torch.where(count > 0, normaliser, 0.0) - demonstrated,
        {
            "log normaliser": average[count > 0],
            "score demonstrated": score[shown],
            "score sampled": score[~shown],
        },
    )


def tree_mean(batch: Batch, values: Tensor, where: Tensor) -> Tensor:
    """Return the mean over some responses of each tree, 0 where it has none of them, ``(T,)``."""
    zeros = torch.zeros_like(batch.tree_weight)
    total = zeros.index_add(0, batch.tree, torch.where(where, values, 0.0))
    return total / zeros.index_add(0, batch.tree, where.to(zeros.dtype)).clamp(min=1)


def divergence(batch: Batch) -> Tensor:
    """Return ``KL(pi_ref || pi)`` at each token, as estimated by the token alone, shape ``(N,)``.

    ``rho - 1 - log rho`` with ``rho = pi(y_t) / pi_ref(y_t)``. It is never negative, and where the
    tokens are drawn from the reference its mean is the divergence and its gradient that of the
    divergence. On tokens that feedback has selected it holds the policy where the reference was on
    these tokens, and says nothing of the others.
    """
    log_ratio = batch.policy - batch.reference_or_error
    # From here on it goes on as a straight line, for the exponential would overflow.
    near = log_ratio.clamp(max=_STRAIGHT)
    return torch.expm1(near) + near.exp() * (log_ratio - near) - log_ratio


_STRAIGHT = 20.0
"""The log-ratio, in nats, that no policy in training comes to."""


@objective("beta-mml", paper=SELF_SAMPLED, reduction="tree")
def beta_mml(batch: Batch, *, beta: Rate = 0.25) -> LossOutput:
    """Marginal likelihood of several solutions: at least one of them should be probable.

    ``-(1/beta) log sum_y pi(y|x)^beta``; Ni et al. (2023). With ``beta = 1`` it is the
    maximum marginal likelihood, whose gradient goes to the most probable solution; the smaller beta
    is, the more evenly it goes to all.
    """
    likelihood = batch.sum(batch.policy)
    rows = batch.lists(beta * likelihood, -torch.inf)
    return LossOutput(-rows.logsumexp(dim=1) / beta, {"log-probability": batch.policy})
