"""Policies that prove themselves in traffic: arms, allocation, and decisions that may be peeked at.

An experiment's state is a fold over the log: its events, the interactions that its arms answered
and the feedback on them. Nothing else is kept, so that it can always be made again.
"""

from backtalk.experiments.allocation import Allocation, Option, allocate
from backtalk.experiments.decision import decide
from backtalk.experiments.events import (
    Ended,
    Event,
    Promoted,
    Started,
    Stopped,
    read_events,
    running,
)
from backtalk.experiments.evidence import evaluation_of
from backtalk.experiments.experiment import Experiment, Rule
from backtalk.experiments.lifecycle import (
    CONTROLLER,
    list_experiments,
    promote_arm,
    running_experiment,
    start,
    step,
    stop,
)
from backtalk.experiments.log_reader import ExperimentReader
from backtalk.experiments.state import State, begin, replay
from backtalk.experiments.summary import ArmSummary, Measured, Summary, summarise

__all__ = [
    "CONTROLLER",
    "Allocation",
    "ArmSummary",
    "Ended",
    "Event",
    "Experiment",
    "ExperimentReader",
    "Measured",
    "Option",
    "Promoted",
    "Rule",
    "Started",
    "State",
    "Stopped",
    "Summary",
    "allocate",
    "begin",
    "decide",
    "evaluation_of",
    "list_experiments",
    "promote_arm",
    "read_events",
    "replay",
    "running",
    "running_experiment",
    "start",
    "step",
    "stop",
    "summarise",
]
