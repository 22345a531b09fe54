"""Log-probabilities of response tokens, computed in chunks and summed in float32."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from backtalk.learn.finetune.packing import PackedBatch, pack, pad
from backtalk.learn.finetune.tree_attention import attend_to_trees, tree_layout
from backtalk.learn.finetune.trees import PromptTree, ResponseTokens

log = logging.getLogger(__name__)

_CHUNK_LOGITS = 1 << 24
"""Maximum number of logits computed at a time."""
_MAX_SAVED_LOGITS = 1 << 26
"""Maximum number of logits saved for the backward pass; beyond it they are recomputed."""


@dataclass(frozen=True)
class TokenLogProbs:
    """Log-probabilities of response tokens under a model."""

    values: Tensor
    """Log-probability of each token, in nats, float32, shape ``(N,)``."""
    top_k: Tensor | None = None
    """Log-probabilities of the k most probable other tokens, in descending order, ``(N, k)``."""


class LogProbModel(nn.Module):
    """Causal language model that returns log-probabilities of the responses of trees.

    Parameters
    ----------
    model : Any
        Causal language model of transformers.
    share : bool, optional
        If true, each prompt is computed once. Default: determined by a trial. Models with a
        recurrent state or a sliding window cannot share prompts.
    """

    def __init__(self, model: Any, *, share: bool | None = None) -> None:
        super().__init__()
        self.model = model
        parameters = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in parameters
        self.shares_prompts = self._can_share_prompts() if share is None else share
        """True if each prompt is computed once."""
        if self.shares_prompts:
            attend_to_trees(model)

    def forward(self, packed: PackedBatch, top_k: int = 0) -> TokenLogProbs:
        """Return the log-probabilities of the N response tokens of a batch.

        Parameters
        ----------
        packed : PackedBatch
            Packed trees or padded rows.
        top_k : int, default 0
            Number of most probable other tokens to return as well.
        """
        hidden = self._hidden(packed)
        head = self.model.get_output_embeddings()
        config = self.model.config.get_text_config()
        scale = getattr(config, "logit_scale", None) or 1 / (
            getattr(config, "logits_scaling", None) or 1
        )
        result = _TargetLogProbs.apply(  # type: ignore[no-untyped-call]
            hidden.flatten(0, 1)[packed.logit_positions],
            head.weight,
            head.bias,
            packed.targets,
            (float(scale), getattr(config, "final_logit_softcapping", None), top_k),
        )
        return TokenLogProbs(result[:, 0], result[:, 1:] if top_k else None)

    def score(self, trees: Sequence[PromptTree], top_k: int = 0) -> TokenLogProbs:
        """Return the log-probabilities of the response tokens of trees, in their order.

        Parameters
        ----------
        trees : sequence of PromptTree
            Trees with N response tokens.
        top_k : int, default 0
            Number of most probable other tokens to return as well.
        """
        scored: TokenLogProbs = self(self.collate(trees), top_k)
        return scored

    def collate(self, trees: Sequence[PromptTree]) -> PackedBatch:
        """Return trees as input of :meth:`forward`, on the model's device."""
        return (pack if self.shares_prompts else pad)(trees).to(self.model.device)

    def _hidden(self, packed: PackedBatch) -> Tensor:
        """Return the last hidden states, shape ``(rows, columns, width)``."""
        inputs: dict[str, Any] = {"input_ids": packed.tokens, "use_cache": False}
        if self._takes_positions:
            inputs["position_ids"] = packed.positions
        body = self.model.base_model
        if not packed.tree_spans:
            layout: dict[str, Any] = {"attention_mask": packed.padding}
        else:
            layout = tree_layout(packed.tree_spans, packed.tokens.device)
        hidden: Tensor = body(**inputs, **layout).last_hidden_state
        return hidden

    @torch.no_grad()
    def _can_share_prompts(self) -> bool:
        """Return whether packed trees and padded rows give the same log-probabilities."""
        config = self.model.config.get_text_config()
        layers = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = getattr(config, "sliding_window", None) and getattr(
            config, "use_sliding_window", True
        )
        if not self._takes_positions or layers != {"full_attention"} or window:
            return False
        max_id = max(min(config.vocab_size, 50) - 1, 1)
        responses = tuple(
            ResponseTokens(tuple(i * j % max_id for i in range(1, 4 + j))) for j in (1, 2, 3)
        )
        trial = [PromptTree(tuple(i % max_id for i in range(5)), responses)] * 2
        training = self.model.training
        attention = self.model.config._attn_implementation  # noqa: SLF001 - it has no other name
        self.model.eval()
        try:
            attend_to_trees(self.model)
            packed, rows = pack(trial).to(self.model.device), pad(trial).to(self.model.device)
            difference = (self(packed).values - self(rows).values).abs().max().item()
        except Exception as error:  # noqa: BLE001 - padded rows support every model
            log.warning("Prompts are not shared: %s", error)
            return False
        finally:
            self.model.set_attn_implementation(attention)
            self.model.train(training)
        tolerance = 1e-3 if self.model.dtype == torch.float32 else 0.1
        if difference > tolerance:
            log.warning("Prompts are not shared: log-probabilities differ by %.3g", difference)
        return bool(difference <= tolerance)


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
