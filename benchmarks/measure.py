"""Timing of Backtalk and a peer on the same task."""

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
class BenchmarkResult:
    """Measurements of a task with Backtalk and with a peer."""

    name: str
    what: str
    """Description with the size of the task."""
    peer: str
    peer_version: str
    unit: str
    """Unit of the measurements: ``"s"`` or ``"MB"``."""
    ours: float
    """Median of Backtalk over the runs, in the unit."""
    theirs: float
    """Median of the peer over the runs, in the unit."""
    runs: int
    """Number of runs."""
    note: str = ""

    @property
    def ratio(self) -> float:
        """Ratio of Backtalk to the peer; below one, Backtalk takes less."""
        return self.ours / self.theirs

    def to_dict(self) -> dict[str, Any]:
        """Return the fields and the ratio, ready for JSON."""
        return {**asdict(self), "ratio": self.ratio}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> BenchmarkResult:
        """Return a result from its JSON fields."""
        return cls(**{name: value for name, value in fields.items() if name != "ratio"})


def seconds(work: Callable[[], object]) -> float:
    """Return the duration of a function call, in seconds."""
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
) -> BenchmarkResult:
    """Time two functions alternately, after one warm-up call of each.

    Parameters
    ----------
    name : str
        Name of the task.
    what : str
        Description with the size of the task.
    ours, theirs : Callable[[], object]
        Task by Backtalk and by the peer.
    peer : str
        Package name of the peer.
    runs : int, default 5
        Number of timed calls of each.
    note : str, default ""
        Remark for the table.
    """
    ours()
    theirs()
    pairs = [(seconds(ours), seconds(theirs)) for _ in range(runs)]
    ours_median, theirs_median = (statistics.median(column) for column in zip(*pairs, strict=True))
    return BenchmarkResult(
        name, what, peer, version(peer), "s", ours_median, theirs_median, runs, note
    )


def in_process(*command: str) -> dict[str, float]:
    """Run a module in a new process, and return the JSON in its last line of output."""
    done = subprocess.run(
        [sys.executable, "-m", *command], check=True, capture_output=True, text=True
    )
    results: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return results


def machine() -> str:
    """Return a description of the machine."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (
        f"{platform.system()} {platform.machine()}, {cores} cores, Python {sys.version.split()[0]}"
    )
