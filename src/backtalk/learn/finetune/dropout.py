"""Switching off of dropout, for objectives that compare the policy with a reference."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from transformers import PreTrainedConfig, PreTrainedModel

from backtalk.learn.finetune.objective import TrainingTask

_NAME = re.compile(r"(^|_)(dropout|drop|pdrop|layerdrop|jitter)(_|$)")
"""Attributes that layers read in their forward pass: dropout, skipped layers, noise in routing."""


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Set all dropout rates, layer drop and routing noise of a model to 0 while the block runs.

    The model stays in training mode, as gradient checkpointing and recurrent models need. Layers
    that read a rate from their configuration get a copy of it; that of the model itself, with which
    it is saved, does not change.

    Examples
    --------
    >>> import torch
    >>> layer = torch.nn.Dropout(0.5)
    >>> with without_dropout(layer):
    ...     layer.p
    0.0
    >>> layer.p
    0.5
    """
    changes: list[tuple[Any, str, Any]] = []
    copies: dict[int, Any] = {}
    for module in model.modules():
        for name, value in vars(module).items():
            if isinstance(value, float) and (name == "p" or _NAME.search(name)):
                changes.append((module, name, 0.0))
        config = vars(module).get("config")
        if isinstance(config, PreTrainedConfig) and not isinstance(module, PreTrainedModel):
            changes.append((module, "config", copies.setdefault(id(config), _zeroed(config))))
    original = [(module, name, getattr(module, name)) for module, name, _ in changes]
    try:
        for module, name, value in changes:
            setattr(module, name, value)
        yield
    finally:
        for module, name, value in original:
            setattr(module, name, value)


def _zeroed(config: PreTrainedConfig) -> PreTrainedConfig:
    """Return a copy of a configuration with all rates at 0."""
    changed = copy.copy(config)
    for name, value in vars(config).items():
        if isinstance(value, float) and _NAME.search(name):
            setattr(changed, name, 0.0)
    return changed


def needs_reference(tasks: Sequence[TrainingTask]) -> bool:
    """Return true if an objective of the tasks compares the policy with a reference.

    Dropout would add noise to the policy's side of the comparison only, so that the loss of equal
    policies is not its known value: for DPO, ``ln 2`` (Rafailov et al., 2023, equation 7).
    """
    return any(task.objective.objective.reference for task in tasks)
