"""Log-probabilities of tokens from the states before an output layer, computed in chunks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

_CHUNK_LOGITS = 1 << 24
"""Maximum number of logits computed at a time."""
_MAX_SAVED_LOGITS = 1 << 26
"""Maximum number of logits saved for the backward pass; beyond it they are recomputed."""


class _TargetLogProbs(torch.autograd.Function):
    """``log softmax(head(hidden))`` at the targets, without the logits of all tokens in memory.

    The gradient with respect to the logits is ``onehot(target) - softmax``. Its only input, the
    softmax, is saved if it is small, and recomputed otherwise.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - the arguments of apply have no names
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        head: tuple[float, float | None, int],
    ) -> Tensor:
        """Return log-probabilities of the target and of the top k others, ``(N, 1 + k)``."""
        _, softcap, top_k = head
        device = hidden.device.type
        dtype = (
            torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else hidden.dtype
        )
        cast_weight = weight.to(dtype)
        chunk = max(_CHUNK_LOGITS // len(weight), 1)
        save = len(hidden) * len(weight) <= _MAX_SAVED_LOGITS
        saved, values, indices = [], [], []
        with torch.autocast(device, enabled=False):
            for start in range(0, len(hidden), chunk):
                logits = _logits(hidden[start : start + chunk].to(dtype), cast_weight, bias, head)
                index = targets[start : start + chunk, None]
                if top_k:
                    best = logits.scatter(1, index, -torch.inf).topk(top_k, dim=1).indices
                    index = torch.cat([index, best], dim=1)
                selected = logits.gather(1, index)
                softcap_grad = (
                    None if softcap is None or not save else _softcap_grad(logits, softcap)
                )
                exp_logits, maximum, total = _exp_logits(logits)
                values.append(selected - maximum - total.log())
                indices.append(index)
                if save:
                    saved.append((exp_logits, total, softcap_grad))
        ctx.save_for_backward(hidden, weight, bias, torch.cat(indices))
        ctx.saved, ctx.head, ctx.chunk, ctx.dtype = saved, head, chunk, dtype
        return torch.cat(values)

    @staticmethod
    def backward(
        ctx: Any, grad_output: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Return the gradients with respect to the hidden states, the weight and the bias."""
        hidden, weight, bias, indices = ctx.saved_tensors
        scale, softcap, _ = ctx.head
        cast_weight = weight.to(ctx.dtype)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        grad_hidden = torch.empty_like(hidden) if needs_hidden else None
        grad_weight = torch.zeros_like(weight) if needs_weight else None
        grad_bias = torch.zeros_like(bias) if needs_bias and bias is not None else None
        with torch.autocast(hidden.device.type, enabled=False):
            for i, start in enumerate(range(0, len(hidden), ctx.chunk)):
                rows = slice(start, start + ctx.chunk)
                states = hidden[rows].to(ctx.dtype)
                if ctx.saved:
                    exp_logits, total, softcap_grad = ctx.saved[i]
                else:
                    logits = _logits(states, cast_weight, bias, ctx.head)
                    softcap_grad = None if softcap is None else _softcap_grad(logits, softcap)
                    exp_logits, _, total = _exp_logits(logits)
                grad = grad_output[rows]
                grad_logits = exp_logits.mul_(-grad.sum(dim=1, keepdim=True) / total)
                grad_logits.scatter_add_(1, indices[rows], grad)
                if softcap_grad is not None:
                    grad_logits *= softcap_grad
                grad_logits = (grad_logits if scale == 1 else grad_logits * scale).to(ctx.dtype)
                if grad_hidden is not None:
                    grad_hidden[rows] = grad_logits @ cast_weight
                if grad_weight is not None:
                    grad_weight += grad_logits.t() @ states
                if grad_bias is not None:
                    grad_bias += grad_logits.sum(dim=0)
        ctx.saved = []
        return grad_hidden, grad_weight, grad_bias, None, None


def _exp_logits(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``exp(logits - maximum)``, computed in place, with the maxima and the row sums."""
    maximum = logits.amax(dim=1, keepdim=True)
    exp_logits = logits.sub_(maximum).exp_()
    return exp_logits, maximum, exp_logits.sum(dim=1, keepdim=True)


def _softcap_grad(logits: Tensor, softcap: float) -> Tensor:
    """Return the derivative of ``softcap tanh(x / softcap)``, from its values."""
    return 1 - (logits / softcap) ** 2


def _logits(
    states: Tensor, weight: Tensor, bias: Tensor | None, head: tuple[float, float | None, int]
) -> Tensor:
    scale, softcap, _ = head
    logits = nn.functional.linear(states, weight, None if bias is None else bias.to(weight.dtype))
    logits = logits.float()
    if scale != 1:
        logits = logits * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)


def linear_log_probs(
    states: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    targets: Tensor,
    *,
    scale: float = 1.0,
    softcap: float | None = None,
    top_k: int = 0,
) -> Tensor:
    """Return log-probabilities of the target and of the top k others, ``(N, 1 + k)``.

    The logits are ``scale * (weight @ state + bias)``, limited by the softcap.

    Parameters
    ----------
    states : Tensor
        States, shape ``(N, width)``.
    weight : Tensor
        Shape ``(vocabulary, width)``.
    bias : Tensor or None
        Shape ``(vocabulary,)``.
    targets : Tensor
        Token ids, shape ``(N,)``.
    scale : float, default 1.0
        Factor of the logits.
    softcap : float, optional
        Logits are ``softcap * tanh(logits / softcap)``.
    top_k : int, default 0
        Number of most probable other tokens.
    """
    result: Tensor = _TargetLogProbs.apply(  # type: ignore[no-untyped-call]
        states, weight, bias, targets, (scale, softcap, top_k)
    )
    return result


def log_probs_from_logits(
    compute: Callable[[Tensor], Tensor],
    states: Tensor,
    targets: Tensor,
    *,
    top_k: int,
    vocabulary: int,
) -> Tensor:
    """Return log-probabilities of the target and of the top k others, ``(N, 1 + k)``.

    Gradients are those of automatic differentiation. Logits are computed in chunks, and again for
    the backward pass if they are many.

    Parameters
    ----------
    compute : Callable
        Returns the logits of states, ``(n, vocabulary)`` from ``(n, width)``.
    states : Tensor
        States, shape ``(N, width)``.
    targets : Tensor
        Token ids, shape ``(N,)``.
    top_k : int
        Number of most probable other tokens.
    vocabulary : int
        Number of logits of a token.
    """

    def selected(part: Tensor, index: Tensor) -> Tensor:
        logits = compute(part).float()
        if top_k:
            others = logits.detach().scatter(1, index, -torch.inf)
            index = torch.cat([index, others.topk(top_k, dim=1).indices], dim=1)
        return logits.gather(1, index) - logits.logsumexp(dim=1, keepdim=True)

    chunk = max(_CHUNK_LOGITS // vocabulary, 1)
    recompute = torch.is_grad_enabled() and len(states) * vocabulary > _MAX_SAVED_LOGITS
    values = []
    for start in range(0, len(states), chunk):
        part, index = states[start : start + chunk], targets[start : start + chunk, None]
        values.append(
            checkpoint(selected, part, index, use_reentrant=False)
            if recompute
            else selected(part, index)
        )
    return torch.cat(values)
