"""Attention over packed trees: a response sees its prompt and itself, and nothing else.

On a processor each tree is attended to on its own, so that nothing is computed that is masked
away, but for what lies between the responses of one tree. On CUDA the same mask is a block mask for
FlexAttention.
"""

from __future__ import annotations

from collections.abc import Sequence
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
    """Attend within each of the trees of a packed row; without trees, as SDPA does.

    Parameters
    ----------
    module : torch.nn.Module
        The layer, which says how many queries share a key.
    query, key, value : Tensor
        Shape ``(1, heads, length, width)``.
    attention_mask : Tensor or None
        Looked at only where there are no trees.
    scaling, dropout
        As everywhere.
    trees : Sequence[tuple[TreeSpan, Tensor | None]], default ()
        Where they lie, one behind the other, each with the mask of its responses.
    others
        What a model adds to the scores, which this cannot do.

    Returns
    -------
    tuple
        What was attended to, shape ``(1, length, heads, width)``, and no weights.
    """
    if not trees:
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout, scaling, **others
        )
    for name in ("softcap", "s_aux", "position_bias"):
        if others.get(name) is not None:
            raise BacktalkError(f"Attention with {name} cannot share prompts")
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = (one.repeat_interleave(groups, dim=1) for one in (key, value))
    drop = dropout if module.training else 0.0
    sizes = [stretch.prompt + stretch.response_tokens for stretch, _ in trees]
    results: list[Tensor] = []
    # One split of all has one gradient; a slice for each tree would have one as long as the row.
    parts = [torch.split(one, sizes, dim=2) for one in (query, key, value)]
    for q, k, v, (stretch, mask) in zip(*parts, trees, strict=True):
        if mask is None:
            results.append(
                scaled_dot_product_attention(q, k, v, is_causal=True, dropout_p=drop, scale=scaling)
            )
            continue
        stem, grown = torch.split(q, [stretch.prompt, stretch.grown], dim=2)
        near, far = (one[:, :, : stretch.prompt] for one in (k, v))
        results += [
            scaled_dot_product_attention(
                stem, near, far, is_causal=True, dropout_p=drop, scale=scaling
            ),
            scaled_dot_product_attention(
                grown, k, v, attn_mask=mask, dropout_p=drop, scale=scaling
            ),
        ]
    return torch.cat(results, dim=2).transpose(1, 2), None


AttentionInterface.register(NAME, tree_attention)


AttentionMaskInterface.register(NAME, sdpa_mask)


def attend_to_trees(model: Any) -> None:
    """Let a model attend to packed trees too; all else it attends to as before."""
    cuda = model.device.type == "cuda"
    model.set_attn_implementation("flex_attention" if cuda else NAME)


def tree_layout(stretches: Sequence[TreeSpan], device: torch.device) -> dict[str, Any]:
    """Return what the forward of such a model has to be given with packed trees."""
    if device.type == "cuda":
        return {"attention_mask": _block_mask(stretches, device)}
    masks = [
        None if len(one.branches) == 1 else one.mask(torch.float32, device) for one in stretches
    ]
    # A mask of four dimensions is taken as it is, so that none is made for the whole row.
    no_mask = torch.zeros((1, 1, 1, 1), device=device)
    return {"attention_mask": no_mask, "trees": list(zip(stretches, masks, strict=True))}


def _block_mask(stretches: Sequence[TreeSpan], device: torch.device) -> Any:
    from torch.nn.attention.flex_attention import create_block_mask  # noqa: PLC0415 - slow

    part, stem = segments(stretches)
    part, stem = part.to(device), stem.to(device)
    length = len(part)

    def seen(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & ((part[key] == part[query]) | (part[key] == stem[query]))

    return create_block_mask(
        seen, None, None, length, length, device=str(device), BLOCK_SIZE=_BLOCK
    )


def segments(stretches: Sequence[TreeSpan]) -> tuple[Tensor, Tensor]:
    """Return which part, a prompt or a response, each token is of, and which prompt it sees.

    Two vectors as long as the packed row.
    """
    part: list[Tensor] = []
    stem: list[Tensor] = []
    count = 0
    for stretch in stretches:
        lengths = torch.tensor([stretch.prompt, *stretch.branches])
        part.append(torch.repeat_interleave(count + torch.arange(len(lengths)), lengths))
        stem.append(torch.full((int(lengths.sum()),), count))
        count += len(lengths)
    return torch.cat(part), torch.cat(stem)
