"""Switching off of dropout, for objectives that compare the policy with a reference."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from backtalk.learn.finetune.objective import TrainingTask

_NAME = re.compile(r"(^|_)(dropout|drop|pdrop|layerdrop|jitter)(_|$)")
"""Attributes that layers read in their forward pass: dropout, skipped layers, noise in routing."""


@contextmanager
def without_dropout(model: Any) -> Iterator[None]:
    """Set all dropout rates, layer drop and routing noise of a model to 0 while the block runs.

    The model stays in training mode, as gradient checkpointing needs.

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
    rates = [
        (module, name, value)
        for module in model.modules()
        for name, value in vars(module).items()
        if isinstance(value, float) and (name == "p" or _NAME.search(name))
    ]
    try:
        for module, name, _ in rates:
            setattr(module, name, 0.0)
        yield
    finally:
        for module, name, value in rates:
            setattr(module, name, value)


def needs_reference(tasks: Sequence[TrainingTask]) -> bool:
    """Return true if an objective of the tasks compares the policy with a reference.

    Dropout would add noise to the policy's side of the comparison only, so that the loss of equal
    policies is not its known value: for DPO, ``ln 2`` (Rafailov et al., 2023, equation 7).
    """
    return any(task.objective.objective.reference for task in tasks)
