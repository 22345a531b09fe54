"""Attention of one new token per sequence on a CPU, as two matrix products.

The kernel of PyTorch for longer queries takes about three times as long for one token.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "backtalk_decode"
"""Name of the attention for ``set_attn_implementation`` of transformers."""


def decode_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    dropout: float = 0.0,
    scaling: float | None = None,
    **others: Any,
) -> tuple[Tensor, None]:
    """Attend from one query per sequence; longer queries use the kernel of PyTorch.

    Parameters
    ----------
    module : torch.nn.Module
        Attention layer.
    query : torch.Tensor
        Shape ``(n, heads, new tokens, width)``.
    key, value : torch.Tensor
        Shape ``(n, key heads, tokens, width)``; the number of heads is a multiple of theirs.
    attention_mask : torch.Tensor or None
        Boolean, true where a query sees a key, or added to the scores; broadcasts to
        ``(n, heads, new tokens, tokens)``.
    dropout : float, default 0.0
        Dropout probability of the attention weights.
    scaling : float, optional
        Factor of the scores. Default: one over the root of the width.
    **others
        Further options of the layer.

    Returns
    -------
    tuple
        Output of shape ``(n, new tokens, heads, width)``, and ``None`` for the attention weights.
    """
    special = any(others.get(name) is not None for name in ("softcap", "s_aux", "position_bias"))
    if query.shape[2] != 1 or dropout or special:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **others
        )
    rows, heads, _, width = query.shape
    groups = query.reshape(rows, key.shape[1], heads // key.shape[1], width)
    scores = groups @ key.transpose(2, 3) * (width**-0.5 if scaling is None else scaling)
    if attention_mask is not None:
        # The mask has one row for all heads, or one for each, which are grouped like the queries.
        mask = attention_mask if attention_mask.shape[1] == 1 else attention_mask.view_as(scores)
        if mask.dtype == torch.bool:
            scores = scores.masked_fill(~mask, torch.finfo(scores.dtype).min)
        else:
            scores = scores + mask
    output = scores.softmax(dim=-1) @ value
    return output.reshape(rows, heads, 1, value.shape[-1]).transpose(1, 2), None


AttentionInterface.register(NAME, decode_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)
