"""Learning: methods that make a better policy of a policy and feedback."""

from backtalk.learn import finetune
from backtalk.learn.availability import MethodAvailability, ViewSource, available_methods
from backtalk.learn.decoding import best_of_n
from backtalk.learn.method import METHODS, Method, OnlineDefaults, Paper, find_method, method
from backtalk.learn.training_set import TrainingSet, in_split

__all__ = [
    "METHODS",
    "Method",
    "MethodAvailability",
    "OnlineDefaults",
    "Paper",
    "TrainingSet",
    "ViewSource",
    "available_methods",
    "best_of_n",
    "find_method",
    "finetune",
    "in_split",
    "method",
]
