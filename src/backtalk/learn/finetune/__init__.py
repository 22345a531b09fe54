"""Learning in the weights: one trainer, and the objectives that are pure functions."""

from backtalk.learn.finetune import methods, objectives
from backtalk.learn.finetune.config import Training
from backtalk.learn.finetune.objective import (
    OBJECTIVES,
    Batch,
    Objective,
    Part,
    Term,
    find_objective,
    objective,
)
from backtalk.learn.finetune.registration import TRAINED, Work, by_objective, rehearse, trains
from backtalk.learn.finetune.trees import Branch, Comparison, Tree

__all__ = [
    "OBJECTIVES",
    "TRAINED",
    "Batch",
    "Branch",
    "Comparison",
    "Objective",
    "Part",
    "Term",
    "Training",
    "Tree",
    "Work",
    "by_objective",
    "find_objective",
    "methods",
    "objective",
    "objectives",
    "rehearse",
    "trains",
]
