"""Unpaired objectives: responses that are labelled good or bad, or scored, without pairs."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.common import log_sigmoid, token_divergence, tree_mean
from backtalk.learn.finetune.option_types import Fraction, NonNegative, Positive
from backtalk.learn.lazy_modules import torch
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

KTO = Paper(
    "KTO: model alignment as prospect theoretic optimization",
    "Ethayarajh et al.",
    2024,
    "https://arxiv.org/abs/2402.01306",
)

BCO = Paper(
    "Binary classifier optimization for large language model alignment",
    "Jung et al.",
    2024,
    "https://arxiv.org/abs/2404.04656",
)

NCA = Paper(
    "Noise contrastive alignment of language models with explicit rewards",
    "Chen et al.",
    2024,
    "https://arxiv.org/abs/2402.05369",
)

PMPO = Paper(
    "Preference optimization as probabilistic inference",
    "Abdolmaleki et al.",
    2024,
    "https://arxiv.org/abs/2410.04166",
)

D2O = Paper(
    "Negating negatives: alignment without human positive samples via distributional "
    "dispreference optimization",
    "Duan et al.",
    2024,
    "https://arxiv.org/abs/2403.03419",
)


def _reward_metrics(reward: Tensor, good: Tensor) -> dict[str, Tensor]:
    """Return the metrics of implicit rewards, ``(B,)``, of good and of bad responses."""
    return {"rewards/chosen": reward[good], "rewards/rejected": reward[~good]}


def _kto_initial_loss(desirable: float, undesirable: float, **_: float) -> float | None:
    return desirable / 2 if desirable == undesirable else None


@objective(
    "kto",
    paper=KTO,
    reduction="response",
    reference=True,
    initial_loss=_kto_initial_loss,
    needs=("label",),
)
def kto(
    batch: Batch,
    *,
    beta: Positive = 0.1,
    desirable: NonNegative = 1.0,
    undesirable: NonNegative = 1.0,
) -> LossOutput:
    """Kahneman-Tversky optimisation: gains and losses of utility against a reference point.

    Loss of a response, with ``r = log pi(y)/pi_ref(y)``::

        desirable (1 - sigmoid(beta (r - z0)))     if it is good
        undesirable (1 - sigmoid(beta (z0 - r)))   if it is bad

    Ethayarajh et al. (2024), equation 8. The reference point z0 estimates the divergence from the
    reference: the mean log-ratio of the KL anchors, which are responses to other prompts, and at
    least 0. It is 0 if the trees have no anchors.

    Parameters
    ----------
    batch : Batch
        Trees of good and bad responses.
    beta : float, default 0.1
        Rate at which utility saturates.
    desirable : float, default 1.0
        Weight lambda_D of good responses.
    undesirable : float, default 1.0
        Weight lambda_U of bad responses. The paper balances the two classes with these weights.
    """
    good = batch.mask("label")
    reference_point = (
        batch.log_ratio.new_zeros(())
        if batch.anchor_log_ratio is None
        else batch.anchor_log_ratio.clamp(min=0)
    )
    utility = beta * (batch.log_ratio - reference_point)
    losses = torch.where(
        good, desirable * torch.sigmoid(-utility), undesirable * torch.sigmoid(utility)
    )
    return LossOutput(
        losses,
        _reward_metrics(beta * batch.log_ratio, good) | {"reference_point": reference_point},
    )


@objective(
    "bco",
    paper=BCO,
    reduction="response",
    reference=True,
    initial_loss=lambda **_: math.log(2),
    needs=("label",),
)
def bco(batch: Batch, *, beta: Positive = 0.1) -> LossOutput:
    """Binary classifier optimisation: logistic classification of good and bad responses.

    Loss of a response, with ``r = beta log pi(y)/pi_ref(y)``::

        -log sigmoid(r - delta)   if it is good
        -log sigmoid(delta - r)   if it is bad
        delta = (E[r | good] + E[r | bad]) / 2

    Jung et al. (2024). The expectations are exponential moving averages over earlier steps. In the
    first step delta is 0, its value where the policy equals the reference. The paper's density
    ratios of the prompts of good and of bad responses can be given as weights of the trees.

    Parameters
    ----------
    batch : Batch
        Trees of good and bad responses.
    beta : float, default 0.1
        Scale of the implicit rewards.
    """
    good = batch.mask("label")
    reward = beta * batch.log_ratio
    rewards = _reward_metrics(reward.detach(), good)
    averages = [batch.ema[name] for name in rewards if name in batch.ema]
    shift = sum(averages) / len(averages) if averages else 0.0
    margin = torch.where(good, reward - shift, shift - reward)
    return LossOutput(
        -log_sigmoid(margin),
        rewards | {"rewards/accuracies": (margin > 0).float()},
        {name: values for name, values in rewards.items() if len(values)},
    )


@objective("pmpo", paper=PMPO, reduction="response", reference=True, needs=("label",))
def pmpo(batch: Batch, *, alpha: Fraction = 0.5, beta: NonNegative = 1.0) -> LossOutput:
    """Preference optimisation as inference: from good responses, from bad ones, or from both.

    Loss of a response::

        -alpha log pi(y) + beta KL(pi_ref || pi)        if it is good
        (1 - alpha) log pi(y) + beta KL(pi_ref || pi)   if it is bad

    Abdolmaleki et al. (2024), the objective with preferred and dispreferred outcomes. The
    divergence is estimated on the tokens of the response and summed; see
    :func:`~.common.token_divergence`. For samples of the reference, of which a share q(y) is good,
    the optimum is ``pi_ref (beta + alpha q - (1 - alpha) (1 - q))``, normalised. ``beta`` must
    therefore exceed ``1 - alpha`` if there are bad responses.

    Parameters
    ----------
    batch : Batch
        Trees of good or bad responses; all may be of one kind.
    alpha : float, default 0.5
        Weight of good responses against bad ones, in [0, 1].
    beta : float, default 1.0
        Weight of the divergence from the reference.
    """
    good = batch.mask("label")
    likelihood = batch.sum(batch.policy)
    divergence = batch.sum(token_divergence(batch))
    losses = torch.where(good, -alpha * likelihood, (1 - alpha) * likelihood) + beta * divergence
    return LossOutput(losses, _reward_metrics(batch.log_ratio, good) | {"divergence": divergence})


@objective(
    "d2o", paper=D2O, reference=True, initial_loss=lambda **_: math.log(2), needs=("is_sample",)
)
def d2o(batch: Batch, *, beta: Positive = 0.1, alpha: Positive = 0.1) -> LossOutput:
    """Distributional dispreference optimisation: bad responses against samples of the model.

    Loss of a tree, with y_l a bad response and y_k one of K samples::

        -log sigmoid(beta/K sum_k log pi(y_k)/pi_ref(y_k) - alpha log pi(y_l)/pi_ref(y_l))

    Duan et al. (2024). Samples have a true ``is_sample``, bad responses a false one. The paper
    allows one reference for samples and another for bad responses; here they are the same. A tree
    with several bad responses has the mean of their losses, one without any has no loss.

    Parameters
    ----------
    batch : Batch
        Trees of bad responses and samples.
    beta : float, default 0.1
        Weight of the samples.
    alpha : float, default 0.1
        Weight of the bad response.
    """
    samples = batch.mask("is_sample")
    sample_mean = beta * tree_mean(batch, batch.log_ratio, samples)[batch.tree_index]
    margin = sample_mean - alpha * batch.log_ratio
    return LossOutput(
        tree_mean(batch, -log_sigmoid(margin), ~samples),
        _reward_metrics(batch.log_ratio, samples)
        | {
            "rewards/margins": margin[~samples],
            "rewards/accuracies": (margin[~samples] > 0).float(),
        },
    )


def _target_distribution(batch: Batch, alpha: float) -> Tensor:
    """Return ``softmax(score / alpha)`` over the responses of each tree, shape ``(T, K)``."""
    scores = batch.by_tree(batch.column("score"), -math.inf)
    if alpha:
        return torch.softmax(scores / alpha, dim=1)
    best = (scores == scores.amax(dim=1, keepdim=True)).to(scores.dtype)
    return best / best.sum(dim=1, keepdim=True)


def _target_metrics(reward: Tensor, targets: Tensor, mask: Tensor) -> dict[str, Tensor]:
    """Return the metrics of implicit rewards of lists.

    Parameters
    ----------
    reward : Tensor
        Implicit rewards, shape ``(T, K)``.
    targets : Tensor
        Target probabilities, shape ``(T, K)``.
    mask : Tensor
        Entries that are no padding, booleans of shape ``(T, K)``.
    """
    means = torch.where(mask, reward, 0.0).sum(dim=1) / mask.sum(dim=1)
    expected = (targets * reward).sum(dim=1)
    return {
        "rewards/target": expected,
        "rewards/mean": means,
        "rewards/margins": expected - means,
    }


@objective(
    "nca",
    paper=NCA,
    reference=True,
    initial_loss=lambda **_: 2 * math.log(2),
    needs=("score",),
)
def nca(batch: Batch, *, beta: Positive = 0.1, alpha: NonNegative = 1.0) -> LossOutput:
    """Noise contrastive alignment: each response against noise, weighted by its score.

    Loss of a tree of K responses, with v the scores and ``r = beta log pi(y)/pi_ref(y)``::

        -sum_i (softmax(v / alpha)_i log sigmoid(r_i) + log sigmoid(-r_i) / K)

    Chen et al. (2024), NCA. With beta = 1 and samples of the reference the optimum is
    ``pi_ref exp(v / alpha)``, normalised. The paper's loss for a pair is that of ``alpha=0`` and
    two responses.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : float, default 0.1
        Scale of the implicit reward.
    alpha : float, default 1.0
        Temperature of the scores; at 0 only the best response counts as data.
    """
    targets = _target_distribution(batch, alpha)
    reward = batch.by_tree(beta * batch.log_ratio, 0.0)
    noise = batch.tree_mask / batch.tree_mask.sum(dim=1, keepdim=True)
    losses = -(targets * log_sigmoid(reward) + noise * log_sigmoid(-reward)).sum(dim=1)
    return LossOutput(losses, _target_metrics(reward, targets, batch.tree_mask))


@objective("infonca", paper=NCA, reference=True, needs=("score",))
def infonca(batch: Batch, *, beta: Positive = 0.1, alpha: NonNegative = 1.0) -> LossOutput:
    """Contrastive alignment within a list: softmax of rewards against softmax of scores.

    Loss of a tree, with v the scores and ``r = beta log pi(y)/pi_ref(y)``::

        -sum_i softmax(v / alpha)_i log softmax(r)_i

    Chen et al. (2024), InfoNCA. Where the policy equals the reference it is log K. With two
    responses and ``alpha=0`` it is ``dpo``.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : float, default 0.1
        Scale of the implicit reward.
    alpha : float, default 1.0
        Temperature of the scores; at 0 only the best response counts.
    """
    targets = _target_distribution(batch, alpha)
    reward = batch.by_tree(beta * batch.log_ratio, 0.0)
    log_shares = torch.log_softmax(torch.where(batch.tree_mask, reward, -math.inf), dim=1)
    losses = -(targets * torch.where(batch.tree_mask, log_shares, 0.0)).sum(dim=1)
    return LossOutput(losses, _target_metrics(reward, targets, batch.tree_mask))
