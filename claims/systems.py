"""Systems of the literature, by name."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from backtalk.errors import UnknownName


@dataclass(frozen=True)
class System:
    """Paper with the name of its system."""

    tier: str
    """"A" for systems, "B" for studies and data."""
    family: str
    system: str
    """Name of the system."""
    title: str
    """Title of the paper."""


@lru_cache
def systems() -> tuple[System, ...]:
    """Return all systems."""
    path = Path(__file__).parent / "systems.tsv"
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(System(**row) for row in csv.DictReader(file, delimiter="\t"))


def get_system(name: str) -> System:
    """Return the system with a name.

    Raises
    ------
    UnknownName
        If there is none; the message lists the known names, the closest first.
    """
    for system in systems():
        if system.system == name:
            return system
    raise UnknownName.among("system", name, [system.system for system in systems()])
