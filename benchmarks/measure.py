"""Timing two ways of doing one thing."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any


@dataclass(frozen=True)
class Measured:
    """One thing, done by Backtalk and by a peer."""

    name: str
    what: str
    """What was done, with its size."""
    peer: str
    peer_version: str
    unit: str
    """``"s"`` or ``"MB"``."""
    ours: float
    """The median over the runs."""
    theirs: float
    runs: int
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ours over theirs: below one, Backtalk takes less."""
        return self.ours / self.theirs

    def to_dict(self) -> dict[str, Any]:
        """The fields with the ratio, ready for JSON."""
        return {**asdict(self), "ratio": self.ratio}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Measured:
        """Return what was written as JSON."""
        return cls(**{name: value for name, value in fields.items() if name != "ratio"})


def seconds(work: Callable[[], object]) -> float:
    """Return how long a piece of work takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def side_by_side(
    name: str,
    what: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    peer: str,
    runs: int = 5,
    note: str = "",
) -> Measured:
    """Time both in turns, after one round that does not count."""
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    mine, peers = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Measured(name, what, peer, version(peer), "s", mine, peers, runs, note)


def in_process(*command: str) -> dict[str, float]:
    """Run a module in a process of its own, and return the JSON that it prints last."""
    done = subprocess.run(
        [sys.executable, "-m", *command], check=True, capture_output=True, text=True
    )
    results: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return results


def machine() -> str:
    """Return what this ran on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, Python {sys.version.split()[0]}"
    )
