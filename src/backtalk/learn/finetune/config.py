"""How weights are trained: the knobs that every method shares."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field

from backtalk.feedback.record import Name, OptionalField, Record


class TrainingConfig(Record):
    """How weights are trained. The defaults suit a small model on a processor."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    """How often each tree is learned from; a part of an epoch is a part of the trees."""
    max_steps: OptionalField[Annotated[int, Field(gt=0)]] = None
    """The most optimiser steps."""
    batch_size: Annotated[int, Field(gt=0)] = 32
    """How many trees a step learns from, all processes together."""
    batch_tokens: OptionalField[Annotated[int, Field(gt=0)]] = None
    """How many tokens are worked on at once; a step is accumulated from as many parts as needed.
    2,048 on a processor, whose caches hold little more, and 16,384 elsewhere if left out."""
    learning_rate: OptionalField[Annotated[float, Field(gt=0)]] = None
    """The highest one; by the size of the model where it is left out, see :func:`usual_rate`."""
    lr_scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """How the learning rate falls after the warm-up: to 0, or not at all."""
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """The share of the steps in which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """The largest norm of a gradient; longer ones are scaled to it."""
    adapter: Literal["none", "lora", "dora"] = "none"
    """Whether all weights learn, or low-rank additions to the linear layers."""
    lora_rank: Annotated[int, Field(gt=0)] = 16
    """The rank of an adapter; its scale is twice that."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """The number format of the products; weights and sums stay in float32."""
    gradient_checkpointing: bool = False
    """Whether activations are computed again for the gradient, which saves memory."""
    reference: OptionalField[Name] = None
    """The policy, by name or id, that objectives with a reference compare with; if left out, the
    policy itself before it learns."""
    max_length: OptionalField[Annotated[int, Field(gt=1)]] = None
    """The most tokens of a prompt with a response; longer ones are left out and counted. The
    model's window by default."""
    checkpoint_every_seconds: Annotated[float, Field(gt=0)] = 60.0
    """After how many seconds the state is kept, to go on from after an interruption."""

    def steps(self, trees: int) -> int:
        """Return how many optimiser steps there are."""
        steps = math.ceil(self.epochs * trees / self.batch_size - 1e-9)
        return max(steps if self.max_steps is None else min(steps, self.max_steps), 1)

    def at_once(self, device: str) -> int:
        """Return how many tokens are worked on at once on a type of device."""
        return self.batch_tokens or (2_048 if device == "cpu" else 16_384)

    def pace(self, step: int, steps: int) -> float:
        """Return the share of the learning rate that a step has, the first step being 0."""
        warm = math.ceil(self.warmup_ratio * steps)
        if step < warm:
            return (step + 1) / warm
        done = (step - warm) / max(steps - warm, 1)
        match self.lr_scheduler:
            case "constant":
                return 1.0
            case "linear":
                return 1 - done
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * done))


def usual_rate(parameters: int, *, adapter: bool) -> float:
    """Return a learning rate for a model of so many parameters.

    It falls with the square root of the size, from 3e-4 for a million: 3.6e-6 for seven billion,
    where published preference training uses 5e-7 to 5e-6. An adapter learns ten times as fast.
    """
    return 3e-4 * math.sqrt(1e6 / max(parameters, 1)) * (10 if adapter else 1)
