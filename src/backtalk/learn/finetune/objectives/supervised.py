"""Supervised objectives: weighted log-likelihood of responses, and contrasts to it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import token_divergence, tree_mean
from backtalk.learn.finetune.option_types import (
    Fraction,
    NonNegative,
    Positive,
    PositiveFraction,
)
from backtalk.learn.lazy_modules import torch
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

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
    """Supervised fine-tuning: negative log-likelihood of each response token.

    Loss of a token::

        -log pi(y_t)

    Ouyang et al. (2022), section 3.5, step 1.
    """
    return LossOutput(-batch.policy, {"logps": batch.policy})


@objective("superhf", paper=SUPERHF, reduction="token", reference=True)
def superhf(batch: Batch, *, beta: NonNegative = 0.3) -> LossOutput:
    """SuperHF: likelihood of samples that a reward has selected, with a penalty to the reference.

    Loss of a token::

        -log pi(y_t) + beta KL(pi_ref || pi)

    Mukobi et al. (2023). The responses of the batch are the selected samples. The divergence is
    estimated on their tokens; see :func:`~.common.token_divergence`.

    Parameters
    ----------
    batch : Batch
        Trees of selected samples.
    beta : float, default 0.3
        Weight of the divergence from the reference.
    """
    divergence = token_divergence(batch)
    return LossOutput(
        beta * divergence - batch.policy, {"logps": batch.policy, "divergence": divergence}
    )


@objective("weak-to-strong", paper=WEAK_TO_STRONG, reduction="token", top_k=1)
def weak_to_strong(batch: Batch, *, alpha: Fraction = 0.5) -> LossOutput:
    """Weak-to-strong confidence loss: labels of a weak supervisor and the model's own predictions.

    Loss of a token, with y_t the supervisor's token and best the policy's most probable one::

        -(1 - alpha) log pi(y_t) - alpha log pi(best)

    Burns et al. (2023), the auxiliary confidence loss. The most probable token is a fixed label.
    The paper raises ``alpha`` from 0 in the first steps of the training.

    Parameters
    ----------
    batch : Batch
        Trees of the supervisor's responses, and the most probable other token.
    alpha : float, default 0.5
        Weight of the model's own predictions, in [0, 1].

    Raises
    ------
    BacktalkError
        If the batch has no log-probabilities of other tokens.
    """
    if batch.top_k is None:
        raise BacktalkError(
            "weak-to-strong needs log-probabilities of the most probable other token",
            "Give the batch top_k, of shape (N, 1)",
        )
    runner_up = batch.top_k[:, 0]
    agrees = batch.policy >= runner_up
    best = torch.where(agrees, batch.policy, runner_up)
    losses = -(1 - alpha) * batch.policy - alpha * best
    return LossOutput(losses, {"logps": batch.policy, "agreement": agrees.float()})


@objective("unlikelihood", paper=UNLIKELIHOOD, reduction="token", needs=("label",))
def unlikelihood(batch: Batch, *, alpha: NonNegative = 1.0) -> LossOutput:
    """Unlikelihood: likelihood of good responses, unlikelihood of the tokens of bad ones.

    Loss of a token::

        -log pi(y_t)              in a good response
        -alpha log(1 - pi(y_t))   in a bad response

    Welleck et al. (2020), with the tokens of the bad response as negative candidates.

    Parameters
    ----------
    batch : Batch
        Trees of good and bad responses.
    alpha : float, default 1.0
        Weight of the tokens of bad responses.
    """
    good = batch.mask("label")[batch.response_index]
    # The loss of a probability that rounds to 1 would be infinite, and so would its gradient.
    unlikely = -torch.log(-torch.expm1(batch.policy.clamp(max=-1e-6)))
    return LossOutput(
        torch.where(good, -batch.policy, alpha * unlikely),
        {"logps/chosen": batch.policy[good], "logps/rejected": batch.policy[~good]},
    )


@objective(
    "dft",
    paper=DFT,
    reference=True,
    needs=("is_demonstration",),
    optional={"tree.log_normaliser": math.nan},
)
def dft(batch: Batch, *, temperature: Positive = 1.0, rate: PositiveFraction = 1.0) -> LossOutput:
    """Discriminative fine-tuning: a demonstration against samples of the model.

    Loss of a tree, with ``s = log pi``, y the demonstration and y_k one of m samples::

        -s(y) + temperature log (1/m) sum_k exp(s(y_k) / temperature) / pi_ref(y_k)

    Guo et al. (2025), section 4. The samples are responses of the reference, with a false
    ``is_demonstration``.

    Parameters
    ----------
    batch : Batch
        Trees of demonstrations and samples.
    temperature : float, default 1.0
        Temperature tau of the scores.
    rate : float, default 1.0
        Weight of this step's samples in the moving average of the normaliser, in (0, 1].
    """
    score = batch.sum(batch.policy)
    proposal = batch.sum(batch.reference_or_error)
    return _discriminative_loss(batch, score, proposal, temperature=temperature, rate=rate)


@objective(
    "dft2",
    paper=DFT,
    needs=("is_demonstration",),
    optional={"tree.log_normaliser": math.nan},
)
def dft2(batch: Batch, *, temperature: Positive = 0.3, rate: PositiveFraction = 1.0) -> LossOutput:
    """Discriminative fine-tuning without a reference, on mean log-likelihoods.

    Loss of a tree, with ``s = log pi(y) / |y|``, y the demonstration and y_k one of m samples::

        -s(y) + temperature log (1/m) sum_k exp(s(y_k) / temperature)

    Guo et al. (2025), section 5.

    Parameters
    ----------
    batch : Batch
        Trees of demonstrations and samples.
    temperature : float, default 0.3
        Temperature tau of the scores.
    rate : float, default 1.0
        Weight of this step's samples in the moving average of the normaliser, in (0, 1].
    """
    score = batch.mean(batch.policy)
    proposal = torch.zeros_like(score)
    return _discriminative_loss(batch, score, proposal, temperature=temperature, rate=rate)


def _discriminative_loss(
    batch: Batch, score: Tensor, proposal: Tensor, *, temperature: float, rate: float
) -> LossOutput:
    """Return ``-s(y) + tau log Z`` of each tree, with Z estimated from its samples.

    A tree's ``log_normaliser`` is log Z of earlier steps. The moving average
    ``(1 - rate) Z_before + rate Z_now`` divides the gradient, so that few samples do not bias it.
    The loss is the tangent of the logarithm there, an upper bound, and log Z itself in the first
    step. A tree without samples has the first term only, one without demonstrations the second.

    Parameters
    ----------
    batch : Batch
        Trees of demonstrations and samples.
    score : Tensor
        s of each response, shape ``(B,)``.
    proposal : Tensor
        Log-probability with which each response was sampled, shape ``(B,)``.
    temperature : float
        tau.
    rate : float
        Weight of the current samples in the moving average.
    """
    demonstrations = batch.mask("is_demonstration")
    demonstrated = tree_mean(batch, score, demonstrations)
    log_weights = batch.by_tree(score / temperature - proposal, -math.inf)
    is_sample = batch.tree_mask & ~batch.by_tree(demonstrations, fill=True)
    count = is_sample.sum(dim=1)
    # A row without any finite entry would have a gradient that is not a number.
    fill = torch.where(count > 0, -math.inf, 0.0)[:, None]
    now = torch.where(is_sample, log_weights, fill).logsumexp(dim=1) - count.clamp(min=1).log()
    average, before = now, batch.column("tree.log_normaliser")
    if rate < 1:
        moving = torch.logaddexp(before + math.log1p(-rate), now + math.log(rate))
        average = torch.where(before.isnan(), now, moving)
    average = average.detach()
    normaliser = temperature * (average + torch.exp(now - average) - 1)
    return LossOutput(
        torch.where(count > 0, normaliser, 0.0) - demonstrated,
        {
            "log_normaliser": average[count > 0],
            "scores/demonstrations": score[demonstrations],
            "scores/samples": score[~demonstrations],
        },
    )


@objective("beta-mml", paper=SELF_SAMPLED, reduction="tree")
def beta_mml(batch: Batch, *, beta: PositiveFraction = 0.25) -> LossOutput:
    """Marginal likelihood of several solutions: at least one of them should be probable.

    Loss of a tree::

        -(1/beta) log sum_y pi(y|x)^beta

    Ni et al. (2023). ``beta = 1`` is maximum marginal likelihood, whose gradient goes to the most
    probable solution. A smaller beta spreads the gradient over all solutions.

    Parameters
    ----------
    batch : Batch
        Trees of correct solutions.
    beta : float, default 0.25
        Exponent of the probabilities, in (0, 1].
    """
    likelihood = batch.sum(batch.policy)
    rows = batch.by_tree(beta * likelihood, -torch.inf)
    return LossOutput(-rows.logsumexp(dim=1) / beta, {"logps": batch.policy})
