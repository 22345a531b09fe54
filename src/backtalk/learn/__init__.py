"""Learning: methods that improve a policy from feedback."""

from backtalk.callable_package import make_callable
from backtalk.learn.api import alearn, learn
from backtalk.learn.availability import MethodAvailability, ViewSource, available_methods
from backtalk.learn.context import MethodContext
from backtalk.learn.method import (
    METHODS,
    Method,
    MethodDescription,
    OnlineDefaults,
    Paper,
    get_method,
    method,
)
from backtalk.learn.requirements import Requirement
from backtalk.learn.training_set import TrainingSet, in_split

__all__ = [
    "METHODS",
    "Method",
    "MethodAvailability",
    "MethodContext",
    "MethodDescription",
    "OnlineDefaults",
    "Paper",
    "Requirement",
    "TrainingSet",
    "ViewSource",
    "alearn",
    "available_methods",
    "get_method",
    "in_split",
    "learn",
    "method",
]

make_callable(__name__)
