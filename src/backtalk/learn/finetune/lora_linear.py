"""Linear layer with a low-rank adapter as one operation, forwards and backwards."""

from __future__ import annotations

from types import MethodType
from typing import Any, cast

import torch
from torch import Tensor, nn


class _LoraLinear(torch.autograd.Function):
    """``x W' + b + s (x A') B'`` with a frozen ``W``; Hu et al. (2021), "LoRA", equation 3.

    Autograd would take each factor, sum and change of the number format as an operation of its own,
    whose inputs and outputs are as long as the row. Here the adapter is added to the product in
    place, and of the inputs only ``x`` and ``x A'`` are saved.
    """

    @staticmethod
    def forward(  # noqa: PLR0917 - the arguments of apply have no names
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        a: Tensor,
        b: Tensor,
        scaling: float,
    ) -> Tensor:
        """Return the output of the layer, ``(..., out)``."""
        device = x.device.type
        autocast = torch.is_autocast_enabled(device)
        dtype = torch.get_autocast_dtype(device) if autocast else weight.dtype
        with torch.autocast(device, enabled=False):
            rows = x.reshape(-1, x.shape[-1]).to(dtype)
            matrix, down, up = weight.to(dtype), a.to(dtype), (scaling * b).to(dtype)
            low = rows @ down.T
            # No view is returned, as the model's code may change the output in place.
            result = torch.empty((*x.shape[:-1], len(weight)), dtype=dtype, device=x.device)
            flat = result.view(-1, len(weight))
            if bias is None:
                torch.mm(rows, matrix.T, out=flat)
            else:
                torch.addmm(bias.to(dtype), rows, matrix.T, out=flat)
            flat.addmm_(low, up.T)
        ctx.save_for_backward(rows, low, weight, a, b)
        ctx.scaling, ctx.dtype, ctx.x_dtype = scaling, dtype, x.dtype
        return result

    @staticmethod
    def backward(
        ctx: Any, grad_output: Tensor
    ) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        """Return the gradients with respect to the input and to both matrices of the adapter."""
        rows, low, weight, a, b = ctx.saved_tensors
        with torch.autocast(rows.device.type, enabled=False):
            grad = grad_output.reshape(-1, len(weight)).to(ctx.dtype)
            grad_low = grad @ (ctx.scaling * b).to(ctx.dtype)
            grad_a = (grad_low.T @ rows).to(a.dtype)
            grad_b = (grad.T @ low).to(b.dtype).mul_(ctx.scaling)
            grad_x = None
            if ctx.needs_input_grad[0]:
                grad_x = (grad @ weight.to(ctx.dtype)).addmm_(grad_low, a.to(ctx.dtype))
                grad_x = grad_x.view(*grad_output.shape[:-1], rows.shape[-1]).to(ctx.x_dtype)
        return grad_x, None, None, grad_a, grad_b, None


def fuse_lora_layers(model: nn.Module) -> int:
    """Let linear layers with one adapter compute it as one operation, and return their number.

    Left to peft are layers of other kinds, with dropout, DoRA or trained biases, and any layer
    while its adapter is switched off or merged.

    Parameters
    ----------
    model : Module
        Model of peft.
    """
    from peft.tuners.lora.layer import Linear  # noqa: PLC0415 - slow

    count = 0
    for module in model.modules():
        if type(module) is Linear and _is_plain(module):
            # A bound method, which a deep copy of the model binds to the copy.
            module.forward = MethodType(_forward, module)  # type: ignore[method-assign]
            count += 1
    return count


def _is_plain(layer: Any) -> bool:
    names = list(layer.lora_A)
    return (
        type(layer.base_layer) is nn.Linear
        and not any(parameter.requires_grad for parameter in layer.base_layer.parameters())
        and len(names) == 1
        and not layer.lora_variant
        and isinstance(layer.lora_dropout[names[0]], nn.Identity)
        and layer.lora_A[names[0]].bias is None
        and layer.lora_B[names[0]].bias is None
    )


def _forward(layer: Any, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    if args or kwargs or layer.disable_adapters or layer.merged:
        return cast(Tensor, type(layer).forward(layer, x, *args, **kwargs))
    base = layer.base_layer
    (name,) = layer.lora_A
    a, b = layer.lora_A[name].weight, layer.lora_B[name].weight
    arguments = (x, base.weight, base.bias, a, b, layer.scaling[name])
    return cast(Tensor, _LoraLinear.apply(*arguments))  # type: ignore[no-untyped-call]
