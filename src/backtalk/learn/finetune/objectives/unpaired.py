"""Objectives over responses that are each good or bad, or scored, without being compared."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from backtalk.learn.finetune.lazy_torch import torch
from backtalk.learn.finetune.objective import Batch, LossOutput, objective
from backtalk.learn.finetune.objectives.supervised import divergence, tree_mean
from backtalk.learn.method import Paper

if TYPE_CHECKING:
    from torch import Tensor

Beta = Annotated[float, Field(gt=0)]
Factor = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, le=1)]

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


def _log_sigmoid(x: Tensor) -> Tensor:
    return torch.nn.functional.logsigmoid(x)


def _good(batch: Batch) -> Tensor:
    """Return which responses are good, booleans of shape ``(B,)``."""
    return batch.value > 0.5


def _rewards(reward: Tensor, good: Tensor) -> dict[str, Tensor]:
    """Return what to report of the implicit rewards of responses."""
    return {"reward good": reward[good], "reward bad": reward[~good]}


def _kto_start(desirable: float, undesirable: float, **_: float) -> float | None:
    return desirable / 2 if desirable == undesirable else None


@objective(
    "kto",
    paper=KTO,
    reduction="branch",
    reference=True,
    initial_loss=_kto_start,
)
def kto(
    batch: Batch, *, beta: Beta = 0.1, desirable: Factor = 1.0, undesirable: Factor = 1.0
) -> LossOutput:
    """Kahneman-Tversky optimisation: gains and losses of utility against a reference point.

    ``lambda_D (1 - sigmoid(beta (r - z0)))`` for a good response, of value 1, and
    ``lambda_U (1 - sigmoid(beta (z0 - r)))`` for a bad one, of value 0, with
    ``r = log pi(y)/pi_ref(y)``; Ethayarajh et al. (2024), equation 8. The reference point z0 is the
    divergence from the reference, ``max(0, batch.pooled)``: the mean log-ratio of responses to
    other prompts. It is 0 where the trees have no such anchors.

    Parameters
    ----------
    batch : Batch
        Responses that are good or bad.
    beta : Beta, default 0.1
        How fast utility saturates.
    desirable : Factor, default 1.0
        lambda_D, the weight of good responses.
    undesirable : Factor, default 1.0
        lambda_U, the weight of bad ones; the paper balances the two classes by these weights.
    """
    good = _good(batch)
    point = (
        batch.log_ratio.new_zeros(())
        if batch.anchor_log_ratio is None
        else batch.anchor_log_ratio.clamp(min=0)
    )
    utility = beta * (batch.log_ratio - point)
    losses = torch.where(
        good, desirable * torch.sigmoid(-utility), undesirable * torch.sigmoid(utility)
    )
    return LossOutput(losses, _rewards(beta * batch.log_ratio, good) | {"reference point": point})


@objective(
    "bco", paper=BCO, reduction="branch", reference=True, initial_loss=lambda **_: math.log(2)
)
def bco(batch: Batch, *, beta: Beta = 0.1) -> LossOutput:
    """Binary classifier optimisation: tell good from bad responses by the implicit reward.

    ``-log sigmoid(r - delta)`` for a good response, of value 1, and ``-log sigmoid(delta - r)`` for
    a bad one, of value 0, with ``r = beta log pi(y)/pi_ref(y)`` and the reward shift
    ``delta = (E[r | good] + E[r | bad]) / 2``; Jung et al. (2024). The means are running
    means over the steps before; in the first step delta is 0, which it is where the policy
    is the reference. The paper's density ratios between the prompts of good and of bad responses
    belong in the weights of the trees.
    """
    good = _good(batch)
    reward = beta * batch.log_ratio
    means = {"reward good": reward[good].detach(), "reward bad": reward[~good].detach()}
    known = [batch.ema[name] for name in means if name in batch.ema]
    shift = sum(known) / len(known) if known else 0.0
    margin = torch.where(good, reward - shift, shift - reward)
    return LossOutput(
        -_log_sigmoid(margin),
        means | {"accuracy": (margin > 0).float()},
        {name: values for name, values in means.items() if len(values)},
    )


@objective("pmpo", paper=PMPO, reduction="branch", reference=True)
def pmpo(batch: Batch, *, alpha: Fraction = 0.5, beta: Factor = 1.0) -> LossOutput:
    """Preference optimisation as inference: from good responses, from bad ones, or from both.

    ``-alpha log pi(y)`` for a good response, of value 1, ``(1 - alpha) log pi(y)`` for a bad one,
    of value 0, and ``beta KL(pi_ref || pi)`` for each; Abdolmaleki et al. (2024), the objective
    with both preferred and dispreferred outcomes. The divergence is summed over the tokens of the
    response, where it is estimated; see :func:`~.supervised.divergence`. Where the responses are
    samples of the reference, of which a share q(y) is called good, the optimum is
    ``pi_ref (beta + alpha q - (1 - alpha) (1 - q))``, normalised; so ``beta`` has to be above
    ``1 - alpha`` where there are bad responses.

    Parameters
    ----------
    batch : Batch
        Responses that are good or bad; all may be of one kind.
    alpha : Fraction, default 0.5
        How much good responses count against bad ones.
    beta : Factor, default 1.0
        How strongly the policy is held near the reference.
    """
    good = _good(batch)
    likelihood = batch.sum(batch.policy)
    prior = batch.sum(divergence(batch))
    losses = torch.where(good, -alpha * likelihood, (1 - alpha) * likelihood) + beta * prior
    return LossOutput(losses, _rewards(batch.log_ratio, good) | {"divergence": prior})


@objective("d2o", paper=D2O, reference=True, initial_loss=lambda **_: math.log(2))
def d2o(batch: Batch, *, beta: Beta = 0.1, alpha: Beta = 0.1) -> LossOutput:
    """Distributional dispreference optimisation: a bad response against the model's own samples.

    ``-log sigmoid(beta/K sum_k log pi(y_k)/pi_ref(y_k) - alpha log pi(y_l)/pi_ref(y_l))``, with
    ``y_l`` the response that people rejected, of value 0, and ``y_k`` K samples of the model, of
    value 1; Duan et al. (2024). The paper allows for two references, one a sample is measured by
    and one a rejected response is; here they are the same. A tree with several rejected responses
    has the mean of their losses, one with none has no loss.

    Parameters
    ----------
    batch : Batch
        Trees of rejected responses and samples.
    beta : Beta, default 0.1
        The weight of the samples.
    alpha : Beta, default 0.1
        The weight of the rejected response.
    """
    sampled = _good(batch)
    gained = beta * tree_mean(batch, batch.log_ratio, sampled)[batch.tree]
    margin = gained - alpha * batch.log_ratio
    return LossOutput(
        tree_mean(batch, -_log_sigmoid(margin), ~sampled),
        _rewards(batch.log_ratio, sampled)
        | {"reward margin": margin[~sampled], "accuracy": (margin[~sampled] > 0).float()},
    )


def _targets(batch: Batch, alpha: float) -> Tensor:
    """Return ``softmax(value / alpha)`` over the responses of each tree, shape ``(T, K)``."""
    values = batch.lists(batch.value, -math.inf)
    if alpha:
        return torch.softmax(values / alpha, dim=1)
    best = (values == values.amax(dim=1, keepdim=True)).to(values.dtype)
    return best / best.sum(dim=1, keepdim=True)


def _by_target(reward: Tensor, targets: Tensor, present: Tensor) -> dict[str, Tensor]:
    """Return what to report of the implicit rewards of lists."""
    means = torch.where(present, reward, 0.0).sum(dim=1) / present.sum(dim=1)
    expected = (targets * reward).sum(dim=1)
    return {"reward target": expected, "reward mean": means, "reward margin": expected - means}


@objective("nca", paper=NCA, reference=True, initial_loss=lambda **_: 2 * math.log(2))
def nca(batch: Batch, *, beta: Beta = 0.1, alpha: Factor = 1.0) -> LossOutput:
    """Noise contrastive alignment: each response against noise, by its score.

    ``-sum_i (softmax(v / alpha)_i log sigmoid(r_i) + log sigmoid(-r_i) / K)`` over the K responses
    of a tree, with v their values and ``r = beta log pi(y)/pi_ref(y)``; Chen et al. (2024),
    NCA. With beta = 1 and samples of the reference the optimum is ``pi_ref exp(v / alpha)``,
    normalised. The paper's loss for a pair is that of ``alpha=0`` and two responses.

    Parameters
    ----------
    batch : Batch
        Trees of scored responses.
    beta : Beta, default 0.1
        The scale of the implicit reward.
    alpha : Factor, default 1.0
        The temperature of the scores; with 0 only the best response counts as data.
    """
    targets = _targets(batch, alpha)
    reward = batch.lists(beta * batch.log_ratio, 0.0)
    noise = batch.present / batch.present.sum(dim=1, keepdim=True)
    losses = -(targets * _log_sigmoid(reward) + noise * _log_sigmoid(-reward)).sum(dim=1)
    return LossOutput(losses, _by_target(reward, targets, batch.present))


@objective("infonca", paper=NCA, reference=True)
def infonca(batch: Batch, *, beta: Beta = 0.1, alpha: Factor = 1.0) -> LossOutput:
    """Contrastive alignment within a list: the softmax of the implicit rewards is that of scores.

    ``-sum_i softmax(v / alpha)_i log softmax(r)_i`` over the responses of a tree, with v their
    values and ``r = beta log pi(y)/pi_ref(y)``; Chen et al. (2024), InfoNCA. Where the policy is
    the reference it is log K. With two responses and ``alpha=0`` it is ``dpo``.
    """
    targets = _targets(batch, alpha)
    reward = batch.lists(beta * batch.log_ratio, 0.0)
    shares = torch.log_softmax(torch.where(batch.present, reward, -math.inf), dim=1)
    losses = -(targets * torch.where(batch.present, shares, 0.0)).sum(dim=1)
    return LossOutput(losses, _by_target(reward, targets, batch.present))
