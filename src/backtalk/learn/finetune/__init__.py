"""Fine-tuning: one trainer, objectives as pure functions, and methods that use them."""

from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.objective import (
    OBJECTIVES,
    Batch,
    BoundObjective,
    LossOutput,
    MissingColumn,
    Objective,
    TrainingTask,
    get_objective,
    objective,
)
from backtalk.learn.finetune.registration import (
    dry_run,
    register_objective_method,
    training_method,
)
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens

__all__ = [
    "OBJECTIVES",
    "Batch",
    "BoundObjective",
    "LossOutput",
    "MissingColumn",
    "Objective",
    "PairLabel",
    "PromptTree",
    "ResponseTokens",
    "TrainingConfig",
    "TrainingTask",
    "dry_run",
    "get_objective",
    "objective",
    "register_objective_method",
    "training_method",
]
