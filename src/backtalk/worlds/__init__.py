"""Simulated tasks with known truth, and simulated people."""

from backtalk.worlds.lists.world import ListsWorld
from backtalk.worlds.mail.world import MailWorld
from backtalk.worlds.programs.world import ProgramsWorld
from backtalk.worlds.sums.world import SumsWorld
from backtalk.worlds.world import (
    Assessment,
    CheckedStep,
    ErrorRates,
    Issue,
    Rule,
    Split,
    World,
    find_world,
    mend,
    world,
    worlds,
)

__all__ = [
    "Assessment",
    "CheckedStep",
    "ErrorRates",
    "Issue",
    "ListsWorld",
    "MailWorld",
    "ProgramsWorld",
    "Rule",
    "Split",
    "SumsWorld",
    "World",
    "find_world",
    "mend",
    "world",
    "worlds",
]
