"""Experiments on live traffic: arms, adaptive allocation, and decisions valid at any time.

The state of an experiment is a fold over its log: its events, the interactions that its arms
answered, and the feedback on them. No other state is stored, so that it can always be rebuilt.
"""

from backtalk.experiments.allocation import Allocation, AllocationOption, allocate
from backtalk.experiments.decision import decide
from backtalk.experiments.events import (
    ArmPromoted,
    ArmStopped,
    ExperimentEnded,
    ExperimentEvent,
    ExperimentStarted,
    read_events,
    running,
)
from backtalk.experiments.evidence import make_evaluation
from backtalk.experiments.experiment import DecisionRule, Experiment
from backtalk.experiments.lifecycle import (
    CONTROLLER,
    apply_rules,
    list_experiments,
    promote_arm,
    running_experiment,
    start,
    stop,
)
from backtalk.experiments.log_reader import ExperimentReader
from backtalk.experiments.state import ExperimentState, begin, replay
from backtalk.experiments.summary import ArmSummary, ExperimentSummary, SignalSummary, summarise

__all__ = [
    "CONTROLLER",
    "Allocation",
    "AllocationOption",
    "ArmPromoted",
    "ArmStopped",
    "ArmSummary",
    "DecisionRule",
    "Experiment",
    "ExperimentEnded",
    "ExperimentEvent",
    "ExperimentReader",
    "ExperimentStarted",
    "ExperimentState",
    "ExperimentSummary",
    "SignalSummary",
    "allocate",
    "apply_rules",
    "begin",
    "decide",
    "list_experiments",
    "make_evaluation",
    "promote_arm",
    "read_events",
    "replay",
    "running",
    "running_experiment",
    "start",
    "stop",
    "summarise",
]
