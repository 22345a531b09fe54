"""The one way to log-probabilities: of response tokens only, in chunks, summed in float32."""

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

_CHUNK = 1 << 24
"""How many logits are computed at once."""
_KEPT = 1 << 26
"""How many probabilities are kept for the gradient; beyond it they are computed again."""


@dataclass(frozen=True)
class TokenLogProbs:
    """What a model says of response tokens."""

    values: Tensor
    """The log-probability of each, in nats, float32, shape ``(N,)``."""
    rivals: Tensor | None = None
    """Those of the most probable other tokens in its place, best first, shape ``(N, rivals)``."""


class LogProbModel(nn.Module):
    """A causal language model that is asked for the log-probabilities of trees.

    Parameters
    ----------
    model : Any
        A causal model of transformers.
    share : bool, optional
        Whether each prompt is computed once. Found out by a trial where it is left out: models
        with a state or with a sliding window cannot.
    """

    def __init__(self, model: Any, *, share: bool | None = None) -> None:
        super().__init__()
        self.model = model
        takes = inspect.signature(model.forward).parameters
        self._positions = "position_ids" in takes
        self.shares = self._can_share() if share is None else share
        """Whether each prompt is computed once."""
        if self.shares:
            attend_to_trees(model)

    def forward(self, packed: PackedBatch, top_k: int = 0) -> TokenLogProbs:
        """Return what the model says of the response tokens of packed trees or padded rows."""
        hidden = self._hidden(packed)
        head = self.model.get_output_embeddings()
        config = self.model.config.get_text_config()
        scale = getattr(config, "logit_scale", None) or 1 / (
            getattr(config, "logits_scaling", None) or 1
        )
        result = _LogProbabilities.apply(  # type: ignore[no-untyped-call]
            hidden.flatten(0, 1)[packed.logit_positions],
            head.weight,
            head.bias,
            packed.targets,
            (float(scale), getattr(config, "final_logit_softcapping", None), top_k),
        )
        return TokenLogProbs(result[:, 0], result[:, 1:] if top_k else None)

    def score(self, trees: Sequence[PromptTree], rivals: int = 0) -> TokenLogProbs:
        """Return what the model says of the response tokens of trees, in their order."""
        scored: TokenLogProbs = self(self.laid_out(trees), rivals)
        return scored

    def laid_out(self, trees: Sequence[PromptTree]) -> PackedBatch:
        """Return trees as :meth:`forward` wants them."""
        return (pack if self.shares else pad)(trees).to(self.model.device)

    def _hidden(self, packed: PackedBatch) -> Tensor:
        given: dict[str, Any] = {"input_ids": packed.tokens, "use_cache": False}
        if self._positions:
            given["position_ids"] = packed.positions
        body = self.model.base_model
        if not packed.tree_spans:
            layout: dict[str, Any] = {"attention_mask": packed.padding}
        else:
            layout = tree_layout(packed.tree_spans, packed.tokens.device)
        hidden: Tensor = body(**given, **layout).last_hidden_state
        return hidden

    @torch.no_grad()
    def _can_share(self) -> bool:
        config = self.model.config.get_text_config()
        layers = set(getattr(config, "layer_types", None) or ["full_attention"])
        window = getattr(config, "sliding_window", None) and getattr(
            config, "use_sliding_window", True
        )
        if not self._positions or layers != {"full_attention"} or window:
            return False
        few = max(min(config.vocab_size, 50) - 1, 1)
        branches = tuple(
            ResponseTokens(tuple(i * j % few for i in range(1, 4 + j))) for j in (1, 2, 3)
        )
        trial = [PromptTree(tuple(i % few for i in range(5)), branches)] * 2
        training = self.model.training
        default = self.model.config._attn_implementation  # noqa: SLF001 - it has no other name
        self.model.eval()
        try:
            attend_to_trees(self.model)
            packed, rows = pack(trial).to(self.model.device), pad(trial).to(self.model.device)
            away = (self(packed).values - self(rows).values).abs().max().item()
        except Exception as error:  # noqa: BLE001 - whatever a model does not know, rows do
            log.warning("prompts are not shared: %s", error)
            return False
        finally:
            self.model.set_attn_implementation(default)
            self.model.train(training)
        close = 1e-3 if self.model.dtype == torch.float32 else 0.1
        if away > close:
            log.warning("prompts are not shared: log-probabilities differ by %.3g", away)
        return bool(away <= close)


class _LogProbabilities(torch.autograd.Function):
    """``log softmax(head(hidden))`` at the targets, without ever holding all logits at once.

    The gradient with respect to the logits is ``onehot(target) - softmax``, so nothing but the
    probabilities is needed for it; they are kept where they are few, else computed again.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - the arguments of apply have no names
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        targets: Tensor,
        how: tuple[float, float | None, int],
    ) -> Tensor:
        """Return shape ``(N, 1 + rivals)``: the target's, then those of its rivals."""
        _, softcap, rivals = how
        kind = hidden.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else hidden.dtype
        cast = weight.to(dtype)
        rows = max(_CHUNK // len(weight), 1)
        keep = len(hidden) * len(weight) <= _KEPT
        kept, values, wanted = [], [], []
        with torch.autocast(kind, enabled=False):
            for start in range(0, len(hidden), rows):
                logits = _logits(hidden[start : start + rows].to(dtype), cast, bias, how)
                aim = targets[start : start + rows, None]
                if rivals:
                    best = logits.scatter(1, aim, -torch.inf).topk(rivals, dim=1).indices
                    aim = torch.cat([aim, best], dim=1)
                aimed = logits.gather(1, aim)
                bent = None if softcap is None or not keep else 1 - (logits / softcap) ** 2
                odds, top, total = _odds(logits)
                values.append(aimed - top - total.log())
                wanted.append(aim)
                if keep:
                    kept.append((odds, total, bent))
        ctx.save_for_backward(hidden, weight, bias, torch.cat(wanted))
        ctx.kept, ctx.how, ctx.rows, ctx.dtype = kept, how, rows, dtype
        return torch.cat(values)

    @staticmethod
    def backward(
        ctx: Any, slopes: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None]:
        """Return the gradients with respect to the hidden states, the weight and the bias."""
        hidden, weight, bias, aims = ctx.saved_tensors
        scale, softcap, _ = ctx.how
        cast = weight.to(ctx.dtype)
        needs_hidden, needs_weight, needs_bias = ctx.needs_input_grad[:3]
        for_hidden = torch.empty_like(hidden) if needs_hidden else None
        for_weight = torch.zeros_like(weight) if needs_weight else None
        for_bias = torch.zeros_like(bias) if needs_bias and bias is not None else None
        with torch.autocast(hidden.device.type, enabled=False):
            for i, start in enumerate(range(0, len(hidden), ctx.rows)):
                place = slice(start, start + ctx.rows)
                states = hidden[place].to(ctx.dtype)
                if ctx.kept:
                    odds, total, bent = ctx.kept[i]
                else:
                    logits = _logits(states, cast, bias, ctx.how)
                    bent = None if softcap is None else 1 - (logits / softcap) ** 2
                    odds, _, total = _odds(logits)
                slope = slopes[place]
                back = odds.mul_(-slope.sum(dim=1, keepdim=True) / total)
                back.scatter_add_(1, aims[place], slope)
                if bent is not None:
                    back *= bent
                back = (back if scale == 1 else back * scale).to(ctx.dtype)
                if for_hidden is not None:
                    for_hidden[place] = back @ cast
                if for_weight is not None:
                    for_weight += back.t() @ states
                if for_bias is not None:
                    for_bias += back.sum(dim=0)
        ctx.kept = []
        return for_hidden, for_weight, for_bias, None, None


def _odds(logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return ``exp(logits - top)`` in the place of the logits, with the top and the sum of it."""
    top = logits.amax(dim=1, keepdim=True)
    odds = logits.sub_(top).exp_()
    return odds, top, odds.sum(dim=1, keepdim=True)


def _logits(
    states: Tensor, weight: Tensor, bias: Tensor | None, how: tuple[float, float | None, int]
) -> Tensor:
    scale, softcap, _ = how
    logits = nn.functional.linear(states, weight, None if bias is None else bias.to(weight.dtype))
    logits = logits.float()
    if scale != 1:
        logits = logits * scale
    return logits if softcap is None else softcap * torch.tanh(logits / softcap)
