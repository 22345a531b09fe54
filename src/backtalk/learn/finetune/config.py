"""Training configuration: options that all methods that train weights share."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field

from backtalk.feedback.record import Name, OptionalField, Record
from backtalk.learn.left_out_rows import MAX_LEFT_OUT

_LARGE = 50_000_000
"""Number of parameters from which activations, not the caches, limit a micro-batch on a CPU."""


class TrainingConfig(Record):
    """Training configuration. The defaults suit a small model on a CPU."""

    epochs: Annotated[float, Field(gt=0)] = 1.0
    """Number of passes over the data; a fraction of an epoch uses a fraction of the trees."""
    max_steps: OptionalField[Annotated[int, Field(gt=0)]] = None
    """Maximum number of optimiser steps; no limit by default."""
    batch_size: Annotated[int, Field(gt=0)] = 32
    """Number of trees of an optimiser step, over all processes."""
    batch_tokens: OptionalField[Annotated[int, Field(gt=0)]] = None
    """Maximum number of tokens of a micro-batch; a step accumulates gradients over its
    micro-batches. Default: 2,048 on a CPU, whose caches hold little more, but 512 for a model of
    more than 50 million parameters, as its activations take memory; 16,384 elsewhere."""
    learning_rate: OptionalField[Annotated[float, Field(gt=0)]] = None
    """Peak learning rate. Default: derived from the parameter count, see
    :func:`default_learning_rate`."""
    learning_rate_multiplier: Annotated[float, Field(gt=0)] = 1.0
    """Factor of the peak learning rate."""
    lr_scheduler: Literal["cosine", "linear", "constant"] = "cosine"
    """Decay of the learning rate after the warmup: to 0 by a cosine or a line, or none."""
    warmup_ratio: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Fraction of the steps over which the learning rate rises from 0."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    """Weight decay of AdamW."""
    max_grad_norm: Annotated[float, Field(gt=0)] = 1.0
    """Maximum norm of the gradient; a larger gradient is scaled down to it."""
    adapter: Literal["none", "lora", "dora"] = "none"
    """Low-rank adapter of the linear layers; "none" trains all weights."""
    lora_rank: Annotated[int, Field(gt=0)] = 16
    """Rank of the adapter; ``lora_alpha`` is twice the rank."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """Number format of matrix products; trained weights and sums stay in float32."""
    gradient_checkpointing: bool = False
    """If true, activations are recomputed in the backward pass, which saves memory."""
    reference: OptionalField[Name] = None
    """Name or id of the reference policy of objectives that need one. Default: the policy before
    training."""
    max_length: OptionalField[Annotated[int, Field(gt=1)]] = None
    """Maximum number of tokens of a prompt with a response; longer ones are left out and counted.
    Default: the model's context window."""
    max_left_out: Annotated[float, Field(ge=0, le=1)] = MAX_LEFT_OUT
    """Largest share of the rows that may be left out because the chat template or the tokenizer
    cannot write them; with a larger share the run stops and names the first ones."""
    reasoning: bool = False
    """If true, responses to imitate and labelled ones are learned with the reasoning before them,
    as the chat template writes it."""
    checkpoint_every_seconds: Annotated[float, Field(gt=0)] = 60.0
    """Seconds between checkpoints, from which an interrupted run resumes."""

    def num_steps(self, trees: int) -> int:
        """Return the number of optimiser steps for a number of trees."""
        steps = math.ceil(self.epochs * trees / self.batch_size - 1e-9)
        return max(steps if self.max_steps is None else min(steps, self.max_steps), 1)

    def epoch_ends(self, trees: int) -> list[int]:
        """Return the number of finished steps at the end of each epoch, a last part included."""
        steps = self.num_steps(trees)
        ends = {
            math.ceil((epoch + 1) * trees / self.batch_size)
            for epoch in range(math.ceil(self.epochs))
        }
        return sorted({min(end, steps) for end in ends} | {steps})

    def micro_batch_tokens(self, model: Any) -> int:
        """Return the maximum number of tokens of a micro-batch for a model of transformers."""
        if self.batch_tokens:
            return self.batch_tokens
        if model.device.type != "cpu":
            return 16_384
        return 512 if model.num_parameters() > _LARGE else 2_048

    def lr_factor(self, step: int, steps: int) -> float:
        """Return the learning rate of a step, from 0 on, as a fraction of the peak."""
        warmup = math.ceil(self.warmup_ratio * steps)
        if step < warmup:
            return (step + 1) / warmup
        progress = (step - warmup) / max(steps - warmup, 1)
        match self.lr_scheduler:
            case "constant":
                return 1.0
            case "linear":
                return 1 - progress
            case "cosine":
                return 0.5 * (1 + math.cos(math.pi * progress))


def default_learning_rate(parameters: int, *, adapter: bool) -> float:
    """Return a peak learning rate for a model with a number of parameters.

    The rate falls with the square root of the size, from 3e-4 for a million parameters. For seven
    billion it is 3.6e-6; published preference training uses 5e-7 to 5e-6. An adapter has ten times
    the rate.
    """
    return 3e-4 * math.sqrt(1e6 / max(parameters, 1)) * (10 if adapter else 1)
