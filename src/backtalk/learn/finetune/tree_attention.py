"""Attention over packed trees: each response attends to its prompt and to itself.

On a CPU, attention is computed tree by tree, so that only entries between the responses of one tree
are computed and masked. On CUDA, the same mask is a block mask of FlexAttention.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from backtalk.errors import BacktalkError
from backtalk.learn.finetune.packing import TreeSpan

NAME = "backtalk_trees"
"""Name of the attention implementation in transformers."""

_BLOCK = 128


def tree_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    trees: Sequence[tuple[TreeSpan, Tensor | None]] = (),
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend within each tree of a packed row; without trees, as SDPA does.

    Parameters
    ----------
    module : torch.nn.Module
        Attention layer, which defines the number of queries of a key.
    query : Tensor
        Shape ``(1, heads, length, width)``.
    key, value : Tensor
        Shape ``(1, key_heads, length, width)``.
    attention_mask : Tensor or None
        Mask; a single 0 or none if there are trees.
    scaling : float, optional
        Factor of the scores; ``1 / sqrt(width)`` by default.
    dropout : float, default 0.0
        Dropout probability of attention weights in training.
    trees : Sequence[tuple[TreeSpan, Tensor | None]], default ()
        Span of each tree in the row, with the mask of its responses, ``None`` if it has one
        response.
    **others : Any
        Further terms of the scores; not supported with trees.

    Returns
    -------
    tuple
        Output of shape ``(1, length, heads, width)``, and ``None`` for the attention weights.

    Raises
    ------
    BacktalkError
        If the model's attention has terms that trees do not support.
    """
    if not trees:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **others
        )
    for name in ("softcap", "s_aux", "position_bias"):
        if others.get(name) is not None:
            raise BacktalkError(f"Attention with {name} cannot share prompts")
    if attention_mask is not None and attention_mask.numel() > 1:
        # Trees have no mask; the model has made one with terms of its own, as Doge does.
        raise BacktalkError("Attention with a mask of the model's own cannot share prompts")
    dtype = query.dtype
    if query.device.type == "cpu":
        # The backward pass of attention in bfloat16 takes three times as long as in float32.
        query, key, value = query.float(), key.float(), value.float()
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (heads.repeat_interleave(groups, dim=1) for heads in (key, value))
    p = dropout if module.training else 0.0
    sizes = [span.prompt + span.response_tokens for span, _ in trees]
    results: list[Tensor] = []
    # A split has one gradient; a slice for each tree would have one as long as the row.
    parts = [torch.split(tensor, sizes, dim=2) for tensor in (query, key, value)]
    attend = partial(scaled_dot_product_attention, dropout_p=p, scale=scaling)
    with torch.autocast("cpu", enabled=False):
        for q, k, v, (span, mask) in zip(*parts, trees, strict=True):
            if mask is None:
                results.append(attend(q, k, v, is_causal=True))
                continue
            prompt_q, response_q = torch.split(q, [span.prompt, span.response_tokens], dim=2)
            prompt_k, prompt_v = (tensor[:, :, : span.prompt] for tensor in (k, v))
            results += [
                attend(prompt_q, prompt_k, prompt_v, is_causal=True),
                attend(response_q, k, v, attn_mask=mask),
            ]
    return torch.cat(results, dim=2).transpose(1, 2).to(dtype), None


AttentionInterface.register(NAME, tree_attention)


AttentionMaskInterface.register(NAME, sdpa_mask)


def attend_to_trees(model: Any) -> None:
    """Let a model accept packed trees; attention over other input is unchanged."""
    cuda = model.device.type == "cuda"
    model.set_attn_implementation("flex_attention" if cuda else NAME)


def tree_layout(spans: Sequence[TreeSpan], device: torch.device) -> dict[str, Any]:
    """Return the keyword arguments of the model's forward pass for packed trees."""
    if device.type == "cuda":
        return {"attention_mask": _block_mask(spans, device)}
    masks = [
        None if len(span.responses) == 1 else span.mask(torch.float32, device) for span in spans
    ]
    # transformers uses a mask of four dimensions as it is, and makes none for the whole row.
    no_mask = torch.zeros((1, 1, 1, 1), device=device)
    return {"attention_mask": no_mask, "trees": list(zip(spans, masks, strict=True))}


def _block_mask(spans: Sequence[TreeSpan], device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask  # noqa: PLC0415 - slow

    segment, prompt = segment_index(spans)
    segment, prompt = segment.to(device), prompt.to(device)
    length = len(segment)

    def visible(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        same = (segment[key] == segment[query]) | (segment[key] == prompt[query])
        return (key <= query) & same

    return create_block_mask(
        visible, None, None, length, length, device=str(device), BLOCK_SIZE=_BLOCK
    )


def segment_index(spans: Sequence[TreeSpan]) -> tuple[Tensor, Tensor]:
    """Return the segment of each token of a packed row, and the segment of its prompt.

    A segment is a prompt or a response. Both tensors have the length of the row.
    """
    segment: list[Tensor] = []
    prompt: list[Tensor] = []
    count = 0
    for span in spans:
        lengths = torch.tensor([span.prompt, *span.responses])
        segment.append(torch.repeat_interleave(count + torch.arange(len(lengths)), lengths))
        prompt.append(torch.full((int(lengths.sum()),), count))
        count += len(lengths)
    return torch.cat(segment), torch.cat(prompt)
