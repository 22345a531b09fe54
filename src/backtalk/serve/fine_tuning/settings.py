"""Settings of fine-tuning jobs."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, JsonValue

from backtalk.feedback.record import Name, Record
from backtalk.models import Budget
from backtalk.models.spec import ModelSpec


class FineTuningSettings(Record):
    """Settings of files and fine-tuning jobs."""

    train: bool = True
    """If false, this machine does not run jobs; `backtalk job run` runs them on another one."""
    models: dict[Name, ModelSpec | Name] = Field(default_factory=dict)
    """Base models by the names in requests: a model as in a policy, or the name of a policy, such
    as ``backtalk:PROJECT/POLICY``."""
    budget: Budget = Budget()
    """Maximum budget of a job: tokens and seconds of training, and calls of models."""
    options: dict[Name, JsonValue] = Field(default_factory=dict)
    """Default options of training, such as ``adapter: lora``."""
    min_examples: Annotated[int, Field(ge=1)] = 10
    """Minimum number of examples of a training file, except for methods of type ``backtalk``."""
    max_file_bytes: Annotated[int, Field(gt=0)] = 512_000_000
    """Maximum size of an uploaded file in bytes."""
