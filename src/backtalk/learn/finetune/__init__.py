"""Learning in the weights: one trainer, and the objectives that are pure functions."""

from backtalk.learn.finetune import methods, objectives
from backtalk.learn.finetune.config import TrainingConfig
from backtalk.learn.finetune.objective import (
    OBJECTIVES,
    Batch,
    LossOutput,
    Objective,
    TrainingTask,
    find_objective,
    objective,
)
from backtalk.learn.finetune.registration import (
    TRAINED,
    MethodContext,
    dry_run,
    register_objective_method,
    training_method,
)
from backtalk.learn.finetune.trees import PairLabel, PromptTree, ResponseTokens

__all__ = [
    "OBJECTIVES",
    "TRAINED",
    "Batch",
    "LossOutput",
    "MethodContext",
    "Objective",
    "PairLabel",
    "PromptTree",
    "ResponseTokens",
    "TrainingConfig",
    "TrainingTask",
    "dry_run",
    "find_objective",
    "methods",
    "objective",
    "objectives",
    "register_objective_method",
    "training_method",
]
