"""Worlds: simulated tasks whose true utility is known, with simulated annotators."""

from backtalk.worlds.lists.world import ListsWorld
from backtalk.worlds.mail.world import MailWorld
from backtalk.worlds.programs.world import ProgramsWorld
from backtalk.worlds.registry import get_world, world, world_names
from backtalk.worlds.sums.world import SumsWorld
from backtalk.worlds.world import (
    Assessment,
    CheckedStep,
    ErrorRates,
    Issue,
    Rule,
    Split,
    World,
    apply_fixes,
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
    "apply_fixes",
    "get_world",
    "world",
    "world_names",
]
