"""Low-rank adapters: which weights of a model they change, and what share of them that is."""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers.pytorch_utils import Conv1D

from backtalk.errors import BacktalkError, MissingExtra
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.models.local.loading import hide_peft_warnings

log = logging.getLogger(__name__)

_REFUSED_BY_PEFT = {
    "out_proj": {"falcon_h1", "mamba", "mamba2", "falcon_mamba", "nemotron_h"},
}
"""Model types in which peft puts no adapter on a layer, as fused kernels read its weight."""
_ALMOST_ALL = 0.95
_TRIAL_TOKENS = 8
_ROUTER = re.compile(r"(^|_)(router|gate)$|router|gating", re.IGNORECASE)


@dataclass
class AdaptedWeights:
    """Weights that an adapter changes, and those that stay as they are."""

    layers: list[str] = field(default_factory=list)
    """Names of linear layers with an adapter."""
    expert_parameters: list[str] = field(default_factory=list)
    """Names of parameters with an adapter that hold the matrices of all experts."""
    shares: dict[str, float] = field(default_factory=dict)
    """Share of the weights in matrices that are adapted, in [0, 1], for each part of a layer."""
    routers: set[str] = field(default_factory=set)
    """Parts that choose experts, which are not adapted."""

    @property
    def frozen(self) -> list[str]:
        """Parts, other than routers, of whose weights more than a twentieth are not adapted."""
        return [
            name
            for name, share in self.shares.items()
            if share < _ALMOST_ALL and name not in self.routers
        ]

    def __str__(self) -> str:
        return ", ".join(
            f"{name} {share:.0%}{' (router)' if name in self.routers else ''}"
            for name, share in self.shares.items()
        )


def select_weights(
    model: Any, *, experts: bool = True, without: Collection[str] = ()
) -> AdaptedWeights:
    """Return the weights of a causal language model that an adapter changes.

    All linear layers are adapted except the output layer, those that choose experts, and those that
    peft refuses. So are the matrices of experts, which transformers keeps as one parameter of three
    dimensions.

    Parameters
    ----------
    model : Any
        Causal language model of transformers.
    experts : bool, default True
        If false, experts are left out, as by DoRA.
    without : collection of str, default ()
        Names of layers to leave out.
    """
    result = AdaptedWeights()
    head = model.get_output_embeddings()
    embeddings = model.get_input_embeddings()
    sizes: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    model_type = getattr(model.config, "model_type", "")
    for name, module in model.named_modules():
        if module is head or module is embeddings or isinstance(module, nn.Embedding):
            continue
        is_router = _is_router(name, module)
        is_linear = _is_linear(module) and not is_router
        last = name.rpartition(".")[2]
        if is_linear and name not in without and model_type not in _REFUSED_BY_PEFT.get(last, ()):
            result.layers.append(name)
        for key, parameter in module.named_parameters(recurse=False):
            if parameter.ndim < 2 or "bias" in key or not parameter.is_floating_point():
                continue
            part = _part(name)
            is_adapted = name in result.layers[-1:]
            if parameter.ndim == 3 and "expert" in name and not is_linear and experts:
                result.expert_parameters.append(f"{name}.{key}")
                is_adapted = True
            if is_router:
                result.routers.add(part)
            sizes[part][0] += parameter.numel() if is_adapted else 0
            sizes[part][1] += parameter.numel()
    result.shares = {part: adapted / total for part, (adapted, total) in sizes.items() if total}
    return result


def add_adapter(model: Any, config: TrainingConfig, seed: int) -> tuple[Any, AdaptedWeights]:
    """Put an adapter on a model; the weights below it are frozen.

    Parameters
    ----------
    model : Any
        Causal language model of transformers.
    config : TrainingConfig
        Training configuration, with the kind of adapter and its rank.
    seed : int
        Seed of the initial weights.

    Returns
    -------
    tuple
        Model of peft, and the weights that it adapts. Parts that stay frozen are logged.

    Raises
    ------
    MissingExtra
        If peft is not installed.
    BacktalkError
        If the model has no layer that can be adapted, or does not run with an adapter.
    """
    try:
        from peft import LoraConfig, get_peft_model  # noqa: PLC0415 - slow, and seldom needed
    except ImportError:
        raise MissingExtra.named("train", "An adapter") from None
    name = type(model).__name__
    is_dora = config.adapter == "dora"
    selected = select_weights(model, experts=not is_dora)
    if not selected.layers:
        raise BacktalkError(
            f"{name} has no linear layer that an adapter could change",
            "Train all weights: leave adapter out",
        )

    def put(selected: AdaptedWeights) -> Any:
        lora = LoraConfig(
            r=config.lora_rank,
            lora_alpha=2 * config.lora_rank,
            target_modules=selected.layers,
            target_parameters=selected.expert_parameters or None,
            use_dora=is_dora,
            task_type="CAUSAL_LM",
        )
        with torch.random.fork_rng(devices=[]), hide_peft_warnings():
            torch.manual_seed(seed)
            return get_peft_model(model, lora)

    try:
        adapted = put(selected)
        passed_over = _passed_over(adapted)
        if passed_over:
            model = adapted.unload()
            selected = select_weights(model, experts=not is_dora, without=passed_over)
            adapted = put(selected)
    except (ValueError, TypeError, AttributeError, RuntimeError) as error:
        raise BacktalkError(
            f"peft cannot put an adapter on {name}: {error}",
            "Train all weights: leave adapter out",
        ) from error
    if selected.frozen:
        log.warning("The adapter leaves weights of %s frozen: %s", name, selected)
    return adapted, selected


def _passed_over(adapted: Any) -> set[str]:
    """Return the names of layers whose adapter has no effect, as the model reads their weight.

    Experts are not among them: those that no token is sent to have no gradient either.
    """
    ids = (
        torch.arange(_TRIAL_TOKENS, device=adapted.device)[None]
        % adapted.config.get_text_config().vocab_size
    )
    with torch.enable_grad():
        adapted(input_ids=ids, use_cache=False).logits.float().sum().backward()
    names = {
        name.removeprefix("base_model.model.").partition(".lora_")[0]
        for name, parameter in adapted.named_parameters()
        if parameter.requires_grad and parameter.grad is None and "expert" not in name
    }
    adapted.zero_grad(set_to_none=True)
    return names


def adapter_notes(selected: AdaptedWeights | None) -> dict[str, str]:
    """Return the note of a policy's lineage on the weights that its adapter changes."""
    return {} if selected is None else {"adapted weights": str(selected)}


def _is_linear(module: nn.Module) -> bool:
    """Return true for a layer that multiplies with its weight."""
    return isinstance(module, nn.Linear | Conv1D)


def _is_router(name: str, module: nn.Module) -> bool:
    """Return true for a layer that chooses experts, or weighs a shared one."""
    last = name.rpartition(".")[2]
    width = getattr(module, "out_features", None)
    return "Router" in type(module).__name__ or (
        bool(_ROUTER.search(last)) and not last.endswith("gate_proj") and width != _in_width(module)
    )


def _in_width(module: nn.Module) -> int | None:
    width = getattr(module, "in_features", None)
    return width if isinstance(width, int) else None


def _part(name: str) -> str:
    """Return the part of a layer that a module belongs to.

    >>> _part("model.layers.0.mlp.experts"), _part("model.layers.0.self_attn.q_proj")
    ('mlp.experts', 'self_attn')
    """
    inner = re.split(r"\.\d+\.", name, maxsplit=1)
    path = [part for part in inner[-1].split(".") if not part.isdigit()]
    keep = path if "expert" in path[-1] or _ROUTER.search(path[-1]) else path[:-1]
    return ".".join(keep) or path[-1]
