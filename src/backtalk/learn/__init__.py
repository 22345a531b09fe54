"""Learning: methods that make a better policy of a policy and feedback."""

from backtalk.learn import finetune
from backtalk.learn.availability import Availability, Way, what_can_run
from backtalk.learn.decoding import best_of_n
from backtalk.learn.method import METHODS, InRounds, Method, Paper, find_method, method
from backtalk.learn.training_set import TrainingSet, in_split

__all__ = [
    "METHODS",
    "Availability",
    "InRounds",
    "Method",
    "Paper",
    "TrainingSet",
    "Way",
    "best_of_n",
    "find_method",
    "finetune",
    "in_split",
    "method",
    "what_can_run",
]
